"""Averages of probabilities of several views: brought to one plane that covers all of them.

Whole slices of several sizes meet at the largest size. Where a view has a spacing of its own, all
meet on those pixels of the slice that any of them shows, as finely as the finest of them, but no
finer than the slice itself. A member has no say in what it did not see.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from gitract_core.prediction.postprocess import NativeGrid
from gitract_core.view import View, Window


@dataclass(frozen=True, eq=False)
class Said:
    """What one member says of a scan.

    Attributes:
        probabilities: (organs, slices, size, size), of any real dtype.
        view: what they are of.
        weight: of the member; weights need not sum to 1.
    """

    probabilities: np.ndarray
    view: View
    weight: float


@dataclass(frozen=True)
class CommonView:
    """The plane on which probabilities of a scan are averaged.

    Attributes:
        height, width: of the plane, in its own pixels.
        window: the slice's pixels that it covers; None: all of them.
        grid: the scan's own pixels, where members have several views and one of them a spacing;
            else None.
    """

    height: int
    width: int
    window: Window | None = None
    grid: NativeGrid | None = None

    @classmethod
    def of(cls, views: Iterable[View], grid: Callable[[], NativeGrid]) -> CommonView:
        """Of the views of a scan's members.

        Args:
            views: at least one.
            grid: gives the scan's own pixels; asked only where a view has a spacing.
        """
        distinct = sorted(set(views))
        largest = max(view.size for view in distinct)
        if not any(view.spacing_mm for view in distinct):
            return cls(largest, largest)
        own = grid()
        windows = [own.seen_by(view).seen for view in distinct]
        if len(distinct) == 1:
            return cls(largest, largest, windows[0])
        top, left = (min(getattr(w, side) for w in windows) for side in ("top", "left"))
        bottom, right = (max(getattr(w, side) for w in windows) for side in ("bottom", "right"))
        all_of_them = Window(top, left, bottom - top, right - left)
        seen = all_of_them.within(own.height, own.width)
        fine = [
            (view.size / window.height, view.size / window.width)
            for view, window in zip(distinct, windows, strict=True)
        ]
        height = round(seen.height * min(1.0, max(down for down, _ in fine)))
        width = round(seen.width * min(1.0, max(across for _, across in fine)))
        return cls(max(1, height), max(1, width), seen, own)

    @property
    def mixed(self) -> bool:
        """Whether views differ and one of them has a spacing."""
        return self.grid is not None

    def average(self, members: Iterable[Said]) -> np.ndarray:
        """The weighted average, float32 (organs, slices, height, width).

        Of a mixed view, the average over those members that see a pixel; 0 where none does.
        """
        total: np.ndarray = np.zeros(1, np.float32)
        heard = np.zeros((self.height, self.width), np.float32)
        for member in members:
            weight = np.float32(member.weight)
            if self.grid is None:
                total = total + weight * at_size(member.probabilities, self.height)
                continue
            down, across = self._weights(member.view, self.grid)
            values = np.asarray(member.probabilities, dtype=np.float32)
            total = total + weight * (down @ values @ across.T)
            heard += weight * np.outer(down.any(axis=1), across.any(axis=1))
        if self.grid is None:
            return total
        mean: np.ndarray = np.divide(total, heard, out=np.zeros_like(total), where=heard > 0)
        return mean

    def _weights(self, view: View, grid: NativeGrid) -> tuple[np.ndarray, np.ndarray]:
        """What each row, and each column, of the plane takes of a view's rows and columns."""
        plane, seen = self.window, grid.seen_by(view).seen
        assert plane is not None  # a mixed view has one
        rows = (plane.top - seen.top) / seen.height, plane.height / seen.height
        columns = (plane.left - seen.left) / seen.width, plane.width / seen.width
        return (
            _taken(*rows, pixels=self.height, of=view.size),
            _taken(*columns, pixels=self.width, of=view.size),
        )


def _taken(start: float, length: float, *, pixels: int, of: int) -> np.ndarray:
    """Weights of linear interpolation between pixel centers, float32 (pixels, of).

    Where pixels are coarser than those they take from, the triangle is as wide as they are.

    Args:
        start: of the stretch of pixels, in lengths of the one they take from.
        length: of the stretch of pixels, in lengths of the one they take from.
        pixels: in that stretch.
        of: pixels of the one they take from; beyond it they take nothing.

    >>> _taken(-0.5, 2.0, pixels=4, of=2).tolist()
    [[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 0.0]]
    """
    step = length / pixels * of
    centers = start * of + (np.arange(pixels) + 0.5) * step
    distance = np.abs(centers[:, None] - (np.arange(of) + 0.5))
    weights = np.maximum(0.0, 1 - distance / max(1.0, step))
    weights /= weights.sum(axis=1, keepdims=True).clip(min=1e-12)
    weights[(centers < 0) | (centers > of)] = 0
    return weights.astype(np.float32)


def at_size(probabilities: np.ndarray, size: int) -> np.ndarray:
    """Probabilities (organs, slices, side, side) as float32, enlarged bilinearly if need be."""
    values = np.asarray(probabilities, dtype=np.float32)
    if values.shape[-1] == size:
        return values
    tensor = torch.from_numpy(values)
    larger = nn.functional.interpolate(tensor, size=(size, size), mode="bilinear")
    return np.asarray(larger.numpy())
