"""Outlines of a mask in one plane, as RTSTRUCT wants them: closed polygons without holes.

contourpy traces the border halfway between pixels inside and outside (marching squares), so that a
polygon holds the centers of exactly the mask's pixels. A hole is joined to its outline by a
"keyhole", a channel of no width, as DICOM PS3.3 C.8.8.6.3 asks for closed planar contours.
"""

from __future__ import annotations

from typing import cast

import numpy as np
from contourpy import FillType, contour_generator

_LEVEL = 0.5


def outlines(mask: np.ndarray) -> list[np.ndarray]:
    """Closed polygons around the parts of a mask.

    Args:
        mask: boolean (height, width).

    Returns:
        one float (points, 2) a part, of (row, column) with pixel centers at whole numbers; the last
        point joins the first and does not repeat it. Empty for an empty mask.

    >>> [len(part) for part in outlines(np.eye(4, dtype=bool)[:2])]
    [4, 4]
    """
    if not mask.any():
        return []
    padded = np.pad(mask.astype(np.float64), 1)
    tracer = contour_generator(z=padded, name="serial", fill_type=FillType.OuterOffset)
    filled = cast(tuple[list[np.ndarray], list[np.ndarray]], tracer.filled(_LEVEL, 2.0))
    parts = []
    for points, ends in zip(*filled, strict=True):
        spans = zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True)
        outer, *holes = (_without_straights(points[a : b - 1, ::-1] - 1) for a, b in spans)
        parts.append(_with_keyholes(outer, holes))
    return parts


def _without_straights(ring: np.ndarray) -> np.ndarray:
    """The ring without points on the straight line between their neighbors."""
    before, after = ring - np.roll(ring, 1, axis=0), np.roll(ring, -1, axis=0) - ring
    cross = before[:, 0] * after[:, 1] - before[:, 1] * after[:, 0]
    kept: np.ndarray = ring[cross != 0]
    return kept


def _with_keyholes(outer: np.ndarray, holes: list[np.ndarray]) -> np.ndarray:
    """The outline with each hole joined by the shortest channel between two of their points."""
    for hole in holes:
        distances = np.linalg.norm(outer[:, None] - hole[None], axis=2)
        at, start = np.unravel_index(int(distances.argmin()), distances.shape)
        around = np.concatenate([hole[start:], hole[: start + 1]])
        outer = np.concatenate([outer[: at + 1], around, outer[at:]])
    return outer
