"""Smooth curves and smooth random fields, the basis of all shapes and textures."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np


def smooth_curve(points: np.ndarray, n_samples: int) -> np.ndarray:
    """A Catmull-Rom curve through points, sampled evenly in arc length.

    Args:
        points: float (points, dimensions), at least two.
        n_samples: points to return.

    Returns:
        Float (n_samples, dimensions); the first three dimensions measure arc length.
    """
    ends = np.concatenate([2 * points[:1] - points[1:2], points, 2 * points[-1:] - points[-2:-1]])
    t = np.linspace(0, 1, 12, endpoint=False)[:, None, None]
    a, b, c, d = ends[:-3], ends[1:-2], ends[2:-1], ends[3:]
    fine = b + 0.5 * t * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)))
    fine = np.concatenate([fine.transpose(1, 0, 2).reshape(-1, points.shape[1]), points[-1:]])
    steps = np.linalg.norm(np.diff(fine[:, :3], axis=0), axis=1)
    length = np.concatenate([[0.0], np.cumsum(steps)])
    wanted = np.linspace(0, length[-1], n_samples)
    return np.stack([np.interp(wanted, length, column) for column in fine.T], axis=1)


@dataclass(frozen=True, slots=True)
class Field:
    """A smooth random field of a scan, about normal with mean 0 and sd 1.

    Attributes:
        grid: float32 (layers, rows, columns), coarse.
    """

    grid: np.ndarray

    @classmethod
    def drawn(cls, rng: np.random.Generator, layers: float, rows: float, columns: float) -> Field:
        """A random field with about so many independent values along each axis."""
        shape = (max(2, round(layers)) + 1, max(2, round(rows)), max(2, round(columns)))
        return cls(rng.standard_normal(shape, dtype=np.float32))

    def at(self, fraction: float, height: int, width: int) -> np.ndarray:
        """The field in the slice at a fraction 0 to 1 of the scan, float32 (height, width)."""
        place = min(max(fraction, 0.0), 1.0) * (len(self.grid) - 1)
        layer = min(int(place), len(self.grid) - 2)
        share = place - layer
        share = share * share * (3 - 2 * share)
        a, b = np.float32(1 - share), np.float32(share)
        mixed = a * self.grid[layer] + b * self.grid[layer + 1]
        mixed *= np.float32(1.35 / np.hypot(a, b))  # interpolation averages: restore the sd
        fine: np.ndarray = cv2.resize(mixed, (width, height), interpolation=cv2.INTER_CUBIC)
        return fine


def wobble(rng: np.random.Generator, angles: np.ndarray, amplitude: float) -> np.ndarray:
    """A random periodic function of angle, about 1 with the given sd: for outlines."""
    orders = np.arange(1, 6)[:, None]
    weights = rng.normal(size=(5, 1)) / orders
    phases = rng.uniform(0, 2 * np.pi, size=(5, 1))
    wave: np.ndarray = (weights * np.cos(orders * angles + phases)).sum(axis=0)
    return 1 + amplitude * wave


def ramp(value: float, start: float, stop: float) -> float:
    """0 at ``start``, 1 at ``stop``, smooth between; works downwards as well.

    >>> ramp(0.5, 0.0, 1.0)
    0.5
    """
    x = min(max((value - start) / (stop - start), 0.0), 1.0)
    return x * x * (3 - 2 * x)
