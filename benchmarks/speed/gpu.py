"""Claim: the paper's grid trains in under 60 minutes on one H200, with standard widths in under 30.

The grid is 5 losses x 2 depths x 5 folds at 128x128 and batch 16, 40 epochs of 30,797 training and
7,699 validation slices. Measured are training steps on made-up slices, augmentation included, and
validation, for the ways of sharing one device:

* one trial, plain, or its steps captured as CUDA graphs, or also fused by ``torch.compile``;
* several such processes, one after another on the GPU, or side by side where NVIDIA's
  multi-process service (MPS) runs: ``nvidia-cuda-mps-control -d``.

Each way runs in processes of its own, so that a way that fails spoils no other. Beside images a
second stand the shares of what the device can do at most, measured here too: operations a second
of a large bf16 product, and bytes a second of a copy. The bytes of a step are those of a step in
which every operator reads and writes memory by itself; fused kernels and caches need fewer, so that
share may be over 1. Memory is what torch held, without CUDA contexts (about half a GB a process).

    python -m benchmarks.speed.gpu --out benchmarks/results/gpu.md
    python -m benchmarks.speed.gpu --only processes         # for another table under NVIDIA's MPS
    python -m benchmarks.speed.gpu --device cpu --quick     # a minute; the figures mean nothing

Left out: several folds fused into one network of grouped convolutions. Each loss pools over its
own fold's batch and each fold stops on its own, so that network, losses, optimizer and early
stopping would all be written a second time. Measured, and then removed: several trials in the
threads of one process, each on a stream of its own (see the results), and letting cuDNN try its
kernels (.97 to 1.04 times the images a second on an H100).
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from benchmarks.measuring import at_most, machine, publish, table
from benchmarks.speed.step_work import work_of
from gitract_core.device import Runtime, device_name, finish, peak_memory_bytes, start_measuring
from gitract_core.organs import CONTEST
from gitract_core.prediction.device_slices import DeviceSlices
from gitract_core.spec import Candidate, TrialSpec
from gitract_core.training.loop import FoldSlices, Training

LOSSES, FOLDS, EPOCHS = 5, 5, 40
DEPTHS, TARGET_MINUTES = (4, 5), {"paper": 60, "standard": 30}
TRAINING_SLICES, VALIDATION_SLICES = 30_797, 7_699
LOSS = "bce + dice"
PATIENCE_SECONDS = 300
SPAWN = multiprocessing.get_context("spawn")

Shape = tuple[str, int]  # widths, depth
SHAPES: tuple[Shape, ...] = tuple((w, d) for w in TARGET_MINUTES for d in DEPTHS)


@dataclass(frozen=True)
class Scale:
    """How large everything is; quick is for seeing that it runs."""

    device: str = "cuda"
    slices: int = 38_496
    size: int = 128
    batch: int = 16
    steps: int = 50  # between two looks at the clock
    validated: int = 1280  # slices
    seconds: float = 1.0
    matrix: int = 8192
    copied_bytes: int = 2**31
    crowds: tuple[int, ...] = (2, 4, 8)

    @classmethod
    def quick(cls, device: str) -> Scale:
        return cls(device, 256, 32, 2, 1, 4, 0.0, 256, 2**20, (2,))


@dataclass(frozen=True)
class Way:
    """How trials share the device."""

    name: str
    processes: int = 1
    capture: bool = True
    fuse: bool = False


@dataclass(frozen=True)
class Found:
    """One row: images a second of all trials together, bytes held, or why there are none."""

    shape: Shape
    way: Way
    images: float = 0.0  # trained
    validated: float = 0.0
    memory: int = 0
    fault: str = ""


def ways(scale: Scale) -> Iterator[Way]:
    fuse = scale.device == "cuda"  # elsewhere compiling would take most of the time
    how = "fused" if fuse else "captured"
    yield Way("one trial, plain", capture=False)
    yield Way("one trial, captured")
    if fuse:
        yield Way("one trial, fused", fuse=fuse)
    for n in scale.crowds:
        yield Way(f"{n} processes, {how}", processes=n, fuse=fuse)


# --- in the measuring processes ------------------------------------------------------------------


def enter(barrier: Any) -> None:
    global _barrier
    _barrier = barrier


_barrier: Any = None


def measure(shape: Shape, way: Way, scale: Scale) -> tuple[float, float, int]:
    """Images a second trained and validated, and bytes held, of this process beside all others."""
    try:
        device = Runtime(scale.device).torch_device()
        start_measuring(device)
        trial = training(shape, way, scale)
        trial._train()  # captures, plans kernels, fills the allocator
        trial._validate()
        _barrier.wait(PATIENCE_SECONDS)
        trained = scale.steps * scale.batch * rounds_a_second(trial._train, scale.seconds)
        _barrier.wait(PATIENCE_SECONDS)
        validated = scale.validated * rounds_a_second(trial._validate, scale.seconds)
    except BaseException:
        _barrier.abort()  # the others wait in vain
        raise
    return trained, validated, peak_memory_bytes(device)


def rounds_a_second(work: Callable[[], object], seconds: float) -> float:
    """Of work that ends with a look at the device: it is done."""
    rounds, start, now = 0, time.perf_counter(), 0.0
    while rounds == 0 or now - start < seconds:
        work()
        rounds, now = rounds + 1, time.perf_counter()
    return rounds / (now - start)


def training(shape: Shape, way: Way, scale: Scale) -> Training:
    widths, depth = shape
    candidate = Candidate.from_knobs(
        {
            "loss": LOSS,
            "network.widths": widths,
            "network.depth": depth,
            "input.size": scale.size,
            "optimizer.batch_size": scale.batch,
        }
    )
    device = torch.device(scale.device)
    rows = torch.arange(scale.steps * scale.batch) % scale.slices
    validation = torch.arange(scale.validated) % scale.slices
    data = FoldSlices(made_up_slices(scale), rows, validation)
    spec = TrialSpec(candidate, 0, FOLDS, 0, "made up", "made up")
    return Training(spec, data, device, capture=way.capture, fuse=way.fuse)


@lru_cache(maxsize=1)
def made_up_slices(scale: Scale) -> DeviceSlices:
    shape, device = (scale.slices, 1, scale.size, scale.size), torch.device(scale.device)
    images = torch.randint(256, shape, dtype=torch.uint8, device=device)
    masks = torch.randint(2 ** len(CONTEST), shape, dtype=torch.uint8, device=device)
    first = torch.zeros(scale.slices, dtype=torch.int64, device=device)
    last = first + (scale.slices - 1)
    return DeviceSlices(images, masks, first, last, n_organs=len(CONTEST))


def limits(scale: Scale) -> tuple[str, float, float]:
    """The device's name, operations a second of a product, bytes a second of a copy."""
    device = Runtime(scale.device).torch_device()
    a = torch.randn(scale.matrix, scale.matrix, device=device, dtype=torch.bfloat16)
    source = torch.zeros(scale.copied_bytes, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)

    def best_seconds(work: Any, repeats: int = 20) -> float:
        found = []
        for _ in range(5):
            finish(device)
            start = time.perf_counter()
            for _ in range(repeats):
                work()
            finish(device)
            found.append((time.perf_counter() - start) / repeats)
        return min(found)

    product = best_seconds(lambda: torch.matmul(a, a))
    copy = best_seconds(lambda: target.copy_(source))
    return device_name(device), 2 * scale.matrix**3 / product, 2 * scale.copied_bytes / copy


