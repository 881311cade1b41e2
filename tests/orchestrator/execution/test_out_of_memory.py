"""Trials that run out of memory beside others: alone on a whole GPU first, in parts only then."""

from __future__ import annotations

import dataclasses
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from gitract_core.results.trial_result import TrialResult
from orchestrator.capacity.trial_slots import Slots
from orchestrator.execution.executor import Jobs, TrialEvent, attempt
from orchestrator.execution.local.executor import LocalExecutor
from orchestrator.execution.out_of_memory import ToRunAlone
from orchestrator.report.progress_table import SweepProgress
from orchestrator.results.status import read_status
from orchestrator.storage.local_folder import LocalRun
from orchestrator.sweeps.preparation import PreparedSweep
from tests.support.beyond_memory import (
    HEAVY,
    MEDIUM,
    TWO_GPUS,
    check_ladder,
    is_exact,
    jobs_of,
    second_attempt,
    size_of,
    sweep_beyond_memory,
)
from tests.support.small_device import SmallDevice, device_of
from tests.support.small_gpus import SmallGpuData
from tests.support.tiny_sweep import prepare_tiny


def check_nothing_came_in_between(sweep: PreparedSweep, data: SmallGpuData) -> None:
    """From the medium trial's refusal to its end no other one started on the GPU kept for it."""
    steps = data.steps()
    own = [step for step in steps if size_of(sweep, step.key) == MEDIUM]
    alone = second_attempt(own)
    refused = own[-len(alone) - 1]
    begun = {step.key: step.at for step in reversed(steps) if step.gpu == alone[0].gpu}
    assert not [at for at in begun.values() if refused.at < at < alone[-1].at]


@pytest.mark.slow
def test_memory_ladder_in_local_processes(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    monkeypatch.setattr("orchestrator.execution.local.worker_pool.gpu_memory_sizes", lambda: [1, 1])
    sweep, data = sweep_beyond_memory(tiny, tmp_path)
    events: list[TrialEvent] = []
    LocalExecutor().run(jobs_of(sweep, data), events.append)
    check_ladder(sweep, data, events)
    check_nothing_came_in_between(sweep, data)
    assert is_exact(sweep, tmp_path)


@pytest.mark.slow
def test_the_only_gpu_is_emptied_and_filled_again(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also by the next command, which knows from the trial's files that it has to be alone."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    monkeypatch.setattr("orchestrator.execution.local.worker_pool.gpu_memory_sizes", lambda: [1])
    sweep, data = sweep_beyond_memory(tiny, tmp_path)
    light, medium, *more, _ = sweep.pending
    heavy = next(s for s in sweep.pending if size_of(sweep, s.key) == HEAVY)
    jobs = dataclasses.replace(jobs_of(sweep, data), specs=[heavy, light, medium, *more[:1]])
    jobs = dataclasses.replace(jobs, slots=Slots(2, gpus=0.5, device="cuda"))
    ToRunAlone(jobs).note(TrialEvent(heavy.key, "error", message="earlier", fault="memory_shared"))
    events: list[TrialEvent] = []
    LocalExecutor().run(jobs, events.append)
    assert [e.key for e in events if e.kind == "error"] == [medium.key]
    assert sum(event.kind == "finished" for event in events) == 4
    steps = data.steps()
    its = {spec.key: [s for s in steps if s.key == spec.key] for spec in (medium, heavy)}
    for alone in (second_attempt(its[medium.key]), its[heavy.key]):
        assert not [step for step in alone if step.neighbors]
        during = [s for s in steps if alone[0].at <= s.at <= alone[-1].at]
        assert during == alone


def test_both_steps_are_told(tiny: Path, tmp_path: Path) -> None:
    sweep = prepare_tiny(tiny, tmp_path / "run")
    spec, text = sweep.specs[0], StringIO()
    shared = Jobs(sweep.pending, sweep.data, LocalRun(sweep.directory.path), Slots(2, gpus=0.5), 0)
    progress = SweepProgress(Console(file=text, width=200), sweep.directory, sweep.specs)
    with device_of(SmallDevice(2)) as _:
        (event,) = attempt(spec, shared)
        progress(event.for_listeners())
        ToRunAlone(shared).note(event)
        assert (event.kind, event.fault, event.may_pass) == ("error", "memory_shared", True)
        assert (
            "out of memory beside other trials: CUDA out of memory, says the test"
            in text.getvalue()
        )
        assert "runs again alone on a whole GPU" in text.getvalue()
        progress.console.print(progress._table())
        assert "alone" in text.getvalue().splitlines()[-2]
        assert read_status(sweep.directory).trials[0].alone
        for event in attempt(spec, shared.alone()):
            progress(event.for_listeners())
    assert "memory ran out; batches of 4 went in parts of 2 slices" in text.getvalue()
    told = read_status(sweep.directory).trials[0]
    assert (told.state, told.alone, told.micro_batch) == ("finished", True, 2)


@pytest.mark.parametrize("slots", [Slots(2), Slots(2, gpus=1.0)])
def test_who_has_no_neighbors_splits_at_once(slots: Slots, tiny: Path, tmp_path: Path) -> None:
    sweep = prepare_tiny(tiny, tmp_path / "run", {"training.epochs": 1})
    jobs = Jobs(sweep.pending, sweep.data, LocalRun(sweep.directory.path), slots, 0)
    with device_of(SmallDevice(2)):
        assert [event.kind for event in attempt(sweep.specs[0], jobs)] == ["epoch", "finished"]
    result = TrialResult.load(jobs.files(sweep.specs[0].key).result)
    assert result.environment["micro_batch"] == 2
    ToRunAlone(jobs).note(TrialEvent(sweep.specs[0].key, "error", fault="memory_shared"))
    assert sweep.specs[0].key not in ToRunAlone(jobs), "of another sweep, that shared its GPUs"


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        (RuntimeError("CUDA error: out of memory\nmore"), "memory_shared"),
        (
            RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate`"),
            "memory_shared",
        ),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), "error"),
        (RuntimeError("out of memory of another kind"), "error"),
        (MemoryError("the machine's"), "memory"),
    ],
)
def test_what_counts_as_the_devices_memory(error: Exception, fault: str) -> None:
    assert TrialEvent.from_exception("key", error, shared=True).fault == fault
    alone = TrialEvent.from_exception("key", error).fault
    assert alone == ("memory" if fault == "memory_shared" else fault)


def test_a_full_disk_does_not_forget_who_is_to_run_alone(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = prepare_tiny(tiny, tmp_path / "run")
    jobs = Jobs(sweep.pending, sweep.data, LocalRun(sweep.directory.path), TWO_GPUS, 0)

    def full(*_: object) -> None:
        raise OSError("no room")

    monkeypatch.setattr("orchestrator.execution.out_of_memory.write_json", full)
    noted = ToRunAlone(jobs)
    noted.note(TrialEvent(sweep.specs[0].key, "error", fault="memory_shared"))
    assert sweep.specs[0].key in noted
    assert sweep.specs[0].key not in ToRunAlone(jobs)
