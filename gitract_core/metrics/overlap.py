"""Overlap of two masks: Dice, intersection over union, accuracy."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from gitract_core.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray


def check_shapes(
    prediction: np.ndarray, truth: np.ndarray
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Both as boolean arrays, copied only if they are not: what is not zero is True.

    Raises:
        DataError: their shapes differ.
    """
    p, t = np.asarray(prediction, dtype=np.bool_), np.asarray(truth, dtype=np.bool_)
    if p.shape != t.shape:
        remedy = "compare masks of one size"
        raise DataError("prediction", f"the truth's shape {t.shape}", p.shape, remedy)
    return p, t


def dice(prediction: np.ndarray, truth: np.ndarray) -> float:
    """Twice the intersection over the sum of sizes, 0 to 1; NaN if both are empty.

    Args:
        prediction: boolean, any shape.
        truth: boolean, of the same shape.

    Raises:
        DataError: shapes differ.

    >>> dice(np.array([True, True, False]), np.array([False, True, True]))
    0.5
    """
    p, t = check_shapes(prediction, truth)
    return _ratio(2 * np.count_nonzero(p & t), np.count_nonzero(p) + np.count_nonzero(t))


def iou(prediction: np.ndarray, truth: np.ndarray) -> float:
    """Intersection over union, 0 to 1; NaN if both are empty. Arguments as for ``dice``.

    >>> iou(np.array([True, True, False, True]), np.array([False, True, True, True]))
    0.5
    """
    p, t = check_shapes(prediction, truth)
    return _ratio(np.count_nonzero(p & t), np.count_nonzero(p | t))


def accuracy(prediction: np.ndarray, truth: np.ndarray) -> float:
    """Share of pixels on which both agree, 0 to 1; NaN without pixels. Arguments as for ``dice``.

    >>> accuracy(np.array([True, True, False, False]), np.array([False, True, True, False]))
    0.5
    """
    p, t = check_shapes(prediction, truth)
    return _ratio(np.count_nonzero(p == t), p.size)


def _ratio(part: int | np.integer[Any], whole: int | np.integer[Any]) -> float:
    return float(part) / float(whole) if whole else math.nan