# --- in the main process -------------------------------------------------------------------------


def run(way: Way, scale: Scale, shapes: Sequence[Shape]) -> Iterator[Found]:
    """A way on all shapes, in new processes; after a fault, in newer ones."""
    pool = None
    for shape in shapes:
        print(f"{shape[0]}, depth {shape[1]}: {way.name}", file=sys.stderr, flush=True)
        if pool is None:
            pool = new_pool(way.processes)
        try:
            futures = [pool.submit(measure, shape, way, scale) for _ in range(way.processes)]
            errors = [e for f in futures if (e := f.exception())]
            if errors:
                raise min(errors, key=lambda e: type(e).__name__ == "BrokenBarrierError")
            sums = [sum(part) for part in zip(*(f.result() for f in futures), strict=True)]
            print(*(f"{value:,.0f}" for value in sums), file=sys.stderr, flush=True)
            yield Found(shape, way, *sums)
        except Exception as error:  # whatever one way dies of, the others are still to be told
            pool.shutdown(cancel_futures=True)
            pool = None
            first = (str(error).splitlines() or [""])[0]
            yield Found(shape, way, fault=f"{type(error).__name__}: {first:.160}")
    if pool is not None:
        pool.shutdown()


def new_pool(processes: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(processes, SPAWN, enter, (SPAWN.Barrier(processes),))


def grid_minutes(rates: dict[int, tuple[float, float]]) -> float:
    """Minutes of the grid at images a second, trained and validated, by depth."""
    epochs = LOSSES * FOLDS * EPOCHS
    seconds = [
        epochs * (TRAINING_SLICES / trained + VALIDATION_SLICES / validated)
        for trained, validated in (rates[depth] for depth in DEPTHS)
    ]
    return sum(seconds) / 60


def mps_line() -> str:
    """Whether NVIDIA's server that lets processes share a GPU at once is running."""
    names = set()
    for comm in Path("/proc").glob("[0-9]*/comm"):
        try:
            names.add(comm.read_text().strip())
        except OSError:
            continue
    # The kernel cuts names after 15 letters.
    found = any("nvidia-cuda-mps-control".startswith(n) for n in names if len(n) == 15)
    pipes = os.environ.get("CUDA_MPS_PIPE_DIRECTORY", "not set")
    return f"MPS server {'running' if found else 'not running'}, CUDA_MPS_PIPE_DIRECTORY {pipes}."


def rows_table(rows: Sequence[Found], scale: Scale, peak: tuple[float, float]) -> str:
    work = {shape: work_of(*shape, scale.size, scale.batch) for shape in SHAPES}
    cells = []
    for row in rows:
        name = f"{row.shape[0]}, depth {row.shape[1]}"
        if row.fault:
            cells.append((name, row.way.name, *["-"] * 5))
            continue
        operations, moved = work[row.shape]
        cells.append(
            (
                name,
                row.way.name,
                f"{row.images:,.0f}",
                f"{row.validated:,.0f}",
                f"{row.images * operations / peak[0]:.3f}",
                f"{row.images * moved / peak[1]:.2f}",
                f"{row.memory / 2**30:.2f}",
            )
        )
    header = ("network", "way", "trained/s", "validated/s", "of the product", "of the copy", "GiB")
    return table(header, cells)


def grid_part(rows: Sequence[Found], chosen: Sequence[Way]) -> list[str]:
    """Minutes of the whole grid, by widths and way, and the best ways."""
    minutes: dict[tuple[str, str], float] = {}
    for widths in TARGET_MINUTES:
        for way in chosen:
            mine = [r for r in rows if r.shape[0] == widths and r.way == way and not r.fault]
            rates = {r.shape[1]: (r.images, r.validated) for r in mine}
            if len(rates) == len(DEPTHS):
                minutes[widths, way.name] = grid_minutes(rates)
    cells = [(widths, way, f"{m:,.1f}") for (widths, way), m in minutes.items()]
    parts = ["## The full grid, projected", table(("widths", "way", "minutes"), cells)]
    lines = []
    for widths, target in TARGET_MINUTES.items():
        found = {way: m for (w, way), m in minutes.items() if w == widths}
        if found:
            best = min(found, key=lambda way: found[way])
            lines.append(at_most(f"best for {widths} widths: {best}, minutes", found[best], target))
    return [*parts, "\n".join(lines)]


def main() -> None:
    made = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    made.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    made.add_argument("--only", default="", help="ways whose name contains this")
    made.add_argument("--quick", action="store_true", help="tiny; to see that it runs")
    made.add_argument("--out", type=Path, help="also write the Markdown to this file")
    options = made.parse_args()
    scale = Scale.quick(options.device) if options.quick else Scale(options.device)
    with new_pool(1) as pool:
        name, operations, moved = pool.submit(limits, scale).result()
    chosen = [way for way in ways(scale) if options.only in way.name]
    rows = [row for way in chosen for row in run(way, scale, SHAPES)]
    faults = [
        f"- {r.shape[0]}, depth {r.shape[1]}, {r.way.name}: {r.fault}" for r in rows if r.fault
    ]
    publish(
        "Ways of sharing a GPU" + (" (quick: the figures mean nothing)" if options.quick else ""),
        [
            f"{name}. {machine('torch', 'numpy')} {mps_line()}",
            f"Limits measured here: {operations / 1e12:.3g} TFLOP/s (bf16 product of side "
            f"{scale.matrix}), {moved / 1e9:.4g} GB/s (copy, read and written).",
            f"{scale.size}x{scale.size}, batch {scale.batch}, loss {LOSS}.",
            rows_table(rows, scale, (operations, moved)),
            "\n".join(["Failed:", "", *faults]) if faults else "",
            *grid_part(rows, chosen),
        ],
        options.out,
    )


if __name__ == "__main__":
    main()
