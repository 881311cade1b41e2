"""Gaussian blur of a random width, one a slice."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from gitract_core.augment.lattice import without_tails

if TYPE_CHECKING:
    from gitract_core.knobs import AugmentationKnobs

RADIUS_SIGMAS = 4


@dataclass(frozen=True, slots=True)
class Blur:
    """Kernels of the slices ``rows`` (rows,) int64; kernels (rows, 2 * radius + 1), each sum 1."""

    rows: Tensor
    kernels: Tensor

    def apply(self, images: Tensor) -> Tensor:
        """The images with their rows blurred; beyond the border the border repeats."""
        rows = self.rows.to(images.device, non_blocking=True)
        kernels = self.kernels.to(images.device, non_blocking=True)
        chosen = images.index_select(0, rows)
        radius, channels = kernels.shape[1] // 2, images.shape[1]
        # Slices become channels of one image, so that each can have its own kernel.
        planes = F.pad(chosen, [radius] * 4, mode="replicate").flatten(0, 1)[None]
        kernels = kernels.repeat_interleave(channels, 0)[:, None]  # (rows * channels, 1, taps)
        planes = F.conv2d(planes, kernels[:, :, :, None], groups=planes.shape[1])
        planes = F.conv2d(planes, kernels[:, :, None], groups=planes.shape[1])
        return images.index_copy(0, rows, planes[0].view_as(chosen).clamp(0, 1))


def draw_blur(
    knobs: AugmentationKnobs, rows: Tensor, size: int, generator: torch.Generator
) -> Blur | None:
    """Sigma uniform from 0 to ``blur_sigma`` of the side."""
    if len(rows) == 0:
        return None
    widest_px = knobs.blur_sigma * size
    sigmas_px = widest_px * torch.rand(len(rows), generator=generator)
    # Replicated padding must be narrower than what it pads.
    radius = min(max(1, math.ceil(RADIUS_SIGMAS * widest_px)), size - 1)
    return Blur(rows, gaussian_kernels(sigmas_px, radius))


def gaussian_kernels(sigmas_px: Tensor, radius: int) -> Tensor:
    """Sampled Gaussians of sum 1, as SciPy's; (count, 2 * radius + 1) float32."""
    offsets = torch.arange(-radius, radius + 1, dtype=torch.float64)
    # Below a hundredth of a pixel the neighbors are 0 anyway; the bound avoids 0/0.
    exponents = -0.5 * (offsets / sigmas_px.double().clamp_min(0.01)[:, None]) ** 2
    return without_tails(torch.softmax(exponents, 1)).float()
