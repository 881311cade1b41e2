"""Hollow organs as tubes: a center line in three dimensions with a radius at every point.

A slice cuts the ball around each point of the center line in a disc; the union of the discs is the
cross-section. Neighboring slices therefore agree as real ones do, and a tube that bends shows as
several separate loops.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

_SHIFT = 3  # cv2 draws at an eighth of a pixel


@dataclass(frozen=True, slots=True)
class Tube:
    """A hollow organ of one scan.

    Attributes:
        center: float (points, 3): x and y in pixels, z in slices (slice k is the plane k + 0.5).
        radius: float (points,): pixels.
        depth: float (points,): the same radius measured along z, in slices.
        gas: float (points,): share 0 to 1 of the lumen's upper half that is gas.
    """

    center: np.ndarray
    radius: np.ndarray
    depth: np.ndarray
    gas: np.ndarray

    def cross_section(self, position: int, shape: tuple[int, int]) -> np.ndarray:
        """The tube in a slice, uint8 0 or 1 (height, width)."""
        canvas = np.zeros(shape, dtype=np.uint8)
        index, radii = self._cut(position)
        self._discs(canvas, index, np.maximum(radii, 1.5))
        return canvas

    def gas_section(self, position: int, shape: tuple[int, int]) -> np.ndarray:
        """Gas in the slice, uint8 0 or 1: upper half discs, since patients lie on their backs."""
        canvas = np.zeros(shape, dtype=np.uint8)
        index, radii = self._cut(position)
        chosen = self.gas[index] > 0.15
        index, radii = index[chosen], radii[chosen]
        points = np.rint(self.center[index, :2] * 2**_SHIFT).astype(int).tolist()
        lift = (radii * (1 - 1.4 * self.gas[index]) * 2**_SHIFT).astype(int).tolist()
        sizes = np.rint(radii * 2**_SHIFT).astype(int).tolist()
        for (x, y), up, size in zip(points, lift, sizes, strict=True):
            top = (x, y - up)
            cv2.ellipse(canvas, top, (size, size), 0, 180, 360, 1, -1, cv2.LINE_8, _SHIFT)
        return canvas

    def nearest_disc(self, position: int, shape: tuple[int, int], radius: float) -> np.ndarray:
        """A disc where the center line comes nearest to the slice, uint8 0 or 1."""
        canvas = np.zeros(shape, dtype=np.uint8)
        index = np.array([int(np.argmin(np.abs(self.center[:, 2] - position - 0.5)))])
        self._discs(canvas, index, np.array([radius]))
        return canvas

    def _cut(self, position: int) -> tuple[np.ndarray, np.ndarray]:
        """Points whose ball meets the slice, and the radii of the discs in pixels."""
        height = (position + 0.5 - self.center[:, 2]) / self.depth
        index = np.flatnonzero(np.abs(height) < 1)
        return index, self.radius[index] * np.sqrt(1 - height[index] ** 2)

    def _discs(self, canvas: np.ndarray, index: np.ndarray, radii: np.ndarray) -> None:
        points = np.rint(self.center[index, :2] * 2**_SHIFT).astype(int).tolist()
        for point, radius in zip(points, np.rint(radii * 2**_SHIFT).astype(int), strict=True):
            cv2.circle(canvas, point, int(radius), 1, -1, cv2.LINE_8, _SHIFT)


def fitted(center: np.ndarray, depth: np.ndarray, start: float, stop: float) -> np.ndarray:
    """Factor and offset that bring a tube's extent along z to a range of slices.

    Args:
        center: float (points,): z in any unit, say 0 to 1.
        depth: float (points,): radius along z in slices.
        start: where the tube is to begin, in slices.
        stop: where it is to end.

    Returns:
        Float (2, points): z in slices and the radius along z, both scaled so that the lowest and
        the highest reach of the tube are exactly ``start`` and ``stop``.
    """
    length = stop - start
    depth = np.minimum(depth, 0.45 * length)
    span = max(length - depth[np.argmin(center)] - depth[np.argmax(center)], 0.05 * length)
    z = span * (center - center.min()) / max(float(np.ptp(center)), 1e-9)
    low, high = float((z - depth).min()), float((z + depth).max())
    factor = length / (high - low)
    return np.stack([start + (z - low) * factor, depth * factor])
