"""GPUs that pretend: each holds so many slices, over all processes that train on it.

What a process takes is held until it starts another trial or ends, as with a real allocator. Every
training step is noted, with the processes that lived on the same GPU at that moment. Batches up to
a third of a GPU always find room, so that it is not left to chance who is refused.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

import gitract_core.training.loop
from gitract_core.device import Runtime
from gitract_core.networks import build_network
from gitract_core.spec import TrialSpec
from gitract_core.trial.data import TrialData
from tests.support.waiting import LONG_SECONDS

_STEP_SECONDS = 0.03


@dataclass(frozen=True)
class Step:
    """A batch on its way through a network in training."""

    at: float
    gpu: str
    process: int
    key: str
    size: int
    neighbors: list[int]
    fits: bool


@dataclass(frozen=True)
class SmallGpuData(TrialData):
    """Data that bring such GPUs along into every worker process."""

    notes: Path = Path()
    holds: int = 0
    meeting: int = 1  # a trial goes on only when so many processes have begun one

    @classmethod
    def of(cls, data: TrialData, notes: Path, holds: int, meeting: int = 1) -> SmallGpuData:
        notes.mkdir()
        values = {f.name: getattr(data, f.name) for f in dataclasses.fields(data)}
        return cls(**values, notes=notes, holds=holds, meeting=meeting)

    def check(self, spec: TrialSpec) -> None:
        """In the worker, before it looks at its device."""
        super().check(spec)
        Runtime.torch_device = _processor  # type: ignore[method-assign]
        gpu = _Gpu(self, spec.key)
        deadline = time.monotonic() + LONG_SECONDS
        while len(list(self.notes.glob("*.held"))) < self.meeting and time.monotonic() < deadline:
            time.sleep(0.05)

        def pretending(*arguments: Any) -> nn.Module:
            network = build_network(*arguments)
            network.register_forward_pre_hook(gpu.take)
            return network

        gitract_core.training.loop.build_network = pretending  # type: ignore[attr-defined]

    def steps(self) -> list[Step]:
        """All that was noted, in time."""
        lines = [line for f in self.notes.glob("*.jsonl") for line in f.read_text().splitlines()]
        return sorted((Step(**json.loads(line)) for line in lines), key=lambda step: step.at)


def _processor(runtime: Runtime) -> torch.device:
    torch.set_num_threads(runtime.threads)
    return torch.device("cpu")


class _Gpu:
    """The GPU that this process was given."""

    def __init__(self, data: SmallGpuData, key: str) -> None:
        self.data, self.key = data, key
        self.name = os.environ.get("NODE", "") + os.environ["CUDA_VISIBLE_DEVICES"]
        self.held = data.notes / f"gpu{self.name}-{os.getpid()}.held"
        self.held.write_text("0")

    def take(self, network: nn.Module, inputs: tuple[torch.Tensor]) -> None:
        if not network.training:
            return
        time.sleep(_STEP_SECONDS)
        size, others = len(inputs[0]), self._others()
        fits = min(3 * size, size + sum(others.values())) <= self.data.holds
        note = Step(time.monotonic(), self.name, os.getpid(), self.key, size, [*others], fits)
        with (self.data.notes / f"{os.getpid()}.jsonl").open("a") as out:
            out.write(json.dumps(dataclasses.asdict(note)) + "\n")
        if not fits:
            self.held.write_text("0")
            raise torch.OutOfMemoryError("CUDA out of memory, says the test")
        self.held.write_text(str(max(size, int(self.held.read_text() or 0))))

    def _others(self) -> dict[int, int]:
        """What other processes that live hold of this GPU."""
        found = {}
        for file in self.data.notes.glob(f"gpu{self.name}-*.held"):
            process = int(file.stem.partition("-")[2])
            if process != os.getpid():
                with contextlib.suppress(OSError):
                    os.kill(process, 0)
                    found[process] = int(file.read_text() or 0)
        return found
