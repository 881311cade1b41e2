"""Scores by name: ``contest``, or a weighted sum of terms such as ``0.4*dice + 0.6*hd95_mm``.

Terms are means over scans, one value a (scan, organ), 0 to 1, larger is better:

- ``dice``: Dice of the organ's whole volume.
- ``hd95_mm``: ``1 - min(distance / limit, 1)`` of the 95 % Hausdorff distance. The limit is the
  diagonal of the scan's volume; ``hd95_mm@50mm`` sets it to 50 mm.
- ``surface_dice@2mm``: surface Dice at a tolerance of 2 mm.

An organ found on one side alone is worth 0; one on neither side, or not known, is not counted.
``dice[stomach=2]`` counts the stomach twice. The factors must add up to 1: a sum of other factors
is refused, so that a score is what its text says.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import NoReturn

import numpy as np

from gitract_core.errors import GitractError, suggestion
from gitract_core.metrics.scan_score import ScanScore, volume_dice
from gitract_core.metrics.score import COMPETITION, CONTEST_SCORE, Mean, Mixture, closeness
from gitract_core.metrics.surfaces.distances import ScanMillimeters, SurfaceMeasure
from gitract_core.organs import Organs

TERMS = ("dice", "hd95_mm", "surface_dice@2mm")
"""The terms as a person would write them."""
EXAMPLE = "0.4*dice + 0.6*hd95_mm"
_NAMES = ("dice", "hd95_mm", "surface_dice")
_LONGEST = 500
_MOST_MM = 10_000.0
_SLACK = 1e-6  # factors that are written with six decimals
_NUMBER = r"(?:\d+\.?\d*|\.\d+)(?:[eE]-?\d+)?"
_TERM = re.compile(
    rf"\s*(?:(?P<factor>-?{_NUMBER})\s*\*\s*)?(?P<name>[A-Za-z_]\w*)"
    rf"(?:\s*@\s*(?P<mm>{_NUMBER})\s*(?P<unit>[A-Za-z]*))?"
    r"\s*(?:\[(?P<organs>[^\]]*)\])?\s*(?P<joint>\+|$)",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class ScoreTerm:
    """A term as it is written.

    Attributes:
        name: ``dice``, ``hd95_mm`` or ``surface_dice``.
        factor: above 0.
        mm: tolerance or limit; None where none is written.
        organs: weights by organ, as written; organs that are not named weigh 1.
    """

    name: str
    factor: float
    mm: float | None
    organs: tuple[tuple[str, float], ...]

    @property
    def measure(self) -> str:
        """The term without factor and organs."""
        return self.name if self.mm is None else f"{self.name}@{self.mm:g}mm"

    def text(self, factor: float) -> str:
        """The term in one spelling, with another factor."""
        weights = ", ".join(f"{organ}={weight:g}" for organ, weight in self.organs)
        times = "" if factor == 1 else f"{factor:.6g}*"
        return f"{times}{self.measure}" + (f"[{weights}]" if weights else "")


def parse_terms(text: str) -> tuple[ScoreTerm, ...]:
    """The terms of an expression; none for ``contest``. Organs are not looked up.

    >>> [term.text(term.factor) for term in parse_terms("0.40*dice[stomach=2] + .6*hd95_mm@50mm")]
    ['0.4*dice[stomach=2]', '0.6*hd95_mm@50mm']

    Raises:
        GitractError: not such an expression, or factors that do not add up to 1.
    """
    if len(text) > _LONGEST:
        _fail(text[:40], 1, f"at most {_LONGEST} characters", len(text), "write a shorter sum")
    if text.strip() == CONTEST_SCORE:
        return ()
    terms: list[ScoreTerm] = []
    place, joint = 0, "+"
    while joint:
        found = _TERM.match(text, place)
        if not found:
            rest = text[place:].strip()
            got = repr(rest[:30]) if rest else "the end"
            _fail(text, place + 1, f"a term such as {', '.join(TERMS)}", got, f"write {EXAMPLE!r}")
        terms.append(_term(text, found))
        place, joint = found.end(), found["joint"]
    twice = [t.measure for t in terms if sum(t.measure == other.measure for other in terms) > 1]
    if twice:
        _fail(text, 1, "each term once", f"{twice[0]} twice", "add the factors up")
    _check_sum(text, terms)
    return tuple(terms)


def _term(text: str, found: re.Match[str]) -> ScoreTerm:
    name, column = found["name"], found.start("name") + 1
    if name == CONTEST_SCORE:
        _fail(text, column, "contest alone, or terms", "both", f"write {EXAMPLE!r}, or contest")
    if name not in _NAMES:
        _fail(text, column, "a known term", repr(name), suggestion(name, TERMS))
    factor = float(found["factor"] or 1)
    if not 0 < factor < np.inf:
        _fail(text, column, "a factor above 0", found["factor"], "leave the term out")
    mm = None if found["mm"] is None else float(found["mm"])
    if mm is not None and (name == "dice" or found["unit"] != "mm" or not 0 < mm <= _MOST_MM):
        what = {"dice": "dice without '@'"}.get(name, f"{name}@NUMBERmm, 0 to {_MOST_MM:g}")
        got = found.group(0)[found.start("name") - found.start() :].strip(" +")
        remedy = "write surface_dice@2mm" if name != "hd95_mm" else "write hd95_mm@50mm"
        _fail(text, column, what, repr(got), remedy)
    if name == "surface_dice" and mm is None:
        _fail(text, column, "a tolerance in millimeters", name, "write surface_dice@2mm")
    return ScoreTerm(name, factor, mm, _organ_weights(text, found))


def _organ_weights(text: str, found: re.Match[str]) -> tuple[tuple[str, float], ...]:
    if found["organs"] is None:
        return ()
    weights: dict[str, float] = {}
    column = found.start("organs") + 1
    for part in found["organs"].split(","):
        organ, _, number = (word.strip() for word in part.rpartition("="))
        if not organ or not re.fullmatch(_NUMBER, number) or not 0 < float(number) < np.inf:
            remedy = f"write {found['name']}[stomach=2]; leave the others out, they weigh 1"
            _fail(text, column, "ORGAN=WEIGHT, a weight above 0", repr(part.strip()), remedy)
        if organ in weights:
            _fail(text, column, "each organ once", f"{organ} twice", "leave one out")
        weights[organ] = float(number)
    return tuple(weights.items())


def _check_sum(text: str, terms: list[ScoreTerm]) -> None:
    total = sum(term.factor for term in terms)
    if abs(total - 1) > _SLACK:
        shares = [round(term.factor / total, 4) for term in terms]
        shares[-1] = round(1 - sum(shares[:-1]), 4)
        instead = " + ".join(t.text(share) for t, share in zip(terms, shares, strict=True))
        _fail(text, 1, "factors that add up to 1", f"{total:g}", f"write {instead!r}")


def _fail(text: str, column: int, expected: str, got: object, remedy: str) -> NoReturn:
    raise GitractError(f"score {text!r}, position {column}", expected, got, remedy)


def parse_score(text: str, organs: Organs | None = None) -> Mixture:
    """The score that an expression stands for.

    Equal scores have one ``text``, however they are spelled.

    Args:
        text: ``contest`` or a sum of terms.
        organs: of the data set; without, organs are not looked up and all weigh alike, which is
            enough for sums that are there.

    Raises:
        GitractError: not such an expression, or an organ that the data set does not have.

    >>> parse_score(".25*surface_dice@2mm+0.75 * dice", Organs(("liver",))).text
    '0.25*surface_dice@2mm + 0.75*dice'
    """
    terms = parse_terms(text)
    if not terms:
        return COMPETITION
    total = sum(term.factor for term in terms)
    if organs is None:
        ordered = list(terms)
        means = tuple(_MEANS[term.name](term) for term in terms)
    else:
        ordered = [_in_order(text, term, organs) for term in terms]
        means = tuple(_mean(term, organs) for term in ordered)
    spelled = " + ".join(term.text(term.factor) for term in ordered)
    return Mixture(means, tuple(term.factor / total for term in terms), spelled)


def _in_order(text: str, term: ScoreTerm, organs: Organs) -> ScoreTerm:
    """The term with its organs in the data set's order, without those that weigh 1."""
    weights = dict(term.organs)
    for organ in weights:
        if organ not in organs.names:
            where, remedy = f"score {text!r}", suggestion(organ, organs.names)
            raise GitractError(where, "an organ of the data set", repr(organ), remedy)
    kept = tuple((o, weights[o]) for o in organs if weights.get(o, 1.0) != 1)
    return ScoreTerm(term.name, term.factor, term.mm, kept)


