"""Overlap of two masks: Dice, intersection over union, accuracy."""

from __future__ import annotations

import numpy as np

from gitract_core.errors import DataError


def check_shapes(prediction: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both as boolean arrays.

    Raises:
        DataError: their shapes differ.
    """
    p, t = np.asarray(prediction, dtype=bool), np.asarray(truth, dtype=bool)
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

    >>> dice(np.array([1, 1, 0, 0]), np.array([0, 1, 1, 0]))
    0.5
    """
    p, t = check_shapes(prediction, truth)
    total = np.count_nonzero(p) + np.count_nonzero(t)
    return 2 * np.count_nonzero(p & t) / total if total else float("nan")


def iou(prediction: np.ndarray, truth: np.ndarray) -> float:
    """Intersection over union, 0 to 1; NaN if both are empty. Arguments as for ``dice``.

    >>> round(iou(np.array([1, 1, 0, 0]), np.array([0, 1, 1, 0])), 4)
    0.3333
    """
    p, t = check_shapes(prediction, truth)
    union = np.count_nonzero(p | t)
    return np.count_nonzero(p & t) / union if union else float("nan")


def accuracy(prediction: np.ndarray, truth: np.ndarray) -> float:
    """Share of pixels on which both agree, 0 to 1; NaN without pixels.

    >>> accuracy(np.array([1, 1, 0, 0]), np.array([0, 1, 1, 0]))
    0.5
    """
    p, t = check_shapes(prediction, truth)
    return np.count_nonzero(p == t) / p.size if p.size else float("nan")
