"""The competition score: 0.4 x mean Dice + 0.6 x mean (1 - normalized 3D Hausdorff distance).

Dice is one value a (slice, class) row, the Hausdorff distance one value a (scan, class) volume,
stacked in slice order with depth 1. Scans are counted one by one into a ``ScanScore``, and counts
and sums are pooled over everything that is scored, never averaged twice.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from gitract_core.errors import DataError, SubmissionError, suggestion
from gitract_core.metrics.hausdorff import HausdorffNorm, normalized_hausdorff
from gitract_core.metrics.mask_table import MaskTable, scan_volume, scans_of
from gitract_core.metrics.overlap import check_shapes
from gitract_core.organs import CONTEST, Organs

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

EmptyRule = Literal["skip", "one", "zero"]
_WORTH_OF_EMPTY: dict[EmptyRule, float] = {"skip": math.nan, "one": 1.0, "zero": 0.0}
_DICE_SHARE, _HAUSDORFF_SHARE = 0.4, 0.6


@dataclass(frozen=True)
class ScanScore:
    """One scan, counted.

    Attributes:
        intersection_px, prediction_px, truth_px: int (organs, slices), pixels of each row.
        hausdorff: float (organs,), normalized distance; NaN where both sides are empty.
    """

    intersection_px: np.ndarray
    prediction_px: np.ndarray
    truth_px: np.ndarray
    hausdorff: np.ndarray

    def __post_init__(self) -> None:
        counts = (self.intersection_px, self.prediction_px, self.truth_px)
        shapes = [values.shape for values in (*counts, self.hausdorff)]
        slices = shapes[0][-1]
        organs = len(self.hausdorff)
        expected = [(organs, slices)] * 3 + [(organs,)]
        if shapes != expected:
            raise DataError("ScanScore", f"shapes {expected}", shapes, "count (organs, slices)")


@dataclass(frozen=True)
class CompetitionScore:
    """The score and what it consists of; NaN where nothing could be counted.

    Attributes:
        dice: mean over rows, 0 to 1.
        hausdorff: mean over volumes of 1 - normalized distance, 0 to 1: the Hausdorff *score*,
            higher is better.
        score: 0.4 dice + 0.6 hausdorff.
        per_class: class -> the three figures.
        rows: number of (slice, class) rows counted.
        volumes: number of (scan, class) volumes counted.
    """

    dice: float
    hausdorff: float
    score: float
    per_class: dict[str, dict[str, float]]
    rows: int
    volumes: int

    def to_json(self) -> dict[str, Any]:
        """The attributes by name."""
        return {
            "dice": self.dice,
            "hausdorff": self.hausdorff,
            "score": self.score,
            "per_class": {name: dict(figures) for name, figures in self.per_class.items()},
            "rows": self.rows,
            "volumes": self.volumes,
        }


def score_scan(
    prediction: np.ndarray,
    truth: np.ndarray,
    hausdorff_norm: HausdorffNorm = "diagonal",
    *,
    known: np.ndarray | None = None,
) -> ScanScore:
    """Count one scan.

    Args:
        prediction: boolean (organs, slices, height, width).
        truth: boolean, of the same shape.
        hausdorff_norm: see ``normalized_hausdorff``.
        known: boolean (organs, slices), where the annotation is known; None where it is
            throughout. What is not known is left out of both sides.

    Raises:
        DataError: shapes differ or are not those of a scan, or an unknown norm.
    """
    p, t = check_shapes(prediction, truth)
    if p.ndim != 4:
        expected = "(organs, slices, height, width)"
        raise DataError("prediction", expected, p.shape, "stack one volume an organ")
    if known is not None:
        p, t = (mask & known[:, :, None, None] for mask in (p, t))
    distances = [normalized_hausdorff(p[c], t[c], hausdorff_norm) for c in range(len(p))]
    shared_px, prediction_px, truth_px = (_slice_counts(mask) for mask in (p & t, p, t))
    return ScanScore(shared_px, prediction_px, truth_px, np.array(distances))


def _slice_counts(masks: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Pixels a slice, (organs, slices); faster than ``count_nonzero`` along axes."""
    return np.array([[np.count_nonzero(mask) for mask in organ] for organ in masks], np.int64)