def _mean(term: ScoreTerm, organs: Organs) -> Mean:
    mean, weights = _MEANS[term.name](term), dict(term.organs)
    if not weights:
        return mean
    said = ", ".join(f"{organ} x {weight:g}" for organ, weight in weights.items())
    by_organ = tuple(weights.get(organ, 1.0) for organ in organs)
    return replace(mean, title=f"{mean.title} ({said})", weights=by_organ)


def _over_scans(key: str, title: str, values: Callable[[ScanScore], np.ndarray]) -> Mean:
    """A mean over scans of one value an organ; ``values`` gives float (organs,)."""
    columns = (f"scan_{key}_sum", f"scan_{key}_volumes")
    return Mean(key, title, "scans", columns, lambda scan: values(scan)[:, None])


def _dice(term: ScoreTerm) -> Mean:
    mean = _over_scans(term.measure, "volume Dice", volume_dice)
    return replace(
        mean, short="Dice", header="volume Dice", note="Dice: of an organ's whole volume in a scan"
    )


def _hausdorff(term: ScoreTerm) -> Mean:
    measure, limit = SurfaceMeasure("hd95_mm"), term.mm

    def values(scan: ScanScore) -> np.ndarray:
        in_mm = _measured(scan, measure)
        return closeness(in_mm.values[measure.key], in_mm.diagonal if limit is None else limit)

    key, by = "hd95_score", "the volume's diagonal"
    if limit is not None:
        key, by = f"hd95_score@{limit:g}mm", f"{limit:g} mm"
    mean = _over_scans(key, f"HD95 score (limit {by})", values)
    note = f"HD95: 1 - 95 % Hausdorff distance / {by}, higher is better; a missed organ is 0"
    header = key.removeprefix("hd95_score").replace("@", " ")
    return replace(mean, short="HD95", header=f"HD95{header}", note=note, needs=(measure,))


def _surface(term: ScoreTerm) -> Mean:
    measure, mm = SurfaceMeasure(term.measure, term.mm), f"{term.mm:g} mm"

    def values(scan: ScanScore) -> np.ndarray:
        return np.asarray(_measured(scan, measure).values[measure.key])

    mean = _over_scans(measure.key, f"surface Dice at {mm}", values)
    short = f"SD {term.mm:g}"
    note = f"{short}: share of both surfaces that lies within {mm} of the other"
    return replace(mean, short=short, header=mean.title, note=note, needs=(measure,))


_MEANS: Mapping[str, Callable[[ScoreTerm], Mean]] = {
    "dice": _dice,
    "hd95_mm": _hausdorff,
    "surface_dice": _surface,
}


def _measured(scan: ScanScore, measure: SurfaceMeasure) -> ScanMillimeters:
    if scan.in_mm is None or measure.key not in scan.in_mm.values:
        remedy = "measure the scan with the score's needs"
        raise GitractError("score", f"{measure.key} of the scan", "none", remedy)
    return scan.in_mm
