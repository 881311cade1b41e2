"""Which slices a network sees beside another where a scan lacks some: by number, not by row."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def has_gaps(numbers: np.ndarray, first: np.ndarray) -> bool:
    """Whether any scan lacks a slice between two others.

    Args:
        numbers: of the slices, int (slices,), rising within a scan.
        first: row of the first slice of each slice's scan, int (slices,).
    """
    rows = np.arange(len(numbers))
    return bool((numbers - numbers[first] != rows - first).any())


def neighbor_rows(
    numbers: np.ndarray, first: np.ndarray, last: np.ndarray, offsets: Sequence[int]
) -> np.ndarray:
    """Rows of the slices that stand for the neighbors of each slice.

    The slice of the wanted number; if the scan does not have it, the nearest one it has, of two as
    near the one on the side of the slice itself. At the ends of a scan that repeats the outermost.

    Args:
        numbers: see ``has_gaps``.
        first: see ``has_gaps``.
        last: row of the last slice of each slice's scan.
        offsets: numbers of the neighbors, from that of the slice.

    Returns:
        int64 (slices, offsets).

    >>> ends = np.array([0, 0, 0]), np.array([2, 2, 2])
    >>> neighbor_rows(np.array([1, 2, 4]), *ends, (-1, 0, 1)).tolist()
    [[0, 0, 1], [0, 1, 1], [2, 2, 2]]
    """
    found = np.empty((len(numbers), len(offsets)), np.int64)
    for start in np.unique(first):
        span = slice(int(start), int(last[start]) + 1)
        there = numbers[span]
        for column, offset in enumerate(offsets):
            wanted = there + offset
            high = np.searchsorted(there, wanted).clip(0, len(there) - 1)
            low = (high - (there[high] > wanted)).clip(0)
            above, below = there[high] - wanted, wanted - there[low]
            nearer_above = (above < below) | ((above == below) & (offset < 0))
            found[span, column] = start + np.where((above >= 0) & nearer_above, high, low)
    return found
