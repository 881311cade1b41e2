"""How many pixels of a slice belong to which organs, from run-length texts, without any mask.

A **combination** of organs is a number of three bits: bit i stands for ``ORGANS[i]``, 0 is no organ
and 7 all three. All slices lie end to end on one line of pixels. Each run has two borders on it,
at which its organ begins or ends; between neighboring borders the combination does not change. So
the borders of all runs of all organs, in order, with the running exclusive-or of their organs'
bits, tell the combination of every stretch of the line.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gitract_core.data import rle
from gitract_core.errors import RleError
from gitract_core.organs import N_ORGANS, ORGANS

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pandas as pd

    from gitract_core.eda.annotations import Annotations

N_COMBINATIONS = 2**N_ORGANS
_ORGAN_BITS = 2  # of a border's key: the organ's position
_SLICES_A_PASS = 8192  # bounds memory: about 100 MB


def combination_of(organs: Iterable[str]) -> int:
    """The number of a combination.

    >>> combination_of(["large_bowel", "stomach"])
    5
    """
    return sum(1 << ORGANS.index(organ) for organ in organs)


def organs_of(combination: int) -> tuple[str, ...]:
    """The organs of a combination.

    >>> organs_of(5)
    ('large_bowel', 'stomach')
    """
    return tuple(organ for bit, organ in enumerate(ORGANS) if combination >> bit & 1)


def combination_areas(annotations: Annotations) -> np.ndarray:
    """Pixels of each combination of organs in each slice.

    Returns:
        int64 (slices, 8), pixels that belong to exactly the organs of the column's combination;
        column 0, no organ, is the rest, so that a row adds up to height x width.

    Raises:
        RleError: a text is not a mask of the slice's size; names the slice and class.
    """
    parts = [
        _areas(annotations, slice(first, first + _SLICES_A_PASS))
        for first in range(0, len(annotations), _SLICES_A_PASS)
    ]
    return np.concatenate(parts)


def shared_areas(areas: np.ndarray, combination: int) -> np.ndarray:
    """Pixels that belong to all organs of a combination, and maybe to others, int64 (slices,).

    For one organ that is its area, for several it is their overlap.
    """
    columns = [c for c in range(N_COMBINATIONS) if c & combination == combination]
    return np.asarray(areas[:, columns].sum(axis=1), dtype=np.int64)


def slice_combinations(areas: np.ndarray) -> np.ndarray:
    """Which organs a slice holds at all, as a combination, int64 (slices,)."""
    present = np.zeros(len(areas), np.int64)
    for bit in range(N_ORGANS):
        present |= (shared_areas(areas, 1 << bit) > 0).astype(np.int64) << bit
    return present


def _areas(annotations: Annotations, part: slice) -> np.ndarray:
    """``combination_areas`` of some of the slices."""
    table = annotations.table.iloc[part]
    sizes = table["height"].to_numpy(np.int64) * table["width"].to_numpy(np.int64)
    offsets = np.concatenate([[0], sizes.cumsum()])  # of each slice on the line, pixels
    keys = np.concatenate([_border_keys(table, channel, offsets) for channel in range(N_ORGANS)])
    keys.sort(kind="stable")  # merges what is in order already
    places = keys >> _ORGAN_BITS
    bits = np.left_shift(1, keys & (2**_ORGAN_BITS - 1))
    combinations = np.bitwise_xor.accumulate(bits)[:-1]
    lengths = np.diff(places)
    owners = np.searchsorted(offsets, places[:-1], side="right") - 1
    cells = np.minimum(owners, len(sizes) - 1) * N_COMBINATIONS + combinations
    flat = np.bincount(cells, lengths, len(sizes) * N_COMBINATIONS).astype(np.int64)
    areas = flat.reshape(-1, N_COMBINATIONS)  # (slices, combinations)
    areas[:, 0] = sizes - areas[:, 1:].sum(axis=1)
    return areas


def _border_keys(table: pd.DataFrame, channel: int, offsets: np.ndarray) -> np.ndarray:
    """Borders of one organ's runs on the line, in order: int64, place and organ in one number."""
    columns = (table[name].to_numpy() for name in (ORGANS[channel], "height", "width"))
    borders = [np.empty(0, np.int64)]
    for row, (text, height, width) in enumerate(zip(*columns, strict=True)):
        if not text:
            continue
        try:
            starts, lengths = rle.runs(text, height, width)
        except RleError as error:
            place = f"train.csv, id {table['id'].iloc[row]}, {ORGANS[channel]}"
            raise error.within(place) from None
        both = np.empty(2 * len(starts), np.int64)
        np.add(starts, offsets[row], out=both[::2])
        np.add(both[::2], lengths, out=both[1::2])
        borders.append(both)
    return np.concatenate(borders) << _ORGAN_BITS | channel
