"""One scan, counted: what every score is made of.

Masks are looked at once, scan by scan. Scores (``metrics.score``) follow from the counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from gitract_core.errors import DataError
from gitract_core.metrics.hausdorff import HausdorffNorm, normalized_hausdorff
from gitract_core.metrics.overlap import check_shapes
from gitract_core.metrics.surfaces.distances import InMillimeters, ScanMillimeters

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class ScanScore:
    """One scan, counted.

    Attributes:
        intersection_px, prediction_px, truth_px: int (organs, slices), pixels of each row.
        hausdorff: float (organs,), normalized distance, 0 to 1; NaN where both sides are empty, or
            where the annotation of any slice is not known.
        known: boolean (organs, slices), where the annotation is known; None where it is throughout.
        in_mm: what was measured in millimeters; None where nothing was asked for.
    """

    intersection_px: np.ndarray
    prediction_px: np.ndarray
    truth_px: np.ndarray
    hausdorff: np.ndarray
    known: np.ndarray | None = None
    in_mm: ScanMillimeters | None = None

    def __post_init__(self) -> None:
        counts = [self.intersection_px, self.prediction_px, self.truth_px]
        counts += [] if self.known is None else [self.known]
        shapes = [values.shape for values in (*counts, self.hausdorff)]
        slices = shapes[0][-1]
        organs = len(self.hausdorff)
        expected = [(organs, slices)] * len(counts) + [(organs,)]
        if shapes != expected:
            raise DataError("ScanScore", f"shapes {expected}", shapes, "count (organs, slices)")


def score_scan(
    prediction: np.ndarray,
    truth: np.ndarray,
    hausdorff_norm: HausdorffNorm = "diagonal",
    *,
    known: np.ndarray | None = None,
    in_mm: InMillimeters | None = None,
) -> ScanScore:
    """Count one scan.

    Args:
        prediction: boolean (organs, slices, height, width).
        truth: boolean, of the same shape.
        hausdorff_norm: see ``normalized_hausdorff``.
        known: boolean (organs, slices), where the annotation is known; None where it is
            throughout. Rows that are not known are not counted. The distance of an organ is not
            counted unless all its slices are known: the border of its volume is not known then.
        in_mm: what to measure in millimeters; nothing by default.

    Raises:
        DataError: shapes differ or are not those of a scan, or an unknown norm.
    """
    p, t = check_shapes(prediction, truth)
    if p.ndim != 4:
        expected = "(organs, slices, height, width)"
        raise DataError("prediction", expected, p.shape, "stack one volume an organ")
    whole: np.ndarray = np.ones(len(p), np.bool_)
    if known is not None:
        if known.shape != p.shape[:2]:
            raise DataError("known", f"shape {p.shape[:2]}", known.shape, "say it of every slice")
        p, t = (mask & known[:, :, None, None] for mask in (p, t))
        whole = np.all(known, axis=1, keepdims=False)
    distances = [
        normalized_hausdorff(p[c], t[c], hausdorff_norm) if whole[c] else np.nan
        for c in range(len(p))
    ]
    shared_px, prediction_px, truth_px = (_slice_counts(mask) for mask in (p & t, p, t))
    found = None
    if in_mm is not None:
        each = [in_mm.of(p[c], t[c]) if whole[c] else in_mm.unknown() for c in range(len(p))]
        found = ScanMillimeters.together(each, in_mm.diagonal(p.shape[1:]))
    return ScanScore(shared_px, prediction_px, truth_px, np.array(distances), known, found)


def row_dice(scan: ScanScore) -> np.ndarray:
    """Dice of each (organ, slice) of a scan, float (organs, slices); NaN where both are empty."""
    return _dice(scan.intersection_px, scan.prediction_px + scan.truth_px)


def volume_dice(scan: ScanScore) -> np.ndarray:
    """Dice of each organ's volume, float (organs,).

    NaN where both sides are empty, or where the annotation of any slice is not known.
    """
    shared, pixels = scan.intersection_px, scan.prediction_px + scan.truth_px
    dice = _dice(shared.sum(axis=1), pixels.sum(axis=1))
    return dice if scan.known is None else np.where(scan.known.all(axis=1), dice, np.nan)


def _dice(shared: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    dice = np.full(pixels.shape, np.nan)
    np.divide(2.0 * shared, pixels, out=dice, where=pixels > 0)
    return dice


def _slice_counts(masks: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Pixels a slice, (organs, slices); faster than ``count_nonzero`` along axes."""
    return np.array([[np.count_nonzero(mask) for mask in organ] for organ in masks], np.int64)
