"""Smooth random fields: Gaussian bumps on a coarse lattice of random heights.

Smoothing white noise by a Gaussian of standard deviation sigma (Simard, Steinkraus and Platt 2003,
doi 10.1109/ICDAR.2003.1227801) leaves nothing finer than sigma, so the noise need only be drawn at
lattice points one sigma apart. The field at a pixel is the sum of the points' heights under a
Gaussian of their distance, which is separable: ``S @ heights @ S.T`` with S (size, points). By
Poisson's formula its variance ripples by 2 exp(-pi^2), one part in ten thousand. The lattice goes
on past the border, so the field is as strong there as in the middle.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor

MARGIN_SIGMAS = 4
LEAST_HEIGHT = 1e-12


def points_along(sigma: float) -> int:
    """Lattice points along a side of length 1, margins included."""
    return math.ceil(1 / sigma) + 1 + 2 * MARGIN_SIGMAS


@lru_cache(maxsize=16)
def smoothing(sigma: float, size: int) -> Tensor:
    """The matrix S: (size, points) float32; the field of unit heights has unit variance.

    Args:
        sigma: standard deviation of the Gaussian, as a fraction of the side.
        size: side, pixels.
    """
    pixels = (torch.arange(size, dtype=torch.float64) + 0.5) / size
    points = (torch.arange(points_along(sigma), dtype=torch.float64) - MARGIN_SIGMAS) * sigma
    bumps = torch.exp(-((pixels[:, None] - points) ** 2) / (2 * sigma**2))  # (size, points)
    # The mean square over a period is sqrt(pi) for points one sigma apart.
    return without_tails(bumps * math.pi**-0.25).float()


def without_tails(bumps: Tensor) -> Tensor:
    """Gaussians of a height near 1 with 0 for what is nothing beside that in float32.

    Products of such numbers are subnormal, for which some processors take many times as long.
    """
    return torch.where(bumps < LEAST_HEIGHT, 0, bumps)


def smooth_field(matrix: Tensor, heights: Tensor) -> Tensor:
    """The field (..., size, size) over heights (..., points, points)."""
    return torch.matmul(torch.matmul(matrix, heights), matrix.T)
