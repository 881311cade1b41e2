"""Whether values are those of an MR image, which networks know, or of something else."""

from __future__ import annotations

import numpy as np

CT_QUESTION = "is this MR?"
_MOST_LABELS, _MOST_LABEL = 256, 2**15
_MOST_SIDE = 192  # voxels that are looked at along an axis
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
    if not values.size or not (values.min() >= 0 and values.max() <= _MOST_LABEL):
        return False  # NaN too
    values = values[tuple(_middle(side) for side in values.shape)]
    whole = values.astype(np.int32)
    if (whole != values).any() or np.count_nonzero(np.bincount(whole.ravel())) > _MOST_LABELS:
        return False
    alike, pairs = 0, 0
    for axis in range(values.ndim):
        one, other = np.delete(whole, -1, axis), np.delete(whole, 0, axis)
        drawn = (one > 0) | (other > 0)
        pairs += int(np.count_nonzero(drawn))
        alike += int(np.count_nonzero((one == other) & drawn))
    return bool(alike >= _ALIKE * pairs)


def _middle(side: int) -> slice:
    """The middle of an axis, as far as it is looked at."""
    start = max(0, (side - _MOST_SIDE) // 2)
    return slice(start, start + _MOST_SIDE)


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
    if labels:
        most = f"whole numbers up to {values.max():.0f}"
        return (f"is this a scan? It looks like a label map ({most})",)
    if looks_like_ct(values, outside):
        finite = values[np.isfinite(values)]
        span = f"from {finite.min():.0f} to {finite.max():.0f}"
        return (f"{CT_QUESTION} Its values ({span}) look like CT's; networks learned from MR",)
    return ()
