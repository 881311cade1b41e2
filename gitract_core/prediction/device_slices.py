"""Slices of a data set as tensors on a device, and what a network sees of them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch

from gitract_core.data.cache import SliceCache
from gitract_core.knobs import InputKnobs
from gitract_core.organs import N_ORGANS


@dataclass(frozen=True)
class DeviceSlices:
    """Slices as tensors on the device: one copy a process, shared by all its trials.

    Attributes:
        images: uint8 (slices, size, size).
        masks: uint8 (slices, size, size), one bit an organ; None without annotations.
        first, last: int64 (slices,), rows of the outermost slices of each slice's own scan.
    """

    images: torch.Tensor
    masks: torch.Tensor | None
    first: torch.Tensor
    last: torch.Tensor

    @classmethod
    def of_scan(cls, images: torch.Tensor) -> DeviceSlices:
        """The images of one scan, uint8 (slices, size, size), without masks."""
        first = torch.zeros(len(images), dtype=torch.int64, device=images.device)
        return cls(images, None, first, first + (len(images) - 1))

    def batch_images(self, rows: torch.Tensor, knobs: InputKnobs) -> torch.Tensor:
        """What the network sees of some slices: float (batch, planes, size, size) in 0..1."""
        if knobs.context == 1:
            gray = self.images.index_select(0, rows).to(torch.float32).mul_(1 / 255)
            return gray.unsqueeze(1).expand(-1, knobs.planes, -1, -1)  # the gray slice repeated
        low, high = self.first[rows], self.last[rows]
        # Not a tensor of offsets: to copy one from the host is to wait for the device.
        planes_of = [(rows + offset).clamp(low, high) for offset in knobs.offsets]
        seen = torch.stack(planes_of, 1)  # (batch, planes)
        planes = self.images.index_select(0, seen.flatten()).to(torch.float32).mul_(1 / 255)
        return planes.view(len(rows), knobs.planes, *planes.shape[1:])

    def batch_masks(self, rows: torch.Tensor) -> torch.Tensor:
        """Masks of some annotated slices, float (batch, organs, size, size), 0 or 1."""
        assert self.masks is not None
        bits = self.masks.index_select(0, rows).unsqueeze(1)
        organ = torch.arange(N_ORGANS, device=bits.device, dtype=torch.uint8).view(1, -1, 1, 1)
        masks = bits.bitwise_right_shift(organ).bitwise_and_(1)  # (batch, organs, size, size)
        return masks.to(torch.float32)


@lru_cache(maxsize=2)
def slices_on(cache: SliceCache, device: torch.device) -> DeviceSlices:
    """The whole cache on a device, once a process; on the CPU the mapped files, not a copy."""
    images, masks = torch.from_numpy(cache.images), torch.from_numpy(cache.masks)
    first, last = (torch.from_numpy(ends).to(device) for ends in cache.scan_ends)
    return DeviceSlices(images.to(device), masks.to(device), first, last)
