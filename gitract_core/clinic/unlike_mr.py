"""Whether values are those of an MR image, which networks know, or of something else."""

from __future__ import annotations

import numpy as np

CT_QUESTION = "is this MR?"
_MOST_LABELS, _MOST_LABEL = 256, 2**15
_ALIKE = 0.7  # share of neighbors with one label, where either is not background
_AIR, _WATER, _BONE = -500, 200, 300  # Hounsfield units: below, around, above
_LEAST_AIR = 0.005


def looks_like_labels(values: np.ndarray) -> bool:
    """Whether a volume looks like a map of labels: few whole numbers, in plain patches.

    Args:
        values: of a volume, three axes.

    >>> looks_like_labels(np.kron(np.arange(27).reshape(3, 3, 3), np.ones((9, 9, 9))))
    True
    """
    if not np.isfinite(values).all() or values.min() < 0 or values.max() > _MOST_LABEL:
        return False
    whole = values.astype(np.int64)
    if (whole != values).any() or np.count_nonzero(np.bincount(whole.ravel())) > _MOST_LABELS:
        return False
    alike, pairs = 0, 0
    for axis in range(values.ndim):
        one, other = np.delete(whole, -1, axis), np.delete(whole, 0, axis)
        drawn = (one > 0) | (other > 0)
        pairs += int(np.count_nonzero(drawn))
        alike += int(np.count_nonzero((one == other) & drawn))
    return bool(alike >= _ALIKE * pairs)


def looks_like_ct(values: np.ndarray, outside: np.ndarray | None = None) -> bool:
    """Whether values look like Hounsfield units: air far below zero, water about it, bone above.

    Args:
        values: intensities.
        outside: boolean, voxels to leave out.
    """
    inside = np.isfinite(values) if outside is None else ~outside & np.isfinite(values)
    seen = values[inside]
    if seen.size == 0 or seen.min() > _AIR or seen.max() < _BONE or seen.min() < -(2**12):
        return False
    if (seen != np.floor(seen)).any():
        return False
    air = np.count_nonzero(seen < _AIR) >= _LEAST_AIR * seen.size
    return bool(air and np.percentile(seen, 60) <= _WATER)


def gray_notes(values: np.ndarray, outside: np.ndarray | None, *, labels: bool) -> tuple[str, ...]:
    """What is unlike an MR image in a volume's values, a line each.

    Args:
        values: intensities.
        outside: boolean, voxels that hold no measurement.
        labels: whether it looks like a label map.
    """
    finite = values[np.isfinite(values)]
    if not finite.size:
        return ()
    low, high = float(finite.min()), float(finite.max())
    if labels:
        return (f"is this a scan? It looks like a label map (whole numbers up to {high:.0f})",)
    if looks_like_ct(values, outside):
        span = f"from {low:.0f} to {high:.0f}"
        return (f"{CT_QUESTION} Its values ({span}) look like CT's; networks learned from MR",)
    return ()
