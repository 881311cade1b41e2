"""The plan of a phantom: exact published counts, without drawing anything."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gitract_core.errors import DataError
from gitract_core.phantom.anatomy.tubes import Tube, fitted
from gitract_core.phantom.phantom_spec import PhantomSpec
from gitract_core.phantom.planning.balance import balanced
from gitract_core.phantom.planning.drawing import PEAK_POSITIONS, largest_remainder, make_plan
from gitract_core.phantom.planning.peaks import with_peaks
from gitract_core.phantom.planning.scan_plan import (
    PhantomPlan,
    ScanPlan,
    combination_counts,
    position_profile,
)
from gitract_core.phantom.slips import slipped


@pytest.fixture(scope="module", params=[0, 17])
def paper(request: pytest.FixtureRequest) -> PhantomPlan:
    return make_plan(PhantomSpec.like_paper(request.param))


def test_cases_scans_slices_and_sizes_are_the_papers(paper: PhantomPlan) -> None:
    assert len({s.case for s in paper.train}) == 85
    assert len(paper.train) == 274
    slices: Counter[tuple[int, int]] = Counter()
    for scan in paper.train:
        slices[scan.height, scan.width] += scan.n_slices
        assert scan.n_slices == (80 if scan.height == 276 else 144)
        assert scan.spacing_mm == (1.63 if scan.height == 276 else 1.5)
    assert slices == {(266, 266): 25920, (310, 360): 11232, (276, 276): 1200, (234, 234): 144}
    per_case = Counter(Counter(s.case for s in paper.train).values())
    assert per_case == {1: 9, 2: 8, 3: 45, 4: 2, 5: 20, 6: 1}


def test_some_cases_mix_sizes(paper: PhantomPlan) -> None:
    """15 of the contest's 85 cases have days of different size."""
    sizes: dict[int, set[tuple[int, int]]] = {}
    for scan in paper.train:
        sizes.setdefault(scan.case, set()).add((scan.height, scan.width))
    assert 8 <= sum(len(s) > 1 for s in sizes.values()) <= 22


def test_every_printed_count_is_exact(paper: PhantomPlan) -> None:
    held = np.concatenate([s.present() for s in paper.train], axis=1)  # (3, 38496)
    large, small, stomach = held
    assert np.bincount(held.sum(axis=0)).tolist() == [21906, 2468, 10921, 3201]
    assert (stomach.sum(), large.sum(), small.sum()) == (8627, 14085, 11201)
    pairs = ((stomach & large).sum(), (large & small).sum(), (small & stomach).sum())
    assert pairs == (6181, 10982, 3361)
    assert combination_counts(paper.train).tolist() == [
        *(21906, 123, 59, 7781),
        *(2286, 2980, 160, 3201),
    ]


def test_profiles_peak_where_the_papers_do(paper: PhantomPlan) -> None:
    profile = position_profile(paper.train)
    for row, (organ, peak) in zip(profile, PEAK_POSITIONS.items(), strict=True):
        assert abs(int(row.argmax()) + 1 - peak) <= 3, organ
    np.testing.assert_allclose(profile.max(axis=1), [240, 235, 196], rtol=0.12)
    some = np.zeros(144, dtype=int)
    for scan in paper.train:
        some[: scan.n_slices] += scan.combinations() > 0
    assert abs(some.max() - 257) <= 8


def test_shifts_that_cannot_help_are_refused() -> None:
    scan = ScanPlan(1, 0, 266, 266, 1.5, 3.0, 20, ((8, 20), (8, 20), (0, 12)))  # has no room
    with pytest.raises(DataError, match="peaks at"):
        with_peaks((scan,), (2, 2, 15), 1, np.random.default_rng(0))


def test_annotated_slices_a_scan_spread_as_published(paper: PhantomPlan) -> None:
    whole = [s for s in paper.train if s.n_slices == 144]
    numbers = np.array([(s.combinations() > 0).sum() for s in whole])
    assert np.median(numbers) == pytest.approx(61, abs=4)
    assert numbers.min() >= 25
    assert numbers.max() <= 95
    first = np.median([np.flatnonzero(s.combinations())[0] + 1 for s in whole])
    assert first == pytest.approx(54, abs=4)


