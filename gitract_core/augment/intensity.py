"""Brightness, contrast, gamma and a mild bias field, as between scanners and coil positions."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gitract_core.augment.lattice import points_along, smooth_field, smoothing

CONTRAST = 0.15
BRIGHTNESS = 0.05
LOG_GAMMA = 0.25
BIAS_SD = 0.1
BIAS_SMOOTHNESS = 0.5


@dataclass(frozen=True, slots=True)
class Intensity:
    """Change of gray levels of some slices: ``contrast * exp(bias) * image ** gamma + brightness``.

    Attributes:
        rows: slices that change; (rows,) int64.
        curves: gamma, contrast and brightness; (3, rows, 1, 1, 1).
        heights: lattice heights of the logarithm of the bias field; (rows, 1, points, points).
    """

    rows: Tensor
    curves: Tensor
    heights: Tensor

    def apply(self, images: Tensor) -> Tensor:
        """The images with their rows changed, cut to 0..1."""
        device = images.device
        rows = self.rows.to(device, non_blocking=True)
        gamma, contrast, brightness = self.curves.to(device, non_blocking=True)
        matrix = smoothing(BIAS_SMOOTHNESS, images.shape[-1]).to(device, non_blocking=True)
        bias = smooth_field(matrix, self.heights.to(device, non_blocking=True)).exp()
        changed = images.index_select(0, rows) ** gamma * (contrast * bias) + brightness
        return images.index_copy(0, rows, changed.clamp(0, 1))


def draw_intensity(rows: Tensor, generator: torch.Generator) -> Intensity | None:
    """Uniform: log gamma within 0.25, contrast within 15 percent, brightness within 0.05.

    The logarithm of the bias field is Gaussian with standard deviation 0.1 and sigma half a side.
    """
    if len(rows) == 0:
        return None
    gamma, contrast, brightness = torch.rand(3, len(rows), 1, 1, 1, generator=generator) * 2 - 1
    curves = [torch.exp(LOG_GAMMA * gamma), 1 + CONTRAST * contrast, BRIGHTNESS * brightness]
    points = points_along(BIAS_SMOOTHNESS)
    heights = BIAS_SD * torch.randn(len(rows), 1, points, points, generator=generator)
    return Intensity(rows, torch.stack(curves), heights)
