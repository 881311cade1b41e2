"""Exact Hausdorff distance between masks, over all their voxels, not only their surfaces.

The directed distance from A to B is the largest distance of a voxel of A to its nearest voxel of B;
the symmetric one is the larger of both directions. ``farthest`` tells how it is found.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from gitract_core.errors import DataError, suggestion
from gitract_core.metrics.farthest import Grid, farthest
from gitract_core.metrics.overlap import check_shapes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Volume = NDArray[np.bool_]

HausdorffNorm = Literal["diagonal", "diagonal_minus_one", "unit_cube"]
Span = tuple[slice, slice, slice]
"""A box, by axis."""
NORMS: tuple[HausdorffNorm, ...] = ("diagonal", "diagonal_minus_one", "unit_cube")


def hausdorff_distance(prediction: np.ndarray, truth: np.ndarray, directed: bool = False) -> float:
    """Hausdorff distance in voxels, the step between slices counted as 1.

    Args:
        prediction: boolean (slices, height, width); one or two dimensions serve as well.
        truth: boolean, of the same shape.
        directed: only from the first argument to the second, in the order of SciPy's
            ``directed_hausdorff``: how far the prediction strays from the truth. Swap the arguments
            for how far the truth is missed. By default the larger of both directions.

    Returns:
        Voxels; inf if one side is empty, NaN if both are.

    Raises:
        DataError: shapes differ, or more than three dimensions.

    >>> a, b = np.zeros((1, 1, 9), bool), np.zeros((1, 1, 9), bool)
    >>> a[0, 0, 1:8], b[0, 0, 1:3] = True, True
    >>> hausdorff_distance(a, b), hausdorff_distance(b, a, directed=True)
    (5.0, 0.0)
    """
    p, t = _volumes(prediction, truth)
    return _distance(Boxed.of(p), Boxed.of(t), (1.0, 1.0, 1.0), directed)


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
        DataError: shapes differ, more than three dimensions, or an unknown norm.

    >>> a = np.zeros((1, 3, 4), bool)
    >>> a[0, 0, 0] = True
    >>> normalized_hausdorff(a, a[:, ::-1, ::-1], "diagonal_minus_one")
    1.0
    """
    p, t = _volumes(prediction, truth)
    if norm not in NORMS:
        raise DataError("hausdorff norm", "a known norm", repr(norm), suggestion(norm, NORMS))
    return normalized_distance(Boxed.of(p), Boxed.of(t), norm)


def normalized_distance(p: Boxed, t: Boxed, norm: HausdorffNorm = "diagonal") -> float:
    """As ``normalized_hausdorff``, of masks of one shape that were cut to their boxes before."""
    depth, height, width = p.shape
    if norm == "unit_cube":
        distance = _distance(p, t, (1 / depth, 1 / height, 1 / width)) / math.sqrt(3)
    else:
        less = int(norm == "diagonal_minus_one")
        diagonal = math.hypot(depth - less, height - less, width - less)
        distance = _distance(p, t, (1.0, 1.0, 1.0)) / max(diagonal, 1.0)  # one voxel has none
    return distance if math.isnan(distance) else min(distance, 1.0)


@dataclass(frozen=True, slots=True)
class Boxed:
    """A volume cut to the box that holds everything.

    Attributes:
        shape: of the volume.
        span: the box, by axis; None for an empty mask.
        held: boolean, what is in the box.
    """

    shape: tuple[int, int, int]
    span: Span | None
    held: Volume

    @classmethod
    def of(cls, mask: Volume) -> Boxed:
        """Of a boolean (slices, height, width); shares its memory."""
        depth, height, width = mask.shape
        span = _span(mask)
        return cls((depth, height, width), span, mask[span] if span else mask[:0])


def _volumes(prediction: np.ndarray, truth: np.ndarray) -> tuple[Volume, Volume]:
    p, t = check_shapes(prediction, truth)
    if p.ndim > 3:
        raise DataError("prediction", "(slices, height, width)", p.shape, "pass one volume")
    shape = (1,) * (3 - p.ndim) + p.shape
    return p.reshape(shape), t.reshape(shape)


def _distance(
    prediction: Boxed, truth: Boxed, spacing: tuple[float, float, float], directed: bool = False
) -> float:
    """The distance in units of ``spacing``, the size of a voxel along the axes."""
    of_p, of_t = prediction.span, truth.span
    if of_p is None or of_t is None:
        return math.nan if of_p is of_t else math.inf
    first = [min(a.start, b.start) for a, b in zip(of_p, of_t, strict=True)]
    shape = [max(a.stop, b.stop) - f for a, b, f in zip(of_p, of_t, first, strict=True)]
    grid = Grid.of(math.prod(shape), np.array(spacing))
    p, t = (
        grid.cut(mask.held, shape, [axis.start - f for axis, f in zip(span, first, strict=True)])
        for mask, span in ((prediction, of_p), (truth, of_t))
    )
    forth, back = _protrusion(of_p, of_t, spacing), _protrusion(of_t, of_p, spacing)
    if directed:
        return farthest(p, t, grid, forth)
    if back > forth:  # likely the larger way, and a large floor makes the other way cheap
        p, t = t, p
    return farthest(t, p, grid, farthest(p, t, grid, max(forth, back)))


def _protrusion(box: Span, other: Span, spacing: tuple[float, float, float]) -> float:
    """How far a mask's box reaches beyond the other's along an axis.

    Each face of a box holds a voxel of its mask, so the directed distance is not smaller.
    """
    axes = zip(box, other, spacing, strict=True)
    return float(max(max(b.start - a.start, a.stop - b.stop, 0) * side for a, b, side in axes))


def _span(mask: Volume) -> Span | None:
    """The box that holds everything, by axis; None for an empty mask."""
    if not mask.size:
        return None
    slices = np.flatnonzero(mask.reshape(len(mask), -1).any(axis=1))
    if not slices.size:
        return None
    seen: Volume = np.logical_or.reduce(mask[slices[0] : slices[-1] + 1])  # (height, width)
    rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
    z, y, x = (slice(int(a[0]), int(a[-1]) + 1) for a in (slices, rows, columns))
    return z, y, x
