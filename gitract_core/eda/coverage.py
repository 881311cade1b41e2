"""Pixels of each organ and of overlaps in each slice, from run-length texts; no mask is decoded.

All slices lie end to end on one line of pixels. Each run has two borders on it, at which its organ
begins or ends; between neighboring borders the set of organs does not change. So the borders of all
runs of all organs, in order, with the running exclusive-or of their organs' bits, give the organs
of every stretch of the line. An organ's area is the length of its runs; stretches of two or more
organs are the overlaps.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from gitract_core.data import rle
from gitract_core.errors import RleError
from gitract_core.organs import Organs

if TYPE_CHECKING:
    import pandas as pd

    from gitract_core.eda.annotations import Annotations

_SLICES_A_PASS = 8192  # bounds memory: about 100 MB
_BITS_A_WORD = 62


@dataclass(frozen=True, eq=False)
class Coverage:
    """Areas of organs, and the stretches of pixels that several organs share.

    Attributes:
        organs: of the data set.
        areas_px: of each organ in each slice, int64 (slices, organs).
        sets: the organs of each combination that overlaps, boolean (combinations, organs).
        slices: the slice of each stretch, int64 (stretches,).
        combinations: the row of ``sets`` of each stretch, int64 (stretches,).
        lengths_px: pixels of each stretch, int64 (stretches,).
    """

    organs: Organs
    areas_px: np.ndarray
    sets: np.ndarray
    slices: np.ndarray
    combinations: np.ndarray
    lengths_px: np.ndarray

    @classmethod
    def of(cls, annotations: Annotations) -> Coverage:
        """Areas and overlaps of all slices.

        Raises:
            RleError: a text is not a mask of the slice's size; names the slice and class.
        """
        organs, table = annotations.organs, annotations.table
        starts = range(0, len(table), _SLICES_A_PASS)
        parts = [_pass(table.iloc[first : first + _SLICES_A_PASS], organs) for first in starts]
        areas, slices, words, lengths = (
            np.concatenate(arrays) for arrays in zip(*parts, strict=True)
        )
        firsts = np.repeat(list(starts), [len(part[1]) for part in parts])
        kinds, combinations = _different(words)
        sets = np.zeros((len(kinds), len(organs)), bool)
        for place in range(len(organs)):
            word, bit = divmod(place, _BITS_A_WORD)
            sets[:, place] = kinds[:, word] >> bit & 1
        return cls(organs, areas, sets, slices + firsts, combinations, lengths)

    @property
    def present(self) -> np.ndarray:
        """Which organs a slice holds, boolean (slices, organs)."""
        present: np.ndarray = np.greater(self.areas_px, 0)
        return present

    def shared_px(self, organs: Iterable[str]) -> np.ndarray:
        """Pixels that belong to all of some organs, and maybe to others, int64 (slices,).

        For one organ that is its area, for several it is their overlap.
        """
        places = [self.organs.place(organ) for organ in organs]
        if len(places) == 1:
            area: np.ndarray = self.areas_px[:, places[0]]
            return area
        hold_all = np.logical_and.reduce(self.sets[:, places], axis=1)
        if not hold_all.any():
            return np.zeros(len(self.areas_px), np.int64)
        chosen = hold_all[self.combinations]
        lengths, n_slices = self.lengths_px[chosen], len(self.areas_px)
        return np.bincount(self.slices[chosen], lengths, n_slices).astype(np.int64)


def _different(words: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The distinct rows of (stretches, words), and for each stretch the number of its row."""
    if words.shape[1] == 1:  # much faster than by rows
        kinds, numbers = np.unique(words[:, 0], return_inverse=True)
        return kinds[:, None], numbers.reshape(-1)
    kinds, numbers = np.unique(words, axis=0, return_inverse=True)
    return kinds, numbers.reshape(-1)


def _pass(
    table: pd.DataFrame, organs: Organs
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Of some of the slices: areas (slices, organs); slice, organs' bits and length of overlaps."""
    sizes = table["height"].to_numpy(np.int64) * table["width"].to_numpy(np.int64)
    offsets = np.concatenate([[0], sizes.cumsum()])  # of each slice on the line, pixels
    organ_bits = max(1, (len(organs) - 1).bit_length())  # of a border's key: the organ's place
    areas = np.zeros((len(table), len(organs)), np.int64)
    keys = [
        _borders(table, organ, offsets, areas[:, place]) << organ_bits | place
        for place, organ in enumerate(organs)
    ]
    borders = np.concatenate(keys)
    borders.sort(kind="stable")  # merges what is in order already
    places, channels = borders >> organ_bits, borders & (2**organ_bits - 1)
    words, several = _organs_of_stretches(channels, len(organs))
    lengths = np.diff(places)
    overlap = np.flatnonzero(several[:-1] & (lengths > 0))
    owners = np.searchsorted(offsets, places[overlap], side="right") - 1
    return areas, owners, words[overlap], lengths[overlap]


def _organs_of_stretches(channels: np.ndarray, n_organs: int) -> tuple[np.ndarray, np.ndarray]:
    """After each border: bits of the organs, int64 (borders, words); whether two or more."""
    n_words = -(-n_organs // _BITS_A_WORD)
    words = np.empty((len(channels), n_words), np.int64)
    filled = np.zeros(len(channels), np.int64)
    for word in range(n_words):
        mine = channels // _BITS_A_WORD == word
        bits = np.where(mine, np.left_shift(1, channels % _BITS_A_WORD), 0)
        one = np.bitwise_xor.accumulate(bits)
        words[:, word] = one
        filled += (one != 0).astype(np.int64) + ((one & (one - 1)) != 0)
    return words, filled >= 2


def _borders(table: pd.DataFrame, organ: str, offsets: np.ndarray, areas: np.ndarray) -> np.ndarray:
    """Borders of one organ's runs on the line, in order, int64; fills the organ's ``areas``."""
    columns = (table[name].to_numpy() for name in (organ, "height", "width"))
    borders = [np.empty(0, np.int64)]
    for row, (text, height, width) in enumerate(zip(*columns, strict=True)):
        if not text:
            continue
        try:
            starts, lengths = rle.runs(text, height, width)
        except RleError as error:
            raise error.within(f"train.csv, id {table['id'].iloc[row]}, {organ}") from None
        both = np.empty(2 * len(starts), np.int64)
        np.add(starts, offsets[row], out=both[::2])
        np.add(both[::2], lengths, out=both[1::2])
        borders.append(both)
        areas[row] = lengths.sum()
    return np.concatenate(borders)
