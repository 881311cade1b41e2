"""The one seam between training and the device it runs on; every CUDA call stands here."""

from __future__ import annotations

import os
import platform
import resource
import sys
from dataclasses import dataclass
from functools import lru_cache

import torch

from gitract_core.cache import SliceCache
from gitract_core.errors import GitractError
from gitract_core.knobs import InputKnobs
from gitract_core.organs import N_ORGANS


@dataclass(frozen=True, slots=True)
class Runtime:
    """Where and with how many threads a trial runs; none of it takes part in its key.

    Attributes:
        device: ``auto`` (CUDA if there is one), ``cpu`` or ``cuda``.
        threads: processor threads of a trial on the CPU; concurrent trials share the cores, so
            the executor sets it. Results on a CPU are equal bit by bit for equal threads.
        keep_oof: leave out-of-fold probabilities behind; without them they are predicted anew from
            the weights when they are asked for.
    """

    device: str = "auto"
    threads: int = 1
    keep_oof: bool = True

    def torch_device(self) -> torch.device:
        """The device, with the thread count set.

        Raises:
            GitractError: CUDA is asked for and there is none.
        """
        torch.set_num_threads(self.threads)
        name = self.device
        if name == "auto":
            name = "cuda" if torch.cuda.is_available() else "cpu"
        if name.startswith("cuda") and not torch.cuda.is_available():
            remedy = "pass --device cpu or mend the driver (gitract-cv doctor)"
            raise GitractError("device", "a CUDA device", "none", remedy)
        return torch.device(name)


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
        offsets = torch.tensor(knobs.offsets, device=rows.device)
        low, high = self.first[rows].unsqueeze(1), self.last[rows].unsqueeze(1)
        seen = (rows.unsqueeze(1) + offsets).clamp(low, high)  # (batch, planes)
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
    """The whole cache on a device; on the CPU the mapped files themselves, not a copy."""
    images, masks = torch.from_numpy(cache.images), torch.from_numpy(cache.masks)
    first, last = (torch.from_numpy(ends).to(device) for ends in cache.scan_ends)
    return DeviceSlices(images.to(device), masks.to(device), first, last)


def supports_bf16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 matrices in hardware."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    able = torch.cpu.get_capabilities()
    return bool(able.get("avx512_bf16") or able.get("amx_bf16"))


def resolve_precision(precision: str, device: torch.device) -> str:
    """``bf16`` or ``fp32`` for a knob that may say ``auto``."""
    if precision != "auto":
        return precision
    return "bf16" if supports_bf16(device) else "fp32"


def gpu_memory_sizes() -> list[int]:
    """Bytes of each CUDA device that this process sees; empty without one."""
    if not torch.cuda.is_available():
        return []
    count = torch.cuda.device_count()
    return [int(torch.cuda.get_device_properties(i).total_memory) for i in range(count)]


def see_one_gpu(place: int) -> None:
    """Let this process, which has not used CUDA yet, see one of the machine's GPUs, in turn.

    Args:
        place: number of the process; those beyond the last GPU begin again with the first.
    """
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    gpus = named.split(",") if named else [str(n) for n in range(torch.cuda.device_count())]
    if gpus:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpus[place % len(gpus)]


def peak_memory_bytes(device: torch.device) -> int:
    """Most memory held so far: of this trial on a GPU, of this process on a CPU."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def start_measuring(device: torch.device) -> None:
    """Begin a trial: forget the last one's memory."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def device_name(device: torch.device) -> str:
    """The card's or processor's own name."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        with open("/proc/cpuinfo") as lines:
            names = [line.split(":", 1)[1].strip() for line in lines if "model name" in line]
    except OSError:
        names = []
    return f"{names[0] if names else platform.processor() or 'CPU'} ({os.cpu_count()} cores)"
