"""Sample a plan: patients, days, image sizes, and the slices that hold each organ.

Positions are sampled to the published profile: annotated slices begin at a median of 52.5 of 144
(sd 15), about 61 of them follow, more where they begin early; the stomach comes first, then the
large bowel, then the small bowel; both bowels end at the same slice.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from gitract_core.data.slices import SLICE_THICKNESS_MM
from gitract_core.errors import DataError
from gitract_core.phantom.phantom_spec import (
    COMBINATION_COUNTS,
    LONGEST_SCAN_SLICES,
    PROTOCOLS,
    SCANS_PER_CASE_COUNTS,
    PhantomSpec,
    Protocol,
    generator,
)
from gitract_core.phantom.planning.balance import balanced
from gitract_core.phantom.planning.peaks import with_peaks
from gitract_core.phantom.planning.scan_plan import PhantomPlan, ScanPlan, combination_counts

PEAK_POSITIONS = {"large_bowel": 100, "small_bowel": 102, "stomach": 67}
_PEAK_TOLERANCE = 2
_OTHER_SIZE_SHARE = 0.13
_LATER_DAY_STEPS = (1, 2, 3, 5, 7, 13, 18, 20)


@dataclass(frozen=True, slots=True)
class _Visit:
    case: int
    day: int
    protocol: Protocol


def make_plan(spec: PhantomSpec) -> PhantomPlan:
    """The plan of a phantom; it depends on the spec alone.

    Raises:
        DataError: the wanted counts cannot be reached.
    """
    rng = generator(spec.seed, "plan")
    cases = rng.choice(np.arange(1, 1000 if spec.cases > 120 else 157), _total(spec), replace=False)
    unseen = sorted(int(c) for c in cases[: spec.test_cases])
    seen = sorted(int(c) for c in cases[spec.test_cases :])
    days = _days(_scans_per_case(spec, rng), rng)
    visits = _visits(seen, days, _protocols(sum(map(len, days)), rng), rng)
    if spec.like == "paper":
        train = _like_paper(visits, spec)
    else:
        train = _with_slips(_planned(visits, spec, generator(spec.seed, "ranges")))
    later = [_later(visits, case, rng) for case in seen[: spec.test_cases]]
    fresh = [_Visit(case, 0, PROTOCOLS[int(rng.integers(0, 3))]) for case in unseen]
    test_visits = sorted([*fresh, *later], key=lambda v: (v.case, v.day))
    test = _planned(test_visits, spec, generator(spec.seed, "test ranges")) if test_visits else ()
    return PhantomPlan(train, test)


def _total(spec: PhantomSpec) -> int:
    return spec.cases + spec.test_cases


def _scans_per_case(spec: PhantomSpec, rng: np.random.Generator) -> list[int]:
    """Scans of each case: the published shares, as near as whole numbers come."""
    shares = largest_remainder(np.array(SCANS_PER_CASE_COUNTS), spec.cases)
    numbers = np.repeat(np.arange(1, len(shares) + 1), shares)
    return [int(n) for n in rng.permutation(numbers)]


def _days(numbers: Sequence[int], rng: np.random.Generator) -> list[list[int]]:
    """For each case its days, ascending: the first at 0 to 9, then one or two a week."""
    days = []
    for number in numbers:
        steps = rng.integers(1, 9, size=number)
        steps[0] = rng.choice((0, 0, 1, 7, 9))
        days.append([int(d) for d in np.cumsum(steps)])
    return days


def _protocols(n_scans: int, rng: np.random.Generator) -> list[Protocol]:
    """A size for every scan: published shares, each size at least once where scans suffice."""
    shares = np.array([p.paper_scans for p in PROTOCOLS])
    numbers = largest_remainder(shares, n_scans)
    for missing in np.flatnonzero(numbers == 0):
        donor = int(np.argmax(numbers))
        if numbers[donor] > 1:
            numbers[donor] -= 1
            numbers[missing] += 1
    order = rng.permutation(np.repeat(np.arange(len(PROTOCOLS)), numbers))
    return [PROTOCOLS[int(i)] for i in order]


def _visits(
    cases: Sequence[int],
    days: Sequence[Sequence[int]],
    protocols: Sequence[Protocol],
    rng: np.random.Generator,
) -> list[_Visit]:
    """Assign sizes so that most cases have one size, as in the contest (70 of 85)."""
    pool = sorted(protocols, key=PROTOCOLS.index)
    visits = []
    for index in rng.permutation(len(cases)):
        for day in days[index]:
            other = int(rng.integers(len(pool))) if rng.random() < _OTHER_SIZE_SHARE else -1
            visits.append(_Visit(cases[index], day, pool.pop(other)))
    return sorted(visits, key=lambda v: (v.case, v.day))


def _later(visits: Sequence[_Visit], case: int, rng: np.random.Generator) -> _Visit:
    """A day of a case after all its days of training."""
    last = max((v for v in visits if v.case == case), key=lambda v: v.day)
    return replace(last, day=last.day + int(rng.choice(_LATER_DAY_STEPS)))


def _planned(
    visits: Iterable[_Visit], spec: PhantomSpec, rng: np.random.Generator
) -> tuple[ScanPlan, ...]:
    """Plans of scans whose combinations of organs come in the published shares."""
    scans = tuple(_sampled(visit, spec, rng) for visit in visits)
    total = sum(s.n_slices for s in scans)
    wanted = largest_remainder(np.array(COMBINATION_COUNTS), total)
    ranges = balanced(scans, wanted, rng)
    return tuple(replace(s, ranges=r) for s, r in zip(scans, ranges, strict=True))


def _like_paper(visits: Sequence[_Visit], spec: PhantomSpec) -> tuple[ScanPlan, ...]:
    """A plan with the published counts, whose profile peaks where the published one does.

    Raises:
        DataError: no such plan was found.
    """
    scans = _planned(visits, spec, generator(spec.seed, "ranges"))
    counts = tuple(combination_counts(scans).tolist())
    if counts != COMBINATION_COUNTS:
        raise DataError("phantom plan", str(COMBINATION_COUNTS), counts, "try another seed")
    rng = generator(spec.seed, "peaks")
    return _with_slips(with_peaks(scans, list(PEAK_POSITIONS.values()), _PEAK_TOLERANCE, rng))


def _with_slips(scans: tuple[ScanPlan, ...]) -> tuple[ScanPlan, ...]:
    """Mark the two scans that get the largest overlaps of the paper."""
    triples = [int((s.combinations() == 7).sum()) for s in scans]
    order = np.argsort(triples, kind="stable")[::-1].tolist()
    slips = dict(zip(order, (("three_way",), ("large_small",)), strict=False))
    return tuple(replace(s, slips=slips.get(i, ())) for i, s in enumerate(scans))


def _sampled(visit: _Visit, spec: PhantomSpec, rng: np.random.Generator) -> ScanPlan:
    """One scan with sampled ranges, in the shared place of its case."""
    case_rng = generator(spec.seed, "place", visit.case)
    protocol = visit.protocol
    asked = LONGEST_SCAN_SLICES if spec.slices_per_scan is None else spec.slices_per_scan
    n_slices = max(8, round(asked * protocol.n_slices / LONGEST_SCAN_SLICES))
    ranges = _ranges(protocol.n_slices, case_rng, rng)
    scale = n_slices / protocol.n_slices
    return ScanPlan(
        case=visit.case,
        day=visit.day,
        height=protocol.height,
        width=protocol.width,
        spacing_mm=protocol.spacing_mm,
        slice_spacing_mm=SLICE_THICKNESS_MM / scale,
        n_slices=n_slices,
        ranges=tuple(_whole(a * scale, b * scale, n_slices) for a, b in ranges),
    )


def _ranges(
    n_slices: int, case_rng: np.random.Generator, rng: np.random.Generator
) -> list[tuple[float, float]]:
    """Ranges of large bowel, small bowel and stomach in slices of the whole protocol."""
    whole = n_slices == LONGEST_SCAN_SLICES
    first = (55 if whole else 23) + 12.5 * case_rng.normal() + 7.0 * rng.normal()
    first = float(np.clip(first, 23, 90) if whole else np.clip(first, 2, 40))
    middle = 61 - 0.58 * (first - 55) if whole else 47 - 0.5 * (first - 23)
    number = middle + 4.0 * case_rng.normal() + 4.5 * rng.normal()
    number = float(np.clip(number, 30, 88))
    last = min(first + number, 136.0 if whole else 76.0)
    length = last - first
    large = first + length * float(np.clip(0.15 + 0.13 * rng.normal(), -0.02, 0.5))
    small = first + length * float(np.clip(0.335 + 0.13 * rng.normal(), 0.02, 0.7))
    stomach_stop = first + length * float(np.clip(0.53 + 0.13 * rng.normal(), 0.25, 0.85))
    return [(large, last), (small, last), (first, stomach_stop)]


def _whole(start: float, stop: float, n_slices: int) -> tuple[int, int]:
    """Whole slices of a range, at least three and inside the scan."""
    a = int(np.clip(round(start), 0, n_slices - 3))
    return a, int(np.clip(round(stop), a + 3, n_slices))


def largest_remainder(shares: np.ndarray, total: int) -> np.ndarray:
    """Whole numbers in given proportions that add up to a total.

    >>> largest_remainder(np.array([1, 1, 2]), 5).tolist()
    [1, 1, 3]
    """
    exact = shares * (total / shares.sum())
    numbers: np.ndarray = np.floor(exact).astype(np.int64)
    order = np.argsort(numbers - exact, kind="stable")
    numbers[order[: total - int(numbers.sum())]] += 1
    return numbers
