"""The voxel of one mask that is farthest from another mask, found without a full distance map.

Voxels of A inside B are at distance 0, and the nearest voxel of B to one outside it always lies on
B's surface (a step towards it along any axis would be nearer): A outside B is searched against B's
surface. Interior voxels of A must stay in: limiting the search to A's surface, as many tools do, is
wrong (a ball inside a hollow shell).

Volumes are cut into *cells* of 4 or 8 voxels a side, and a distance map between cells bounds the
distance of every voxel. The most promising cell is measured exactly; its distance is a floor, and
whatever is bounded by the floor is dropped. Of each cell left, one voxel is measured against those
surface voxels of B that can be nearest; the distance of its neighbors to the same voxel of B bounds
theirs, and the few above the floor are measured too. The map depends on the volume and not on the
number of voxels set, so noise all over a prediction does no harm.

*Spacing* is the size of a voxel along the axes. Volumes here are boolean, come from ``Grid.cut``
and so have a margin of one empty voxel on all sides: neighbors are steps in flat memory.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.ndimage import distance_transform_edt
from scipy.spatial import KDTree
from scipy.spatial.distance import cdist

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Volume = NDArray[np.bool_]
    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]

__all__ = ["Grid", "farthest"]

_SMALL_CELL, _LARGE_CELL = 4, 8
_LARGE_VOLUME_VOXELS = 1_000_000  # above, a map between small cells costs more than it saves
_MOST_PAIRS = 1_000_000  # whose distances are held at once: 8 MB
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Grid:
    """Cells of a volume.

    Attributes:
        side: voxels along an edge, 4 or 8.
        spacing: a voxel's size along z, y and x, float (3,).
    """

    side: int
    spacing: Floats

    @classmethod
    def of(cls, n_voxels: int, spacing: Floats) -> Grid:
        """The cells that suit a volume of so many voxels."""
        return cls(_SMALL_CELL if n_voxels < _LARGE_VOLUME_VOXELS else _LARGE_CELL, spacing)

    @cached_property
    def step(self) -> float:
        """Distance of diagonal neighbors."""
        return float(np.linalg.norm(self.spacing))

    @cached_property
    def slack(self) -> float:
        """How much further apart or nearer than their cells two voxels can be."""
        return (self.side - 1) * self.step

    def cut(
        self, mask: Volume, shape: Sequence[int] | None = None, start: Sequence[int] = (0, 0, 0)
    ) -> Volume:
        """A copy with margins, a whole number of cells along each axis.

        Args:
            mask: what is copied.
            shape: of the whole without margins; the mask's own by default.
            start: where in it the mask begins.
        """
        whole = mask.shape if shape is None else shape
        volume = np.zeros([-(-(n + 2) // self.side) * self.side for n in whole], np.bool_)
        places = zip(start, mask.shape, strict=True)
        volume[tuple(slice(first + 1, first + n + 1) for first, n in places)] = mask
        return volume

    def words(self, volume: Volume) -> NDArray[Any]:
        """Rows of ``side`` voxels as one unsigned integer each; shares memory."""
        return volume.view(np.uint32 if self.side == _SMALL_CELL else np.uint64)

    def cells(self, volume: Volume) -> Volume:
        """Which cells hold anything: boolean (cells z, cells y, cells x)."""
        rows: Volume = self.words(volume) != 0  # (z, y, cells x)
        for axis in (0, 1):
            size = rows.shape
            split = (*size[:axis], size[axis] // self.side, self.side, *size[axis + 1 :])
            rows = np.logical_or.reduce(rows.reshape(split), axis=axis + 1)
        return rows

    def voxels(self, volume: Volume, cells: Integers) -> tuple[Floats, Integers]:
        """Coordinates of True voxels in cells, float (n, 3), and each one's number of cell."""
        side = self.side
        split = volume.reshape([part for n in volume.shape for part in (n // side, side)])
        blocks = split[cells[:, 0], :, cells[:, 1], :, cells[:, 2], :]  # (cells, side, side, side)
        number, inside = np.divmod(np.flatnonzero(blocks), side**3)
        places = cells[number] * side + np.stack(np.unravel_index(inside, (side,) * 3), axis=1)
        return places * self.spacing, number


def farthest(source: Volume, target: Volume, grid: Grid, floor: float = 0.0) -> float:
    """The directed distance from ``source`` to ``target``, or ``floor`` if that is larger.

    Args:
        source: boolean (z, y, x), of ``grid.cut``.
        target: boolean, of the same shape, not empty.
        grid: gives the spacing, whose unit is that of the distance.
        floor: distances up to this are of no interest; the larger, the faster.
    """
    if floor > grid.slack * (1 + _ROUNDING):  # drops cells that hold any target: none lies inside
        return _search(source, target, grid, floor)
    outside = source > target
    if not outside.any():
        return floor
    next_best = 2 * float(grid.spacing.min())  # the least distance of voxels that do not touch
    if grid.step <= next_best:
        far = outside > _with_neighbors(target)
        if not far.any():
            least = 0.0 if floor >= grid.step else _touching_distance(outside, target, grid.spacing)
            return max(floor, least)
        outside, floor = far, max(floor, next_best)
    return _search(outside, target, grid, floor)


def _search(outside: Volume, target: Volume, grid: Grid, floor: float) -> float:
    """The largest distance of ``outside`` (not empty) to ``target``, or the floor.

    Voxels of ``outside`` may lie in the target only if the floor exceeds ``grid.slack``.
    """
    mine = grid.cells(outside)
    cells = np.argwhere(mine)
    nearest = distance_transform_edt(
        ~grid.cells(target), sampling=grid.spacing, return_distances=False, return_indices=True
    )
    apart = np.abs(nearest[:, mine].T - cells)
    at_most = np.linalg.norm((apart * grid.side + grid.side - 1) * grid.spacing, axis=1)
    best = np.array([at_most.argmax()])
    if at_most[best] <= floor:
        return floor
    surface = _surface(target)
    meeting = _Meeting(surface, np.argwhere(grid.cells(surface)), grid)
    floor = meeting.measure(outside, cells[best], at_most[best], floor)
    keep = at_most > floor
    keep[best] = False
    return meeting.measure(outside, cells[keep], at_most[keep], floor) if keep.any() else floor


@dataclass(frozen=True)
class _Meeting:
    """What distances are measured to: the target's surface, boolean, and its cells, int (n, 3)."""

    surface: Volume
    cells: Integers
    grid: Grid

    def measure(self, outside: Volume, cells: Integers, at_most: Floats, floor: float) -> float:
        """The largest distance of ``outside`` within ``cells``, or the floor; exact."""
        points, number = self.grid.voxels(outside, cells)
        targets = _Targets(self._reachable(cells, at_most))
        first = np.flatnonzero(np.diff(number, prepend=-1))  # one voxel of each cell
        nearest = targets.nearest(points[first])
        bound = np.linalg.norm(points - nearest[number], axis=1)  # exact for the first ones
        floor = max(floor, float(bound[first].max()))
        rest = points[bound > floor]
        apart = np.linalg.norm(rest - targets.nearest(rest), axis=1)
        return max(floor, float(apart.max(initial=0.0)))

    def _reachable(self, cells: Integers, at_most: Floats) -> Floats:
        """Surface voxels, float (n, 3), in cells that may hold the nearest to some given cell."""
        mine = self.cells
        if len(cells) * len(mine) <= _MOST_PAIRS:
            edge = self.grid.side * self.grid.spacing
            within = (at_most + self.grid.slack) * (1 + _ROUNDING)
            mine = mine[(cdist(cells * edge, mine * edge) <= within[:, None]).any(axis=0)]
        return self.grid.voxels(self.surface, mine)[0]


@dataclass(frozen=True)
class _Targets:
    """Voxels to measure to, float (n, 3)."""

    places: Floats

    def nearest(self, points: Floats) -> Floats:
        """For each point the place nearest to it."""
        if len(points) * len(self.places) <= _MOST_PAIRS:  # building a tree would take longer
            number = cdist(points, self.places, "sqeuclidean").argmin(axis=1)
        else:
            number = self._tree.query(points)[1]
        nearest: Floats = self.places[number]
        return nearest

    @cached_property
    def _tree(self) -> KDTree:
        return KDTree(self.places, balanced_tree=False, compact_nodes=False)


def _widened(rows: Volume, step: int) -> Volume:
    """The rows and their copies moved by ``step`` places to both sides."""
    wide = rows.copy()
    wide[:, step:] |= rows[:, :-step]
    wide[:, :-step] |= rows[:, step:]
    return wide


def _flat_steps(volume: Volume) -> tuple[int, int, int]:
    """Places in flat memory between neighbors along z, y and x."""
    return volume.shape[1] * volume.shape[2], volume.shape[2], 1


def _with_neighbors(volume: Volume) -> Volume:
    """The volume and all voxels that touch it, diagonally too."""
    row = volume.reshape(1, -1)
    for step in _flat_steps(volume):
        row = _widened(row, step)
    return row.reshape(volume.shape)


def _surface(volume: Volume) -> Volume:
    """Voxels with a face neighbor that is not of the volume, which holds some."""
    held = np.flatnonzero(volume.reshape(len(volume), -1).any(axis=1))
    slab = slice(held[0] - 1, held[-1] + 2)
    flat, margin = volume[slab].reshape(-1), _flat_steps(volume)[0]
    inner = flat[margin:-margin].copy()
    for step in _flat_steps(volume):
        inner &= flat[margin - step : -margin - step]
        inner &= flat[margin + step : flat.size - margin + step]
    surface = np.zeros_like(volume)
    np.not_equal(flat[margin:-margin], inner, out=surface[slab].reshape(-1)[margin:-margin])
    return surface


def _touching_distance(outside: Volume, target: Volume, spacing: Floats) -> float:
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
