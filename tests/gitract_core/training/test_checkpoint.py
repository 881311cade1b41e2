"""A trial killed inside an epoch goes on from there and ends as if nothing had happened."""

from __future__ import annotations

import dataclasses
import os
import signal
from pathlib import Path

import pytest
import torch

from gitract_core.device import Runtime
from gitract_core.errors import RunError
from gitract_core.results.trial_result import TrialFiles, TrialResult, read_history
from gitract_core.training.checkpoint import Checkpoints, restore
from gitract_core.training.step import TrainingStep
from gitract_core.trial.data import TrialData
from gitract_core.trial.run import iterate_trial, run_trial
from orchestrator.capacity.trial_slots import Slots
from orchestrator.execution.executor import Jobs, TrialEvent
from orchestrator.execution.local.executor import LocalExecutor
from orchestrator.storage.local_folder import LocalRun
from tests.support.faulty_trials import same_but_for_cost
from tests.support.killed_trainings import Killed, Steps, epochs_of
from tests.support.rehearsed_steps import Rehearsed, figures, make, run
from tests.support.small_device import SmallDevice, device_of
from tests.support.tiny_sweep import prepare_tiny

MINUTES = 1.0  # a checkpoint after every third step
KILLED_AFTER, SAVED_AFTER = 5, 3  # steps of the second epoch
CHANGES: tuple[dict[str, object], ...] = (
    {"loss": "bce + dice"},
    {"input.context": 3, "augmentation.kinds": "elastic+noise+blur+affine+flip+intensity"},
    {"optimizer.schedule": "cosine", "optimizer.name": "adamw"},
    {"training.precision": "bf16", "input.channels": 3},
)


