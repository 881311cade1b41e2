"""Checks of this machine, each with a remedy for what is missing."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gitract_core.errors import RunError, counted
from gitract_core.processors import usable_processors

_PACKAGES = ("torch", "ray", "numpy", "pandas", "scikit-learn", "opencv-python-headless", "scipy")
_LEAST_MEMORY_GIB, _LEAST_DISK_GIB = 4.0, 5.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at.

    Attributes:
        what: its name.
        found: what there is.
        ok: whether that is enough.
        remedy: what to do if not.
    """

    what: str
    found: str
    ok: bool = True
    remedy: str = ""


def examine() -> list[Finding]:
    """Look at versions, device, memory, disk and cache."""
    return [*_versions(), _device(), _memory(), *_disk()]


def _versions() -> Iterator[Finding]:
    yield Finding("python", platform.python_version())
    for name in _PACKAGES:
        try:
            yield Finding(name, importlib.metadata.version(name))
        except importlib.metadata.PackageNotFoundError:
            yield Finding(name, "not installed", ok=False, remedy=f"pip install {name}")


def _device() -> Finding:
    import torch

    from gitract_core.device import device_name, gpu_memory_sizes, supports_bf16

    sizes = gpu_memory_sizes()
    device = torch.device("cuda" if sizes else "cpu")
    arithmetic = "bf16" if supports_bf16(device) else "fp32 only"
    memory = ", ".join(f"{size / 2**30:.0f} GiB" for size in sizes)
    found = f"{device_name(device)} {f'({len(sizes)} x: {memory})' if sizes else ''}, {arithmetic}"
    if not sizes and Path("/proc/driver/nvidia").exists():
        remedy = "the driver is there but torch sees no GPU: install a CUDA build of torch"
        return Finding("device", found, ok=False, remedy=remedy)
    return Finding("device", found)


def _memory() -> Finding:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    ok = total >= _LEAST_MEMORY_GIB
    remedy = "" if ok else f"at least {_LEAST_MEMORY_GIB:.0f} GiB are needed for the demo"
    return Finding(
        "memory", f"{total:.1f} GiB, {counted(usable_processors(), 'processor')}", ok, remedy
    )


def _disk() -> Iterator[Finding]:
    from gitract_core.data.cache import cache_root

    places = {"disk": Path.cwd()}
    try:
        places["cache"] = cache_root()
    except RunError:
        remedy = "set GITRACT_CACHE to a folder, as this user has no home"
        yield Finding("cache", "no folder", ok=False, remedy=remedy)
    for what, path in places.items():
        there = next(p for p in (path, *path.parents) if p.exists())
        free = shutil.disk_usage(there).free / 2**30
        ok = free >= _LEAST_DISK_GIB and os.access(there, os.W_OK)
        remedy = "" if ok else "free some space, or point GITRACT_CACHE elsewhere"
        yield Finding(what, f"{path}: {free:.0f} GiB free", ok, remedy)
