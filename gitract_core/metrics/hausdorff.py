"""Exact Hausdorff distance between masks, over all their voxels.

The directed distance from A to B is the largest distance of a voxel of A to its nearest voxel of B.
Voxels of A inside B are at distance 0, and the nearest voxel of B to one outside it always lies on
B's surface (a step towards it along any axis would be nearer): A outside B is searched against B's
surface. Interior voxels of A must stay in: limiting the search to A's surface, as many tools do, is
wrong (a ball inside a hollow shell).

The search never makes a distance map at full resolution. Volumes are cut into *cells* of 4 or 8
voxels a side, and a distance map between cells bounds the distance of every voxel. The most
promising cell is measured exactly; its distance is a floor, and whatever is bounded by the floor is
dropped: by cells, by boxes around B, and by the triangle inequality within a cell. The few voxels
left meet a KD-tree of those surface voxels of B that can be nearest to them. The work is bounded by
the volume, not by the number of pairs, so noise all over a prediction does no harm. The second
direction starts from the floor of the first.

*Spacing* is the size of a voxel along the axes: 1 for distances in voxels, 1 / shape for the unit
cube. Inside this module volumes have a margin of one empty voxel on all sides, so that neighbors
can be reached by steps in flat memory.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.ndimage import distance_transform_edt
from scipy.spatial import KDTree
from scipy.spatial.distance import cdist

from gitract_core.errors import DataError, suggestion
from gitract_core.metrics.overlap import check_shapes

HausdorffNorm = Literal["diagonal", "diagonal_minus_one", "unit_cube"]
NORMS: tuple[HausdorffNorm, ...] = ("diagonal", "diagonal_minus_one", "unit_cube")

_SMALL_CELL, _LARGE_CELL = 4, 8
_LARGE_VOLUME_VOXELS = 3_000_000  # above, the map between small cells would cost more than it saves
_MANY_CELLS = 64  # above, another look at boxes pays
_MOST_PAIRS = 2_000_000  # of cells whose distances are held at once: 16 MB
_ROUNDING = 1e-9


def hausdorff_distance(prediction: np.ndarray, truth: np.ndarray, directed: bool = False) -> float:
    """Hausdorff distance in voxels, the step between slices counted as 1.

    Args:
        prediction: boolean (slices, height, width); one or two dimensions serve as well.
        truth: boolean, of the same shape.
        directed: only from the first argument to the second, in the order of SciPy's
            ``directed_hausdorff``: how far the prediction strays from the truth. Swap the arguments
            for what the prediction misses. By default the larger of both directions.

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
    return _distance(p, t, np.ones(3), directed)


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
    p, t = _volumes(prediction, truth)
    if norm not in NORMS:
        raise DataError("hausdorff norm", "a known norm", repr(norm), suggestion(norm, NORMS))
    shape = np.array(p.shape, dtype=float)
    if norm == "unit_cube":
        distance = _distance(p, t, 1 / shape) / math.sqrt(3)
    else:
        sides = shape if norm == "diagonal" else shape - 1
        length = float(np.linalg.norm(sides))
        distance = _distance(p, t, np.ones(3)) / max(length, 1.0)  # one voxel has no diagonal
    return distance if math.isnan(distance) else min(distance, 1.0)


def _volumes(prediction: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    p, t = check_shapes(prediction, truth)
    if p.ndim > 3:
        raise DataError("prediction", "(slices, height, width)", p.shape, "pass one volume")
    shape = (1,) * (3 - p.ndim) + p.shape
    return p.reshape(shape), t.reshape(shape)


def _distance(p: np.ndarray, t: np.ndarray, spacing: np.ndarray, directed: bool = False) -> float:
    spans = [span for span in (_span(p), _span(t)) if span is not None]
    if len(spans) < 2:
        return math.inf if spans else math.nan
    low = np.minimum(spans[0][0], spans[1][0])
    high = np.maximum(spans[0][1], spans[1][1])
    side = _SMALL_CELL if np.prod(high - low) < _LARGE_VOLUME_VOXELS else _LARGE_CELL
    grid = _Grid(side, spacing)
    p, t = grid.cut(p, low, high), grid.cut(t, low, high)
    if directed:
        return _directed(p, t, grid, 0.0)
    if np.count_nonzero(t) > np.count_nonzero(p):  # more of t is outside p: likely the larger way
        p, t = t, p
    return _directed(t, p, grid, _directed(p, t, grid, 0.0))


def _span(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """First place and the place after the last that hold something, by axis; None if empty."""
    slices = np.flatnonzero(mask.reshape(len(mask), -1).any(axis=1))
    if not slices.size:
        return None
    seen = mask[slices[0] : slices[-1] + 1].any(axis=0)  # (height, width)
    places = (slices, np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0)))
    return np.array([a[0] for a in places]), np.array([a[-1] + 1 for a in places])


