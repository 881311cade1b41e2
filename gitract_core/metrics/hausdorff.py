"""Exact Hausdorff distance between masks, over all their voxels.

The directed distance from A to B is the largest distance of a voxel of A to its nearest voxel of B.
Voxels of A inside B are at distance 0, and the nearest voxel of B to one outside it always lies on
B's surface (a step towards it along any axis would be nearer), so only A outside B is queried
against a KD-tree of B's surface. Interior voxels of A must stay among the queries: limiting them to
A's surface, as many tools do, is wrong (a ball inside a hollow shell). Of each block of 4x4x4
voxels one is queried; by the triangle inequality most of the others cannot exceed the maximum
found so far and are dropped.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from scipy.spatial import KDTree

from gitract_core.errors import DataError, suggestion
from gitract_core.metrics.overlap import check_shapes

HausdorffNorm = Literal["diagonal", "diagonal_minus_one", "unit_cube"]
NORMS: tuple[HausdorffNorm, ...] = ("diagonal", "diagonal_minus_one", "unit_cube")
_BLOCK = 4


def hausdorff_distance(prediction: np.ndarray, truth: np.ndarray, directed: bool = False) -> float:
    """Hausdorff distance in voxels, the step between slices counted as 1.

    Args:
        prediction: boolean (slices, height, width), or any number of dimensions.
        truth: boolean, of the same shape.
        directed: only from ``prediction`` to ``truth``, in the order of SciPy's
            ``directed_hausdorff``; by default the larger of both directions.

    Returns:
        Voxels; inf if one side is empty, NaN if both are.

    Raises:
        DataError: shapes differ.

    >>> a, b = np.zeros((1, 1, 9), bool), np.zeros((1, 1, 9), bool)
    >>> a[0, 0, 1:8], b[0, 0, 1:3] = True, True
    >>> hausdorff_distance(a, b), hausdorff_distance(b, a, directed=True)
    (5.0, 0.0)
    """
    p, t = check_shapes(prediction, truth)
    return _distance(p, t, np.ones(p.ndim), directed)


def normalized_hausdorff(
    prediction: np.ndarray, truth: np.ndarray, norm: HausdorffNorm = "diagonal"
) -> float:
    """Symmetric Hausdorff distance in 0 to 1, clipped; 1 if one side is empty, NaN if both are.

    Args:
        prediction: boolean (slices, height, width).
        truth: boolean, of the same shape.
        norm: ``diagonal``: voxels over the length of the volume's diagonal;
            ``diagonal_minus_one``: over the diagonal between the centers of its corner voxels;
            ``unit_cube``: coordinates divided by the volume's size, distance by sqrt(3).

    Raises:
        DataError: shapes differ, or an unknown norm.
    """
    p, t = check_shapes(prediction, truth)
    if norm not in NORMS:
        raise DataError("hausdorff norm", "a known norm", repr(norm), suggestion(norm, NORMS))
    shape = np.array(p.shape, dtype=float)
    if norm == "unit_cube":
        distance = _distance(p, t, 1 / shape, directed=False) / math.sqrt(len(shape))
    else:
        sides = shape if norm == "diagonal" else np.maximum(shape - 1, 1e-9)
        distance = _distance(p, t, np.ones(p.ndim), directed=False) / float(np.linalg.norm(sides))
    return distance if math.isnan(distance) else min(distance, 1.0)


def _distance(p: np.ndarray, t: np.ndarray, scale: np.ndarray, directed: bool) -> float:
    some_p, some_t = p.any(), t.any()
    if not some_p or not some_t:
        return float("inf") if some_p or some_t else float("nan")
    box = _union_box(p, t)
    p, t = p[box], t[box]
    forth = _directed(p, t, scale, 0.0)
    return forth if directed else _directed(t, p, scale, forth)


def _union_box(p: np.ndarray, t: np.ndarray) -> tuple[slice, ...]:
    """The smallest box that holds both masks."""
    spans = []
    union = p | t
    for axis in range(union.ndim):
        others = tuple(a for a in range(union.ndim) if a != axis)
        places = np.flatnonzero(union.any(axis=others))
        spans.append(slice(int(places[0]), int(places[-1]) + 1))
    return tuple(spans)


def _directed(source: np.ndarray, target: np.ndarray, scale: np.ndarray, least: float) -> float:
    """The directed distance, or ``least`` if that is larger."""
    outside = np.argwhere(source & ~target)
    if not len(outside):
        return least
    tree = KDTree(np.argwhere(_surface(target)) * scale, balanced_tree=False, compact_nodes=False)
    points = outside * scale
    _, first, block = np.unique(
        _block_numbers(outside, source.shape), return_index=True, return_inverse=True
    )
    of_first, _ = tree.query(points[first])
    largest = max(least, float(of_first.max()))
    at_most = of_first[block] + np.linalg.norm(points - points[first][block], axis=1)
    rest = points[at_most > largest]
    return max(largest, float(tree.query(rest)[0].max())) if len(rest) else largest


def _block_numbers(places: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    blocks = tuple(-(-n // _BLOCK) for n in shape)
    return np.ravel_multi_index(tuple((places // _BLOCK).T), blocks)


def _surface(mask: np.ndarray) -> np.ndarray:
    """Voxels of the mask with a face neighbor outside it; the array's border counts as inside."""
    inner = mask.copy()
    for axis in range(mask.ndim):
        lower = [slice(None)] * mask.ndim
        upper = [slice(None)] * mask.ndim
        lower[axis], upper[axis] = slice(None, -1), slice(1, None)
        inner[tuple(lower)] &= mask[tuple(upper)]
        inner[tuple(upper)] &= mask[tuple(lower)]
    return mask & ~inner
