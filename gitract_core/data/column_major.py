"""Masks that were written column by column: noticed as a whole, by how they fall apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from scipy import ndimage

from gitract_core.data import rle
from gitract_core.errors import RleError

_MASKS_LOOKED_AT = 200
_SCATTERED = 10  # components; fewer prove nothing
_TIMES_MORE_SCATTERED = 3  # real masks read the wrong way have 8 times their components
_TOUCHING = np.ones((3, 3), np.bool_)
SizedText: TypeAlias = tuple[str, tuple[int, int]]  # run-length text, (height, width)


def column_major_words(masks: Sequence[SizedText]) -> str:
    """Why masks look as if they were written column by column; empty if they do not.

    A square mask read the wrong way is whole, only transposed: it cannot tell.

    Args:
        masks: run-length text with the height and width of its image; empty texts and unsound ones
            are left out.
    """
    oblong = [(text, size) for text, size in masks if text and size[0] != size[1]]
    by_rows, by_columns = _components(oblong[:: -(-len(oblong) // _MASKS_LOOKED_AT) or 1])
    if by_rows >= _SCATTERED and by_rows > _TIMES_MORE_SCATTERED * by_columns:
        found = f"{by_rows} components read by rows, {by_columns} read by columns"
        return f"looks column-major: {found}; write masks row by row"
    return ""


def _components(masks: Sequence[SizedText]) -> tuple[int, int]:
    """8-connected components of all sound masks together, read by rows and by columns."""
    by_rows = by_columns = 0
    for text, (height, width) in masks:
        try:
            rows, columns = rle.decode(text, height, width), rle.decode(text, width, height)
        except RleError:
            continue
        by_rows += ndimage.label(rows, _TOUCHING)[1]
        by_columns += ndimage.label(columns, _TOUCHING)[1]
    return by_rows, by_columns
