"""Any score of a submission, by the name of the score; the contest's is in ``competition``."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gitract_core.data.slices import SLICE_THICKNESS_MM
from gitract_core.errors import SubmissionError
from gitract_core.metrics.mask_table import Gaps, MaskTable, scan_volume, scans_of
from gitract_core.metrics.scan_score import score_scan
from gitract_core.metrics.score import Mixture
from gitract_core.metrics.score_expression import parse_score
from gitract_core.metrics.surfaces.distances import InMillimeters
from gitract_core.metrics.surfaces.elements import SpacingMm
from gitract_core.organs import Organs

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class TableScore:
    """A submission's score.

    Attributes:
        measure: the score.
        organs: in the order of ``sums``.
        sums: over all scans, float (organs, columns).
        scans: number of scans.
    """

    measure: Mixture
    organs: Organs
    sums: np.ndarray
    scans: int

    @property
    def overall(self) -> dict[str, float]:
        """Each mean by its key, and ``score``; NaN where nothing is counted."""
        return self._figures(self.sums.sum(axis=0))

    @property
    def per_class(self) -> dict[str, dict[str, float]]:
        """As ``overall``, by organ."""
        return {o: self._figures(one) for o, one in zip(self.organs, self.sums, strict=True)}

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        names = {"measure": self.measure.text, "name": self.measure.name}
        return {**self.overall, **names, "per_class": self.per_class, "scans": self.scans}

    def _figures(self, sums: np.ndarray) -> dict[str, float]:
        means = {key: float(value) for key, value in self.measure.by_mean(sums).items()}
        return {**means, "score": float(self.measure.mix(means))}


def score_tables(
    prediction: pd.DataFrame, truth: pd.DataFrame, score: str, *, gaps: Gaps = "close"
) -> TableScore:
    """Score a submission, scan by scan.

    Args:
        prediction: as in ``competition_score``.
        truth: likewise; where the score needs millimeters, also ``spacing_y_mm``,
            ``spacing_x_mm`` and, unless slices are 3 mm apart, ``spacing_z_mm``.
        score: see ``score_expression``.
        gaps: see ``competition_score``.

    Raises:
        SubmissionError: a missing column, rows that do not match the truth's; names the row.
        RleError: bad run-length text; names the row.
        GitractError: no such score.
    """
    expected = MaskTable.of(truth, "truth", ("segmentation",))
    columns = ("predicted", "segmentation")
    given = MaskTable.of(prediction, "prediction", columns, organs=expected.organs)
    expected.check_complete()
    given.check_rows_are_those_of(expected)
    measure = parse_score(score, expected.organs)
    spacings = _spacings(truth) if measure.needs else {}
    sums = np.zeros((len(expected.organs), len(measure.columns)))
    scans = scans_of(truth, gaps)
    for scan in scans:
        masks, true_masks = scan_volume(given, scan), scan_volume(expected, scan)
        in_mm = InMillimeters(spacings[scan.ids[0]], measure.needs) if measure.needs else None
        sums += measure.count(score_scan(masks, true_masks, in_mm=in_mm))
    return TableScore(measure, expected.organs, sums, len(scans))


def _spacings(truth: pd.DataFrame) -> dict[str, SpacingMm]:
    """Distance of neighbors by id."""
    for column in ("spacing_y_mm", "spacing_x_mm"):
        if column not in truth.columns:
            remedy = "add spacing_y_mm and spacing_x_mm, or pass --images DIR"
            raise SubmissionError("truth", f"a column {column!r}", "none", remedy)
    found: dict[str, SpacingMm] = {}
    deep = truth.get("spacing_z_mm", [SLICE_THICKNESS_MM] * len(truth))
    sides = (deep, truth["spacing_y_mm"], truth["spacing_x_mm"])
    for name, *spacing in zip(map(str, truth["id"]), *sides, strict=True):
        z, y, x = (_positive(name, one) for one in spacing)
        found[name] = (z, y, x)
    return found


def _positive(name: str, value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not 0 < number < math.inf:
        raise SubmissionError(f"truth, {name}", "a spacing above 0 mm", repr(value), "correct it")
    return number
