"""Sweeps whose trials ask for more memory than a device has."""

from __future__ import annotations

import dataclasses
from collections import Counter
from pathlib import Path

from gitract_core.results.trial_result import TrialResult
from gitract_core.trial.run import run_trial
from orchestrator.capacity.trial_slots import Slots
from orchestrator.execution.executor import Jobs, TrialEvent
from orchestrator.storage.local_folder import LocalRun
from orchestrator.sweeps.preparation import PreparedSweep
from tests.support.faulty_trials import same_but_for_cost
from tests.support.small_gpus import SmallGpuData, Step
from tests.support.tiny_sweep import prepare_tiny

HOLDS = 6


LIGHT, MEDIUM, HEAVY = 2, 5, 8  # slices a batch; beside a light one neither of the others fits


TWO_GPUS = Slots(4, gpus=0.5, device="cuda")


def sweep_beyond_memory(data: Path, home: Path) -> tuple[PreparedSweep, SmallGpuData]:
    """A medium and a heavy trial among light ones, on GPUs that hold six slices each."""
    light: list[dict[str, object]] = [
        {"optimizer.batch_size": LIGHT, "optimizer.learning_rate": 0.01 * n} for n in range(1, 5)
    ]
    long = {"training.epochs": 12, "training.patience": 12}
    sizes = [{"optimizer.batch_size": n, **long} for n in (MEDIUM, HEAVY)]
    sweep = prepare_tiny(data, home / "run", *sizes, *light)
    wide = [s for s in sweep.specs if size_of(sweep, s.key) > LIGHT and s.fold == 0]
    narrow = [s for s in sweep.specs if size_of(sweep, s.key) == LIGHT]
    order = [*narrow[:1], wide[0], *narrow[1:4], wide[1], *narrow[4:]]
    sweep = dataclasses.replace(sweep, pending=order)
    return sweep, SmallGpuData.of(sweep.data, home / "notes", HOLDS)


def size_of(sweep: PreparedSweep, key: str) -> int:
    return next(s for s in sweep.specs if s.key == key).candidate.optimizer.batch_size


def jobs_of(sweep: PreparedSweep, data: SmallGpuData) -> Jobs:
    return Jobs(sweep.pending, data, LocalRun(sweep.directory.path), TWO_GPUS, retries=0)


def check_ladder(sweep: PreparedSweep, data: SmallGpuData, events: list[TrialEvent]) -> None:
    """What must be true of such a sweep on two GPUs, whoever ran it."""
    finished = [event.key for event in events if event.kind == "finished"]
    assert sorted(finished) == sorted(spec.key for spec in sweep.pending), events
    wide = {s.key for s in sweep.pending if size_of(sweep, s.key) > LIGHT}
    errors = Counter((e.key, e.fault) for e in events if e.kind in ("error", "failed"))
    assert errors == {(key, "memory_shared"): 1 for key in wide}, (
        "one attempt each, and no retry is used"
    )
    for spec in sweep.pending:
        result = TrialResult.load(sweep.directory.trial(spec).result)
        size = size_of(sweep, spec.key)
        parts = size // 2 if size == HEAVY else size
        assert result.environment["micro_batch"] == parts, (
            "in parts only where alone was not enough"
        )
    steps = data.steps()
    for key in wide:
        check_alone(key, [step for step in steps if step.key == key], steps)


def check_alone(key: str, own: list[Step], steps: list[Step]) -> None:
    alone = second_attempt(own)
    assert not [step for step in alone if step.neighbors], "nobody else lived on its GPU"
    assert len({(step.gpu, step.process) for step in alone}) == 1
    there = [s for s in steps if s.gpu == alone[0].gpu and s.key != key]
    assert not [s for s in there if alone[0].at <= s.at <= alone[-1].at]
    if alone[0].size == MEDIUM:  # the heavy one may be the last of all
        since = [s for s in steps if s.gpu != alone[0].gpu and s.fits and s.key != key]
        since = [s for s in since if own[0].at < s.at < alone[-1].at]
        assert len(since) > 5, "the other GPU did not wait"


def second_attempt(own: list[Step]) -> list[Step]:
    """The steps after the first that was refused, which must have been beside others."""
    refused = next(place for place, step in enumerate(own) if not step.fits)
    assert own[refused].neighbors or own[refused].size > HOLDS
    return own[refused + 1 :]


def is_exact(sweep: PreparedSweep, home: Path) -> bool:
    """Whether the medium trial ended as if nobody had been there."""
    medium = next(s for s in sweep.pending if size_of(sweep, s.key) == MEDIUM)
    got = TrialResult.load(sweep.directory.trial(medium).result)
    return same_but_for_cost(got, run_trial(medium, sweep.data, home / "undisturbed"))
