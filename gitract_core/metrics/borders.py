"""How a predicted organ differs from its annotation: its border, its volume, its parts.

A mean overlap does not say *how* a prediction is wrong. These figures do: whether borders shrink
(the seed paper's observation), whether the organ is too large or too small, and whether whole parts
are missed or invented.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from scipy import ndimage

from gitract_core.metrics.overlap import check_shapes

_TOUCHING = np.ones((3, 3, 3))


@dataclass(frozen=True, slots=True)
class BorderCounts:
    """One organ of one scan, or several pooled with ``+``.

    Attributes:
        shift_sum_mm: signed distances of predicted border pixels to the annotated border, summed:
            positive where the prediction reaches beyond the annotation.
        border_px: predicted border pixels counted, in slices that hold the organ on both sides.
        prediction_mm3, truth_mm3: volumes.
        missed, truth_parts: annotated parts (26-connected) that the prediction does not touch, and
            all of them.
        spurious, prediction_parts: predicted parts that touch no annotation, and all of them.
    """

    shift_sum_mm: float = 0.0
    border_px: int = 0
    prediction_mm3: float = 0.0
    truth_mm3: float = 0.0
    missed: int = 0
    truth_parts: int = 0
    spurious: int = 0
    prediction_parts: int = 0

    def __add__(self, other: BorderCounts) -> BorderCounts:
        values = (getattr(self, n) + getattr(other, n) for n in self.__slots__)
        return BorderCounts(*values)

    @property
    def shift_mm(self) -> float:
        """Mean signed border shift: negative where predictions shrink; NaN without borders."""
        return self.shift_sum_mm / self.border_px if self.border_px else float("nan")

    @property
    def volume_error(self) -> float:
        """(predicted - annotated) / annotated volume; NaN without annotation."""
        if not self.truth_mm3:
            return float("nan")
        return (self.prediction_mm3 - self.truth_mm3) / self.truth_mm3


def border_counts(
    prediction: np.ndarray, truth: np.ndarray, spacing_mm: tuple[float, float, float]
) -> BorderCounts:
    """Compare one organ of one scan.

    Args:
        prediction: boolean (slices, height, width).
        truth: boolean, of the same shape.
        spacing_mm: of slices, rows and columns. In-plane distances use the mean of the latter two,
            which in the contest's data are equal.

    Raises:
        DataError: shapes differ.
    """
    p, t = check_shapes(prediction, truth)
    thickness_mm, y_mm, x_mm = spacing_mm
    both = np.flatnonzero(p.any(axis=(1, 2)) & t.any(axis=(1, 2)))
    shifts = [_shifts_px(p[place], t[place]) for place in both]
    missed, truth_parts = _untouched(t, p)
    spurious, prediction_parts = _untouched(p, t)
    voxel_mm3 = thickness_mm * y_mm * x_mm
    return BorderCounts(
        shift_sum_mm=float(sum(s.sum() for s in shifts)) * (y_mm + x_mm) / 2,
        border_px=sum(len(s) for s in shifts),
        prediction_mm3=np.count_nonzero(p) * voxel_mm3,
        truth_mm3=np.count_nonzero(t) * voxel_mm3,
        missed=missed,
        truth_parts=truth_parts,
        spurious=spurious,
        prediction_parts=prediction_parts,
    )


def _shifts_px(prediction: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Signed distance of each predicted border pixel to the annotated border; 0 on it."""
    p, t = prediction.astype(np.uint8), truth.astype(np.uint8)
    border = prediction & (cv2.erode(p, np.ones((3, 3), np.uint8), borderValue=0) == 0)
    outside = cv2.distanceTransform(1 - t, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    inside = cv2.distanceTransform(np.pad(t, 1), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1]
    distance = np.where(truth, 1.0 - inside, outside)  # the annotated border's own pixels are 0
    shifts: np.ndarray = distance[border]
    return shifts


def _untouched(mask: np.ndarray, other: np.ndarray) -> tuple[int, int]:
    """Parts of ``mask`` that share no voxel with ``other``, and all of its parts."""
    labels, count = ndimage.label(mask, _TOUCHING)
    touched = np.unique(labels[other & mask])
    return int(count) - len(touched[touched > 0]), int(count)
