"""Trainings whose captured steps are rehearsed on a CPU."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch

from gitract_core.device import Replayed
from gitract_core.prediction.device_slices import slices_on
from gitract_core.spec import TrialSpec
from gitract_core.training.loop import FoldSlices, Training
from gitract_core.trial.run import fold_slices
from orchestrator.sweeps.preparation import PreparedSweep

CPU = torch.device("cpu")


class Rehearsed(Replayed):
    """As on CUDA: the work is run a few times while it is recorded."""

    def __init__(self, work: Callable[[], torch.Tensor], device: torch.device, name: str) -> None:
        for _ in range(4):
            work()
        super().__init__(work, device, name)


def fold_of(sweep: PreparedSweep, spec: TrialSpec) -> FoldSlices:
    cache = sweep.data.cache(32)
    return fold_slices(cache, slices_on(cache, CPU), sweep.data.plan, spec.fold)


def make(sweep: PreparedSweep, number: int = 0, *, capture: bool = False) -> Training:
    spec = sweep.specs[number]
    data = fold_of(sweep, spec)
    data = replace(data, training=data.training[:11])  # the last batch of 4 is a part
    return Training(spec, data, CPU, capture=capture)


def figures(training: Training) -> list[tuple[object, ...]]:
    records = [replace(r, seconds=0.0) for r in training.records]
    moving = training.optimizer.state_dict()["state"].values()
    moments = [tuple(v.flatten().tolist()) for s in moving for v in s.values()]
    states = training.network.state_dict(), training.judged.state_dict()
    weights = [tuple(v.flatten().tolist()) for state in states for v in state.values()]
    return [tuple(map(repr, records)), *weights, *moments]


def run(training: Training, epochs: int) -> Training:
    for _ in range(epochs):
        training.run_epoch()
    return training