def pool_scores(
    scans: Sequence[ScanScore],
    empty: EmptyRule = "skip",
    classes: Collection[str] | None = None,
    *,
    organs: Organs = CONTEST,
) -> CompetitionScore:
    """The score of several scans together.

    Args:
        scans: any number of scans.
        empty: rows empty on both sides are skipped, or count as one or zero. Volumes empty on both
            sides are always skipped.
        classes: the organs to count; figures of others are NaN. All by default.
        organs: in the order of the scores' first axis.

    Raises:
        SubmissionError: an unknown rule for empty rows.
    """
    check_empty_rule(empty)
    none = np.zeros((len(organs), 0))
    pixels = np.concatenate([none, *(s.prediction_px + s.truth_px for s in scans)], axis=1)
    shared = np.concatenate([none, *(s.intersection_px for s in scans)], axis=1)
    blank = np.full(pixels.shape, _WORTH_OF_EMPTY[empty])
    dice = np.divide(2 * shared, pixels, out=blank, where=pixels > 0)  # (organs, rows)
    distances = np.concatenate([none, *(s.hausdorff[:, None] for s in scans)], axis=1)
    closeness = 1 - distances  # (organs, scans)
    for channel, organ in enumerate(organs):
        if classes is not None and organ not in classes:
            dice[channel] = closeness[channel] = math.nan
    return CompetitionScore(
        **_figures(dice, closeness),
        per_class={o: _figures(dice[c], closeness[c]) for c, o in enumerate(organs)},
        rows=int(np.isfinite(dice).sum()),
        volumes=int(np.isfinite(closeness).sum()),
    )


def check_empty_rule(empty: str) -> None:
    """Raise a ``SubmissionError`` for an unknown rule for rows empty on both sides."""
    if empty not in _WORTH_OF_EMPTY:
        rules = get_args(EmptyRule)
        raise SubmissionError("--empty", "a known rule", repr(empty), suggestion(empty, rules))


def competition_score(
    prediction: pd.DataFrame,
    truth: pd.DataFrame,
    empty: EmptyRule = "skip",
    hausdorff_norm: HausdorffNorm = "diagonal",
) -> CompetitionScore:
    """Score a submission, scan by scan: memory does not grow with the number of scans.

    Args:
        prediction: columns ``id``, ``class`` and ``predicted`` (or ``segmentation``); the rows of
            the truth in any order. Missing text is an empty mask.
        truth: columns ``id``, ``class``, ``segmentation``, ``height``, ``width``; ids such as
            ``case123_day20_slice_0065``, and every id with the same classes. Classes that are not
            there are not counted.
        empty: see ``pool_scores``.
        hausdorff_norm: see ``normalized_hausdorff``.

    Raises:
        SubmissionError: a missing column, an unknown class, a bad id or size, rows that do not
            match the truth's; names the row.
        RleError: bad run-length text; names the row.
        DataError: an unknown norm.
    """
    check_empty_rule(empty)
    expected = MaskTable.of(truth, "truth", ("segmentation",))
    given = MaskTable.of(prediction, "prediction", ("predicted", "segmentation"))
    expected.check_complete()
    given.check_rows_are_those_of(expected)
    scores = []
    for scan in scans_of(truth):
        masks, true_masks = scan_volume(given, scan), scan_volume(expected, scan)
        scores.append(score_scan(masks, true_masks, hausdorff_norm))
    return pool_scores(scores, empty, expected.classes)


def _figures(dice: np.ndarray, closeness: np.ndarray) -> dict[str, float]:
    d, h = (float(np.nanmean(x)) if np.isfinite(x).any() else math.nan for x in (dice, closeness))
    return {"dice": d, "hausdorff": h, "score": _DICE_SHARE * d + _HAUSDORFF_SHARE * h}
