"""Slices of a data set as tensors on a device, and what a network sees of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import torch

from gitract_core.data.cache import SliceCache
from gitract_core.knobs import InputKnobs
from gitract_core.prediction.slice_neighbors import has_gaps, neighbor_rows


@dataclass(frozen=True)
class DeviceSlices:
    """Slices as tensors on the device: one copy a process, shared by all its trials.

    Attributes:
        images: uint8 (slices, channels, size, size).
        masks: uint8 (slices, planes, size, size), one bit an organ; None without annotations.
        first, last: int64 (slices,), rows of the outermost slices of each slice's own scan.
        n_organs: how many organs the masks hold.
        known: float (slices, organs), 1 where the annotation is known, else 0; None where it is
            throughout.
        exchange: int64 (organs,), the organ that each shows in a mirrored slice; None where that
            is itself.
        numbers: int (slices,), of the slices in their scans; None where no scan lacks one.
    """

    images: torch.Tensor
    masks: torch.Tensor | None
    first: torch.Tensor
    last: torch.Tensor
    n_organs: int = 0
    known: torch.Tensor | None = None
    exchange: torch.Tensor | None = None
    numbers: np.ndarray | None = None
    _neighbors: dict[tuple[int, ...], torch.Tensor] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    @classmethod
    def of_scan(cls, images: torch.Tensor, numbers: np.ndarray | None = None) -> DeviceSlices:
        """The images of one scan without masks.

        Args:
            images: uint8 (slices, channels, size, size), or (slices, size, size) of one channel.
            numbers: of its slices; by default it lacks none.
        """
        first = torch.zeros(len(images), dtype=torch.int64, device=images.device)
        seen = images.unsqueeze(1) if images.ndim == 3 else images
        start = np.zeros(len(images), np.int64)
        gaps = None if numbers is None or not has_gaps(numbers, start) else numbers
        return cls(seen, None, first, first + (len(images) - 1), numbers=gaps)

    def batch_images(self, rows: torch.Tensor, knobs: InputKnobs) -> torch.Tensor:
        """What the network sees of some slices: float (batch, planes, size, size) in 0..1."""
        if knobs.context == 1:
            gray = self.images.index_select(0, rows).to(torch.float32).mul_(1 / 255)
            # The gray slice repeated; several channels as they are.
            return gray.expand(-1, knobs.planes, -1, -1) if gray.shape[1] == 1 else gray
        seen = self._seen_beside(rows, knobs.offsets)  # (batch, planes)
        planes = self.images.index_select(0, seen.flatten()).to(torch.float32).mul_(1 / 255)
        return planes.view(len(rows), -1, *planes.shape[2:])  # (batch, planes, size, size)

    def _seen_beside(self, rows: torch.Tensor, offsets: tuple[int, ...]) -> torch.Tensor:
        """Rows of the neighbors of some slices, (batch, offsets)."""
        if self.numbers is None:
            low, high = self.first[rows], self.last[rows]
            # Not a tensor of offsets: to copy one from the host is to wait for the device.
            return torch.stack([(rows + offset).clamp(low, high) for offset in offsets], 1)
        if offsets not in self._neighbors:
            ends = self.first.cpu().numpy(), self.last.cpu().numpy()
            found = torch.from_numpy(neighbor_rows(self.numbers, *ends, offsets))
            self._neighbors[offsets] = found.to(self.first.device)
        return self._neighbors[offsets].index_select(0, rows)

    def batch_masks(self, rows: torch.Tensor) -> torch.Tensor:
        """Masks of some annotated slices, float (batch, organs, size, size), 0 or 1."""
        assert self.masks is not None
        return organ_masks(self.masks.index_select(0, rows), self.n_organs)

    def batch_known(self, rows: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """What is known of some slices: one float (batch, organs), or nothing where all is."""
        return () if self.known is None else (self.known.index_select(0, rows),)

    def exchanged(self, of_organs: torch.Tensor, mirrored: torch.Tensor) -> torch.Tensor:
        """What is said of each organ in a batch of which some slices were mirrored.

        Args:
            of_organs: (batch, organs, ...).
            mirrored: int64 (rows,), places in the batch.
        """
        if self.exchange is None:
            return of_organs
        rows = mirrored.to(of_organs.device, non_blocking=True)
        turned = of_organs.index_select(0, rows).index_select(1, self.exchange)
        return of_organs.index_copy(0, rows, turned)


def organ_masks(bits: torch.Tensor, n_organs: int) -> torch.Tensor:
    """Masks from packed bits, float (batch, organs, size, size), 0 or 1.

    Args:
        bits: uint8 (batch, planes, size, size); see ``data.cache``.
        n_organs: how many organs there are.
    """
    organ = torch.arange(n_organs, device=bits.device, dtype=torch.uint8)
    if bits.shape[1] > 1:
        place = torch.arange(n_organs, device=bits.device)
        bits, organ = bits.index_select(1, place // 8), (place % 8).to(torch.uint8)
    shift = organ.view(1, -1, 1, 1)
    masks = bits.bitwise_right_shift(shift).bitwise_and_(1)  # (batch, organs, size, size)
    return masks.to(torch.float32)


@lru_cache(maxsize=2)
def slices_on(cache: SliceCache, device: torch.device) -> DeviceSlices:
    """The whole cache on a device, once a process; on the CPU the mapped files, not a copy."""
    images, masks = torch.from_numpy(cache.images), torch.from_numpy(cache.masks)
    first, last = (torch.from_numpy(ends).to(device) for ends in cache.scan_ends)
    numbers = cache.index.table["slice"].to_numpy()
    gaps = numbers if has_gaps(numbers, cache.scan_ends[0]) else None
    known = cache.index.known
    given = None if known is None else torch.from_numpy(known).to(device, torch.float32)
    exchange = torch.tensor(cache.organs.mirrored, device=device) if cache.organs.pairs else None
    return DeviceSlices(
        images.to(device), masks.to(device), first, last, len(cache.organs), given, exchange, gaps
    )
