"""From closed outlines to the pixels whose centers they hold."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_DIGITS = 6  # of pixels: what is equal on paper is equal here


def filled(rings: Sequence[np.ndarray], shape: tuple[int, int]) -> np.ndarray:
    """The pixels whose centers are in an odd number of outlines, the even-odd rule.

    A hole is therefore an outline inside of another, or an outline that runs to the hole and back
    (a keyhole): the two ways of its channel cancel out exactly. A center on an outline's left or
    upper border is inside, one on its right or lower border is not.

    Args:
        rings: float (points, 2) each, of (row, column) with pixel centers at whole numbers; the
            last point joins the first.
        shape: height and width.

    Returns:
        boolean (height, width).

    >>> filled([np.array([[0, 0], [0, 2], [2, 2], [2, 0]])], (3, 3)).astype(int).tolist()
    [[1, 1, 0], [1, 1, 0], [0, 0, 0]]
    """
    height, width = shape
    crossings: np.ndarray = np.zeros((height, width + 1), np.int32)
    for ring in rings:
        start = np.round(np.asarray(ring, np.float64), _DIGITS)
        end = np.roll(start, -1, axis=0)
        upward = (start[:, 0] > end[:, 0])[
            :, None
        ]  # so that both ways of a channel are computed alike
        above, below = np.where(upward, end, start), np.where(upward, start, end)
        first = np.clip(np.ceil(above[:, 0]), 0, height).astype(np.int64)
        last = np.clip(np.ceil(below[:, 0]), 0, height).astype(np.int64)
        edge = np.repeat(np.arange(len(start)), last - first)  # once for each row that it crosses
        if not len(edge):
            continue
        row = np.arange(len(edge)) - np.repeat(np.cumsum(last - first) - last, last - first)
        drop, run = (below - above)[edge].T
        column = above[edge, 1] + (row - above[edge, 0]) * (run / drop)
        place = np.clip(np.ceil(np.round(column, _DIGITS)), 0, width).astype(np.int64)
        np.add.at(crossings, (row, place), 1)
    return np.asarray(np.cumsum(crossings, axis=1)[:, :width] % 2 == 1)
