"""The surface of a mask: its elements, with places and areas.

An element lies where eight voxels meet that are not all inside or all outside. Its area is that of
the triangles of marching cubes there. Table and definition are those of surface-distance (DeepMind,
Apache License 2.0, https://github.com/google-deepmind/surface-distance; Nikolov and others 2021,
doi 10.2196/26151), so that values agree with it.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from gitract_core.metrics.hausdorff import Boxed

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

SpacingMm = tuple[float, float, float]
"""Distance of neighbors along slices, rows (y) and columns (x)."""

_NORMALS = (
    "111 111 220+220 111 202+202 111+111 400+222+111 111 111+111 202+202 400+222+111 220+220 "
    "400+222+111 400+222+111 400+400 111 022+022 111+111 040+222+111 111+111 004+222+111 "
    "111+111+111 111+222+222+111 111+111 022+022+111 202+202+111 111+333+022+202 111+220+220 "
    "333+022+111+220 400+111+222+111 400+111+222 111 111+111 022+022 040+111+222 111+111 "
    "111+202+202 022+022+111 333+022+111+202 111+111 111+111+111 004+222+111 222+222+111+111 "
    "111+220+220 400+222+111+111 022+333+111+220 400+222+111 220+220 040+222+111 040+111+222 "
    "040+040 220+220+111 333+202+111+220 111+040+222+111 040+222+111 111+220+220 "
    "040+222+111+111 333+220+111+202 040+222+111 220+220+220+220 220+220+111 111+220+220 "
    "220+220 111 111+111 111+111 111+220+220 022+022 004+222+111 022+022+111 333+022+111+220 "
    "111+111 111+111+111 111+202+202 400+222+111+111 040+222+111 222+222+111+111 "
    "202+333+022+111 400+222+111 202+202 004+222+111 111+202+202 202+333+220+111 004+222+111 "
    "004+004 111+111+222+004 111+222+004 202+202+111 004+222+111+111 202+202+202+202 "
    "111+202+202 202+333+220+111 004+222+111 111+202+202 202+202 111+111 111+111+111 "
    "111+022+022 040+111+222+111 022+022+111 004+222+111+111 022+022+022+022 022+022+111 "
    "111+111+111 111+111+111+111 004+222+111+111 111+111+111 040+222+111+111 111+111+111 "
    "022+022+111 111+111 400+222+111 222+111+222+111 333+022+111+202 040+222+111 "
    "333+220+022+111 111+222+004 111+022+022 022+022 400+222+111+111 111+111+111 202+202+111 "
    "111+111 220+220+111 111+111 111+111 111 "
)
"""Normals of the triangles by code, from 1 to 127; 255 less a code has those of the code.

A normal is the size of its components along slices, rows and columns, in eighths: its length is the
triangle's area between voxels of size 1.
"""


@dataclass(frozen=True, eq=False)
class Surface:
    """The elements of a mask's surface.

    Attributes:
        places: of the corners where eight voxels meet, in voxels, int (elements, 3).
        areas_mm2: float (elements,), above 0.
    """

    places: NDArray[np.int64]
    areas_mm2: Floats

    @classmethod
    def of(cls, mask: NDArray[np.bool_], spacing_mm: SpacingMm) -> Surface:
        """Of a boolean (slices, height, width); without elements for an empty one."""
        box = Boxed.of(mask)
        if box.span is None:
            return cls(np.empty((0, 3), np.int64), np.empty(0))
        codes = _codes(box.held)
        found = np.flatnonzero((codes > 0) & (codes < 255))
        places = np.stack(np.unravel_index(found, codes.shape), axis=1)
        start = np.array([axis.start for axis in box.span])
        return cls(places + start, _areas_mm2(spacing_mm)[codes.ravel()[found]])


def _codes(held: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Of each corner which of its eight voxels are inside, a bit a voxel."""
    volume = np.pad(held, 1).view(np.uint8)
    size = [n - 1 for n in volume.shape]
    codes = np.zeros(size, np.uint8)
    for bit, steps in enumerate(itertools.product((1, 0), repeat=3)):
        part = volume[tuple(slice(s, s + n) for s, n in zip(steps, size, strict=True))]
        codes |= part << bit
    return codes


@lru_cache(maxsize=64)
def _areas_mm2(spacing_mm: SpacingMm) -> Floats:
    """Area of an element by its code, (256,)."""
    z, y, x = spacing_mm
    sides = np.array([y * x, z * x, z * y]) / 8
    areas = np.zeros(256)
    for code, normals in enumerate(_NORMALS.split(), 1):
        sizes = np.array([[int(digit) for digit in one] for one in normals.split("+")])
        areas[code] = areas[255 - code] = np.linalg.norm(sizes * sides, axis=1).sum()
    areas.setflags(write=False)
    return areas