@pytest.mark.parametrize("capture", [False, True], ids=["plain", "captured"])
@pytest.mark.parametrize("changes", CHANGES, ids=str)
def test_killed_in_mid_epoch_goes_on_from_there_and_ends_bit_identical(
    changes: dict[str, object],
    capture: bool,
    tiny: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gitract_core.training.captured_step.Replayed", Rehearsed)
    monkeypatch.setattr("gitract_core.trial.run.captures", lambda device: True)
    sweep = prepare_tiny(tiny, tmp_path / "run", {"optimizer.batch_size": 2, **changes})
    spec, whole, parts = sweep.specs[0], tmp_path / "whole", TrialFiles(tmp_path / "parts")
    with Steps().counted() as all_steps:
        expected = run_trial(spec, sweep.data, whole)
    in_epoch = all_steps.count // 3
    assert in_epoch > KILLED_AFTER
    runtime = Runtime("cpu", 1, capture=capture, checkpoint_minutes=MINUTES)
    with Steps(in_epoch + KILLED_AFTER).counted(), pytest.raises(Killed):
        run_trial(spec, sweep.data, parts.directory, runtime=runtime)
    assert len(read_history(parts.history)) == 1
    with Steps().counted() as left:
        found = run_trial(spec, sweep.data, parts.directory, runtime=runtime)
    assert left.count == 3 * in_epoch - in_epoch - SAVED_AFTER
    assert same_but_for_cost(found, expected)
    assert parts.best.read_bytes() == TrialFiles(whole).best.read_bytes()
    assert epochs_of(parts) == epochs_of(TrialFiles(whole))


def test_without_minutes_an_epoch_is_repeated_from_its_start(tiny: Path, tmp_path: Path) -> None:
    """And the seconds of a trial say what was trained twice no more than once."""
    sweep = prepare_tiny(tiny, tmp_path / "run", {"optimizer.batch_size": 2})
    spec, files = sweep.specs[0], TrialFiles(tmp_path / "trial")
    with Steps().counted() as whole:
        expected = run_trial(spec, sweep.data, tmp_path / "whole")
    runtime = Runtime("cpu", 1, checkpoint_minutes=0)
    with Steps(KILLED_AFTER).counted(), pytest.raises(Killed):
        run_trial(spec, sweep.data, files.directory, runtime=runtime)
    assert not files.checkpoint.exists()
    with Steps().counted() as again:
        assert same_but_for_cost(
            run_trial(spec, sweep.data, files.directory, runtime=runtime), expected
        )
    assert again.count == whole.count


def test_a_checkpoint_inside_an_epoch_leaves_history_and_best_weights_alone(
    tiny: Path, tmp_path: Path
) -> None:
    """After a best epoch the weights of the next one are under way, and are not the best."""
    training = run(make(prepare_tiny(tiny, tmp_path / "run")), 1)
    files = TrialFiles(tmp_path / "trial")
    checkpoints = Checkpoints(training, files, 1e-9)
    checkpoints.after_epoch()
    before = {file.name: file.read_bytes() for file in files.directory.iterdir()}
    training.run_epoch(checkpoints.after_step)
    changed = {f.name for f in files.directory.iterdir() if f.read_bytes() != before[f.name]}
    assert changed == {"checkpoint.pt"}


def test_the_state_after_every_step_leads_to_the_same_end(tiny: Path, tmp_path: Path) -> None:
    """Also after the last step, when validation alone is left; and with the time that it took."""
    sweep = prepare_tiny(tiny, tmp_path / "run", {"loss": "bce + dice"})
    whole, files = run(make(sweep), 2), TrialFiles(tmp_path / "trial")
    training, states = make(sweep), list[bytes]()
    checkpoints = Checkpoints(training, files, 1e-9)

    def keep() -> None:
        checkpoints.after_step()
        states.append(files.checkpoint.read_bytes())

    training.run_epoch(keep)
    training.run_epoch(keep)
    assert figures(training) == figures(whole), "to look changes nothing"
    assert len(states) == 6  # 11 slices in batches of 4, twice
    for number, state in enumerate(states):
        files.checkpoint.write_bytes(state)
        again = make(sweep)
        restore(again, files.checkpoint)
        assert figures(run(again, 2 - number // 3)) == figures(whole)


def test_what_was_spent_before_a_kill_counts(tiny: Path, tmp_path: Path) -> None:
    training, files = make(prepare_tiny(tiny, tmp_path / "run")), TrialFiles(tmp_path / "trial")
    checkpoints = Checkpoints(training, files, 1e-9)

    def spend() -> None:
        assert training.started
        training.started.began -= 100
        checkpoints.after_step()

    training.run_epoch(spend)
    again = make(prepare_tiny(tiny, tmp_path / "run"))
    restore(again, files.checkpoint)
    assert 300 < again.run_epoch().seconds < 400


def test_split_batches_are_remembered_inside_an_epoch(tiny: Path, tmp_path: Path) -> None:
    sweep = prepare_tiny(tiny, tmp_path / "run", {"loss": "bce"})
    spec, runtime = sweep.specs[0], Runtime("cpu", 1, checkpoint_minutes=1e-9)
    with device_of(SmallDevice(2)):
        expected = run_trial(spec, sweep.data, tmp_path / "whole", runtime=runtime)
        with Steps(3).counted(), pytest.raises(Killed):
            run_trial(spec, sweep.data, tmp_path / "parts", runtime=runtime)
    with device_of(small := SmallDevice(2)):
        found = run_trial(spec, sweep.data, tmp_path / "parts", runtime=runtime)
    assert small.refusals == 0
    assert same_but_for_cost(found, expected)


def test_a_damaged_state_inside_an_epoch_starts_the_trial_anew(tiny: Path, tmp_path: Path) -> None:
    sweep = prepare_tiny(tiny, tmp_path / "run")
    spec, files = sweep.specs[0], TrialFiles(tmp_path / "trial")
    next(iterate_trial(spec, sweep.data, files.directory))
    state = torch.load(files.checkpoint, weights_only=True)
    state["started"] = {"order": [1, 2]}
    torch.save(state, files.checkpoint)
    with pytest.raises(RunError, match="a checkpoint of this trial"):
        restore(make(sweep), files.checkpoint)
    assert [r.epoch for r in iterate_trial(spec, sweep.data, files.directory)] == [1, 2, 3]


@dataclasses.dataclass(frozen=True)
class DeadlyData(TrialData):
    """Data with which the first process to train it is killed by the system after some steps."""

    log: Path = Path()
    killed_after: int = 5

    def check(self, spec: object) -> None:
        step, log = TrainingStep.__call__, self.log

        def noted(moved: TrainingStep, images: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
            loss = step(moved, images, masks)
            with log.open("a") as file:
                print(os.getpid(), file=file)
            if len(log.read_text().splitlines()) == self.killed_after:
                os.kill(os.getpid(), signal.SIGKILL)
            return loss

        TrainingStep.__call__ = noted  # type: ignore[method-assign]  # in the worker alone


def test_a_worker_killed_in_mid_epoch_goes_on_from_there(tiny: Path, tmp_path: Path) -> None:
    """``kill -9`` of a real worker process, of which nothing is left but its files."""
    sweep = prepare_tiny(tiny, tmp_path / "run", {"optimizer.batch_size": 2})
    spec = sweep.specs[0]
    expected = run_trial(spec, sweep.data, tmp_path / "whole")
    fields = {f.name: getattr(sweep.data, f.name) for f in dataclasses.fields(sweep.data)}
    log = tmp_path / "steps"
    data, run = DeadlyData(**fields, log=log), LocalRun(sweep.directory.path)
    jobs = Jobs([spec], data, run, Slots(1), retries=1, checkpoint_minutes=1e-9)
    events: list[TrialEvent] = []
    LocalExecutor().run(jobs, events.append)
    assert [e.kind for e in events] == ["error", "epoch", "epoch", "epoch", "finished"]
    assert "exit code -9" in events[0].message
    processes = log.read_text().split()
    first, second = (processes.count(p) for p in dict.fromkeys(processes))
    assert (first, second) == (5, len(processes) - 5)
    training_slices = int(expected.environment["training_slices"])
    # The step that killed it was done but not saved.
    assert len(processes) == 3 * -(-training_slices // 2) + 1
    assert same_but_for_cost(TrialResult.load(jobs.files(spec.key).result), expected)
