"""Elastic distortion and affine map, resampled once.

An output pixel at x takes the input at A(x) + u(x), with A affine and u a smooth random
displacement. Images are interpolated bilinearly, and what lies outside repeats the border. Masks
are interpolated in the same pass and cut at one half, so their edges move by fractions of a pixel
as the image does, and they stay 0 and 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from gitract_core.augment.lattice import points_along, smooth_field, smoothing

if TYPE_CHECKING:
    from gitract_core.knobs import AugmentationKnobs

ROTATION_DEGREES = 10.0
SCALE = 0.1
SHIFT = 0.05
# A narrower field would be noise, not a distortion, and its lattice larger than the image.
LEAST_SMOOTHNESS = 0.01
# On a CPU, fresh memory for a whole batch costs more than the sampling itself.
SLICES_A_PART = 4


@dataclass(frozen=True, slots=True)
class Warp:
    """Where each pixel of some slices comes from.

    Attributes:
        rows: slices that move; (rows,) int64.
        maps: affine maps in the coordinates of ``grid_sample``; (rows, 2, 3).
        heights: lattice heights of the displacement (x, y), fractions of the side; (rows, 2,
            points, points), zero for slices without elastic distortion.
        smoothness: sigma of the displacement, as a fraction of the side.
    """

    rows: Tensor
    maps: Tensor
    heights: Tensor
    smoothness: float

    def displacement(self, size: int, device: torch.device | str = "cpu") -> Tensor:
        """Displacement (rows, 2, size, size) in fractions of the side: x, then y."""
        matrix = smoothing(self.smoothness, size).to(device, non_blocking=True)
        return smooth_field(matrix, self.heights.to(device, non_blocking=True))

    def places(self, size: int, device: torch.device | str = "cpu") -> Tensor:
        """Where pixels come from: (rows, 2, size, size), x then y, -1 to 1 from edge to edge.

        ``affine_grid`` plus the displacement, at a fifth of its time on a CPU: an affine map is a
        sum of what depends on the column alone and what depends on the row alone.
        """
        maps = self.maps.to(device, non_blocking=True)
        centers = (torch.arange(size, device=device) + 0.5) * (2 / size) - 1
        across = maps[:, :, :1] * centers  # (rows, 2, width)
        down = maps[:, :, 1:2] * centers + maps[:, :, 2:]  # (rows, 2, height)
        places = self.displacement(size, device).mul_(2)  # one side is 2 units
        return places.add_(across[:, :, None]).add_(down[..., None])

    def apply(self, images: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
        """The batch with its rows moved; images float, masks of 0 and 1."""
        images, masks = images.clone(), masks.clone()
        step = len(self.rows) if images.device.type == "cuda" else SLICES_A_PART
        for first in range(0, len(self.rows), step):
            span = slice(first, first + step)
            part = replace(
                self, rows=self.rows[span], maps=self.maps[span], heights=self.heights[span]
            )
            part.move(images, masks)
        return images, masks

    def move(self, images: Tensor, masks: Tensor) -> None:
        """Move the rows of a batch in place, all at once."""
        device, channels = images.device, images.shape[1]
        rows = self.rows.to(device, non_blocking=True)
        places = self.places(images.shape[-1], device).permute(0, 2, 3, 1)
        moving = [planes.index_select(0, rows).to(images.dtype) for planes in (images, masks)]
        stacked = torch.cat(moving, 1)  # (rows, channels + classes, height, width)
        sampled = F.grid_sample(stacked, places, padding_mode="border", align_corners=False)
        # Rounding in the interpolation can leave the range by one part in ten million.
        images.index_copy_(0, rows, sampled[:, :channels].clamp_(0, 1))
        masks.index_copy_(0, rows, sampled[:, channels:].ge_(0.5).to(masks.dtype))


def draw_warp(
    knobs: AugmentationKnobs,
    elastic: Tensor,
    affine: Tensor,
    size: int,
    generator: torch.Generator,
) -> Warp | None:
    """Draw maps for the slices ``affine`` and displacements for the slices ``elastic``.

    The displacement has the root mean square length that the knob says, before the affine map.
    """
    rows = torch.tensor(sorted({*elastic.tolist(), *affine.tolist()}), dtype=torch.int64)
    if len(rows) == 0:
        return None
    maps = torch.eye(2, 3).repeat(len(rows), 1, 1)
    maps[torch.isin(rows, affine)] = draw_maps(len(affine), generator)
    smoothness = max(knobs.elastic_smoothness, LEAST_SMOOTHNESS, 1 / size)
    points = points_along(smoothness)
    heights = torch.zeros(len(rows), 2, points, points)
    drawn = torch.randn(len(elastic), 2, points, points, generator=generator)
    heights[torch.isin(rows, elastic)] = drawn * (knobs.elastic_displacement / math.sqrt(2))
    return Warp(rows, maps, heights, smoothness)


def draw_maps(count: int, generator: torch.Generator) -> Tensor:
    """Affine maps about the center: (count, 2, 3).

    Uniform: rotation within 10 degrees, scale within 10 percent, shifts within 5 percent of the
    side, all either way.
    """
    angle, scale, shift_x, shift_y = torch.rand(4, count, generator=generator) * 2 - 1
    angle, scale = angle * math.radians(ROTATION_DEGREES), 1 + SCALE * scale
    cosine, sine = torch.cos(angle) * scale, torch.sin(angle) * scale
    across = torch.stack([cosine, -sine, 2 * SHIFT * shift_x], 1)
    down = torch.stack([sine, cosine, 2 * SHIFT * shift_y], 1)
    return torch.stack([across, down], 1)  # (count, 2, 3)