def test_test_scans_share_no_scan_with_training(paper: PhantomPlan) -> None:
    seen = {s.case for s in paper.train}
    kinds = [s.case in seen for s in paper.test]
    assert any(kinds)
    assert not all(kinds)


@settings(max_examples=25, deadline=None)
@given(
    cases=st.integers(1, 12),
    seed=st.integers(0, 10**6),
    slices=st.sampled_from([None, 16, 24, 33, 144]),
)
def test_every_plan_is_sound_and_in_the_published_shares(
    cases: int, seed: int, slices: int | None
) -> None:
    spec = PhantomSpec.small(cases, seed, slices)
    plan = make_plan(spec)
    assert plan == make_plan(spec)
    total = sum(s.n_slices for s in plan.train)
    counts = combination_counts(plan.train)
    wanted = np.array([21906, 123, 59, 7781, 2286, 2980, 160, 3201]) * total / 38496
    assert np.abs(counts - wanted).max() <= (1 if len(plan.train) > 9 else 4)
    assert len({s.case for s in plan.train}) == cases
    assert all(Counter(s.case for s in plan.train)[c] <= 6 for c in {s.case for s in plan.train})


def test_counts_that_do_not_add_up_are_refused() -> None:
    scans = make_plan(PhantomSpec.small(2, 0, 24)).train
    counts = combination_counts(scans)
    with pytest.raises(DataError, match="wanted slices"):
        balanced(scans, counts + 1, np.random.default_rng(0))


@pytest.mark.parametrize("ranges", [((3, 3), (1, 5), (1, 5)), ((-1, 3), (1, 5), (1, 5))])
def test_plans_check_themselves(ranges: tuple[tuple[int, int], ...]) -> None:
    with pytest.raises(DataError, match="case1_day0 large_bowel"):
        ScanPlan(1, 0, 266, 266, 1.5, 3.0, 20, ranges)


def test_a_scan_planned_twice_is_refused() -> None:
    scan = ScanPlan(1, 0, 266, 266, 1.5, 3.0, 20, ((3, 9), (4, 9), (2, 6)))
    with pytest.raises(DataError, match="twice"):
        PhantomPlan((scan,), (scan,))


@given(st.lists(st.integers(0, 50), min_size=2, max_size=8), st.integers(0, 500))
def test_largest_remainder_adds_up_and_stays_within_one(shares: list[int], total: int) -> None:
    weights = np.array(shares)
    if not weights.sum():
        return
    numbers = largest_remainder(weights, total)
    assert numbers.sum() == total
    assert np.abs(numbers - weights * total / weights.sum()).max() < 1


def test_largest_overlaps_exceed_what_the_paper_prints() -> None:
    masks = np.zeros((3, 60, 60), dtype=bool)
    masks[0, :30, :30] = masks[1, 40:, 40:] = masks[2, 35:, :30] = True
    three = slipped(masks, "three_way")
    assert three.all(axis=0).sum() > 300
    two = slipped(masks, "large_small")
    assert (two[0] & two[1]).sum() > 600
    assert not masks.all(axis=0).any()  # the given masks are as they were


@given(seed=st.integers(0, 10**6), start=st.floats(0, 50), length=st.floats(3, 80))
@settings(max_examples=30, deadline=None)
def test_tubes_reach_exactly_their_range(seed: int, start: float, length: float) -> None:
    rng = np.random.default_rng(seed)
    z, depth = fitted(rng.random(50), rng.uniform(1, 6, 50), start, start + length)
    assert (z - depth).min() == pytest.approx(start)
    assert (z + depth).max() == pytest.approx(start + length)


def test_a_tube_along_z_is_a_disc_and_a_bent_one_two() -> None:
    z = np.linspace(0, 20, 200)
    straight = np.column_stack([np.full(200, 30.0), np.full(200, 30.0), z])
    tube = Tube(straight, np.full(200, 8.0), np.full(200, 2.0), np.ones(200))
    disc = tube.cross_section(10, (60, 60))
    assert disc.sum() == pytest.approx(np.pi * 64, rel=0.08)
    gas = tube.gas_section(10, (60, 60))
    assert gas[:30].sum() > gas[38:].sum()  # gas rises to the belly, the top of the image
    assert not tube.cross_section(40, (60, 60)).any()
