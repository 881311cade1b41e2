"""Gaussian noise of a random strength, one a slice, the same in all its channels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from gitract_core.knobs import AugmentationKnobs

LARGEST_SEED = 2**62


@dataclass(frozen=True, slots=True)
class Noise:
    """Noise of some slices.

    The noise itself would be the largest of all parameters, so its seed stands for it: replayed on
    one kind of device it is the same to the bit; a CPU and a GPU make different noise of one seed.

    Attributes:
        rows: noisy slices; (rows,) int64.
        deviations: standard deviations; (rows, 1, 1, 1).
        seed: of the noise of the batch.
    """

    rows: Tensor
    deviations: Tensor
    seed: int

    def apply(self, images: Tensor) -> Tensor:
        """The images with noise on their rows, cut to 0..1."""
        device = images.device
        rows = self.rows.to(device, non_blocking=True)
        generator = torch.Generator(device).manual_seed(self.seed)
        shape = (len(rows), 1, *images.shape[2:])
        noise = torch.randn(shape, generator=generator, device=device, dtype=images.dtype)
        noise *= self.deviations.to(device, non_blocking=True)
        return images.index_copy(0, rows, images.index_select(0, rows).add_(noise).clamp_(0, 1))


def draw_noise(knobs: AugmentationKnobs, rows: Tensor, generator: torch.Generator) -> Noise | None:
    """Standard deviation uniform from 0 to ``noise_sd``."""
    if len(rows) == 0:
        return None
    deviations = knobs.noise_sd * torch.rand(len(rows), 1, 1, 1, generator=generator)
    seed = int(torch.randint(LARGEST_SEED, (1,), generator=generator))
    return Noise(rows, deviations, seed)