@dataclass(frozen=True)
class _Grid:
    """Cells of ``side`` voxels an edge, 4 or 8; ``spacing`` is a voxel's size, float (3,)."""

    side: int
    spacing: np.ndarray

    @property
    def step(self) -> float:
        """Distance of diagonal neighbors."""
        return float(np.linalg.norm(self.spacing))

    @property
    def slack(self) -> float:
        """How much further apart or nearer than their cells two voxels can be."""
        return (self.side - 1) * self.step

    def cut(self, mask: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        """A box of a mask, with margins, a whole number of cells along each axis."""
        size = high - low
        volume = np.zeros([-(-(n + 2) // self.side) * self.side for n in size], dtype=bool)
        inner = tuple(slice(1, n + 1) for n in size)
        volume[inner] = mask[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
        return volume

    def words(self, volume: np.ndarray) -> np.ndarray:
        """Rows of ``side`` voxels as one unsigned integer each; shares memory."""
        return volume.view(np.uint32 if self.side == _SMALL_CELL else np.uint64)

    def cells(self, volume: np.ndarray) -> np.ndarray:
        """Which cells hold anything: boolean (cells z, cells y, cells x)."""
        rows = self.words(volume) != 0
        depth, height, width = rows.shape
        layers = rows.reshape(depth // self.side, self.side, height * width).any(axis=1)
        return layers.reshape(len(layers), height // self.side, self.side, width).any(axis=2)

    def voxels(self, volume: np.ndarray, cells: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Coordinates of True voxels in cells, float (n, 3), and each one's number of cell."""
        side = self.side
        split = volume.reshape([part for n in volume.shape for part in (n // side, side)])
        blocks = split[cells[:, 0], :, cells[:, 1], :, cells[:, 2], :]  # (cells, side, side, side)
        number, inside = np.divmod(np.flatnonzero(blocks), side**3)
        places = cells[number] * side + np.stack(np.unravel_index(inside, (side,) * 3), axis=1)
        return places * self.spacing, number


def _directed(source: np.ndarray, target: np.ndarray, grid: _Grid, floor: float) -> float:
    """The directed distance, or ``floor`` if that is larger."""
    outside = source > target
    if not outside.any():
        return floor
    next_best = 2 * float(grid.spacing.min())  # the least distance of voxels that do not touch
    if floor < grid.step <= next_best:
        far = outside > _with_neighbors(target)
        if not far.any():
            return max(floor, _touching_distance(outside, target, grid.spacing))
        outside, floor = far, max(floor, next_best)
    outside = _beyond(outside, target, grid, floor)
    return _search(outside, target, grid, floor) if outside.any() else floor


def _search(outside: np.ndarray, target: np.ndarray, grid: _Grid, floor: float) -> float:
    """The largest distance of ``outside`` (not empty) to ``target``, or the floor."""
    surface = _surface(target)
    where = grid.cells(surface)
    mine = grid.cells(outside)
    cells = np.argwhere(mine)
    nearest = distance_transform_edt(
        ~where, sampling=grid.spacing, return_distances=False, return_indices=True
    )
    apart = np.abs(nearest[:, mine].T - cells)
    at_most = np.linalg.norm((apart * grid.side + grid.side - 1) * grid.spacing, axis=1)
    meeting = _Meeting(surface, np.argwhere(where), grid)
    best = np.array([at_most.argmax()])
    floor = meeting.measure(outside, cells[best], at_most[best], floor)
    keep = at_most > floor
    keep[best] = False
    if np.count_nonzero(keep) > _MANY_CELLS:
        outside = _beyond(outside, target, grid, floor)
        keep &= grid.cells(outside)[mine]
    return meeting.measure(outside, cells[keep], at_most[keep], floor) if keep.any() else floor


@dataclass(frozen=True)
class _Meeting:
    """What distances are measured to: the target's surface, boolean, and its cells, int (n, 3)."""

    surface: np.ndarray
    cells: np.ndarray
    grid: _Grid

    def measure(
        self, outside: np.ndarray, cells: np.ndarray, at_most: np.ndarray, floor: float
    ) -> float:
        """The largest distance of ``outside`` within ``cells``, or the floor; exact."""
        points, number = self.grid.voxels(outside, cells)
        tree = KDTree(self._reachable(cells, at_most), balanced_tree=False, compact_nodes=False)
        first = np.flatnonzero(np.diff(number, prepend=-1))  # one voxel of each cell
        of_first, _ = tree.query(points[first])
        floor = max(floor, float(of_first.max()))
        bound = of_first[number] + np.linalg.norm(points - points[first][number], axis=1)
        rest = points[bound > floor - _ROUNDING]
        return max(floor, float(tree.query(rest)[0].max())) if len(rest) else floor

    def _reachable(self, cells: np.ndarray, at_most: np.ndarray) -> np.ndarray:
        """Surface voxels, float (n, 3), in cells that may hold the nearest to some given cell."""
        mine = self.cells
        if len(cells) * len(mine) <= _MOST_PAIRS:
            edge = self.grid.side * self.grid.spacing
            within = (at_most + self.grid.slack) * (1 + _ROUNDING)
            mine = mine[(cdist(cells * edge, mine * edge) <= within[:, None]).any(axis=0)]
        return self.grid.voxels(self.surface, mine)[0]


def _beyond(outside: np.ndarray, target: np.ndarray, grid: _Grid, floor: float) -> np.ndarray:
    """Voxels of ``outside`` less those in boxes around ``target`` that the floor reaches across."""
    reach = floor * (1 - _ROUNDING)
    words = (reach / math.sqrt(3) / grid.spacing[2] + 1) // grid.side - 1
    words = int(min(max(words, 0),1))
    x = (words * grid.side + grid.side - 1) * grid.spacing[2]
    if x > reach:
        return outside > _with_neighbors(target) if grid.step <= reach else outside
    side = math.sqrt((reach**2 - x**2) / 2)
    near = grid.words(target) != 0
    for axis, steps in enumerate((int(side / grid.spacing[0]), int(side / grid.spacing[1]), words)):
        near = _spread(near, steps, axis)
    return (grid.words(outside) * ~near).view(bool)


def _spread(mask: np.ndarray, reach: int, axis: int) -> np.ndarray:
    """True within ``reach`` places of a True along an axis; the reach triples with each round."""
    unit = math.prod(mask.shape[axis + 1 :])
    wide = mask.reshape(math.prod(mask.shape[:axis]), -1)  # long rows, which keep to themselves
    done = 0
    while done < reach:
        step = min(2 * done + 1, reach - done)
        wide, done = _widened(wide, step * unit), done + step
    return wide.reshape(mask.shape)


def _widened(rows: np.ndarray, step: int) -> np.ndarray:
    """The rows and their copies moved by ``step`` places to both sides."""
    wide = rows.copy()
    wide[:, step:] |= rows[:, :-step]
    wide[:, :-step] |= rows[:, step:]
    return wide


def _flat_steps(volume: np.ndarray) -> tuple[int, int, int]:
    """Places in flat memory between neighbors along z, y and x."""
    return volume.shape[1] * volume.shape[2], volume.shape[2], 1


def _with_neighbors(volume: np.ndarray) -> np.ndarray:
    """The volume and all voxels that touch it, diagonally too."""
    row = volume.reshape(1, -1)
    for step in _flat_steps(volume):
        row = _widened(row, step)
    return row.reshape(volume.shape)


def _surface(volume: np.ndarray) -> np.ndarray:
    """Voxels with a face neighbor that is not of the volume."""
    flat, margin = volume.ravel(), _flat_steps(volume)[0]
    inner = flat[margin:-margin].copy()
    for step in _flat_steps(volume):
        inner &= flat[margin - step : -margin - step]
        inner &= flat[margin + step : flat.size - margin + step]
    surface = volume.copy()
    surface.ravel()[margin:-margin] ^= inner
    return surface


def _touching_distance(outside: np.ndarray, target: np.ndarray, spacing: np.ndarray) -> float:
    """The largest distance of ``outside``, every voxel of which touches ``target``."""
    ways = [way for way in itertools.product((-1, 0, 1), repeat=3) if way > (0, 0, 0)]
    length = {way: float(np.linalg.norm(way * spacing)) for way in ways}
    flat, left = target.ravel(), np.flatnonzero(outside)
    for way in sorted(ways, key=length.__getitem__):
        step = int(np.dot(way, _flat_steps(target)))
        left = left[~(flat[left + step] | flat[left - step])]
        if not left.size:
            return length[way]
    raise AssertionError("a voxel does not touch the target")
