"""One contract for both executors: equal results, failures told, nothing lost."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from gitract_core.errors import RunError, TrialError
from gitract_core.files.atomic import read_json
from gitract_core.plugins import load_plugins
from gitract_core.results.trial_result import TrialResult
from gitract_core.spec import TrialSpec
from orchestrator.capacity.trial_slots import Slots
from orchestrator.execution.executor import Executor, Jobs, TrialEvent
from orchestrator.execution.local.executor import LocalExecutor
from orchestrator.execution.termination import Terminated, termination
from orchestrator.storage.local_folder import LocalRun
from orchestrator.sweeps.preparation import PreparedSweep, SweepRequest, prepare
from tests.support.plugin_files import digest, no_plugins, write_plugin
from tests.support.tiny_contest import write_tiny_contest
from tests.support.tiny_sweep import prepare_tiny, tiny_space
from tests.support.waiting import wait_until


@pytest.fixture(params=["local", pytest.param("ray", marks=pytest.mark.ray)])
def executor(request: pytest.FixtureRequest) -> Executor:
    if request.param == "local":
        return LocalExecutor()
    session: Executor = request.getfixturevalue("ray_session")
    return session


def _run(executor: Executor, sweep: PreparedSweep, retries: int = 0) -> list[TrialEvent]:
    events: list[TrialEvent] = []
    jobs = Jobs(sweep.pending, sweep.data, LocalRun(sweep.directory.path), Slots(2), retries)
    executor.run(jobs, events.append)
    return events


def _results(sweep: PreparedSweep) -> dict[str, tuple[TrialResult, object]]:
    """Of each trial its result, and the digest of its weights."""
    loaded = [TrialResult.load(sweep.directory.trial(spec).result) for spec in sweep.specs]
    return {
        result.spec.key: (dataclasses.replace(result, cost={}), result.files["best.safetensors"])
        for result in loaded
    }


@dataclasses.dataclass(frozen=True)
class Naming:
    """Work that tells the name, its process and how often it began there; names can be faults.

    With ``meeting``, a folder, a process goes on only when a second one has begun as well.
    """

    once: Path | None = None
    meeting: Path | None = None

    def begin(self) -> Callable[[str], tuple[str, int, int]]:
        begun = []

        def made(name: str) -> tuple[str, int, int]:
            begun.append(name)
            if name == "fault":
                raise RunError("scan", "an image", "none", "restore it")
            if name == "death" and not (self.once and self.once.exists()):
                if self.once:
                    self.once.touch()
                os._exit(3)
            if self.meeting:
                (self.meeting / str(os.getpid())).touch()
                meeting = self.meeting
                wait_until(lambda: len(list(meeting.iterdir())) >= 2)
            return name, os.getpid(), len(begun)

        return made


def test_work_is_shared_and_comes_back_in_order(executor: Executor, tmp_path: Path) -> None:
    names = [f"scan {number}" for number in range(24)]
    found = list(executor.map(Naming(meeting=tmp_path), names, Slots(2)))
    assert [name for name, *_ in found] == names
    processes = {process for _, process, _ in found}
    assert len(processes) == 2
    assert os.getpid() not in processes
    for process in processes:  # begun once, kept from name to name
        counts = [count for _, its, count in found if its == process]
        assert sorted(counts) == list(range(1, len(counts) + 1))


def test_work_in_a_single_slot_needs_no_other_process() -> None:
    found = list(LocalExecutor().map(Naming(), ["a", "b"], Slots(1)))
    assert found == [("a", os.getpid(), 1), ("b", os.getpid(), 2)]


def test_error_of_a_scan_reaches_the_caller(executor: Executor) -> None:
    running = executor.map(Naming(), ["a", "b", "fault", *"cdefgh"], Slots(2))
    assert [next(running)[0], next(running)[0]] == ["a", "b"]
    with pytest.raises(RunError, match="scan: expected an image, got none; restore it"):
        next(running)


def test_dead_worker_is_told_locally() -> None:
    with pytest.raises(TrialError, match="a process that lives"):
        list(LocalExecutor().map(Naming(), ["a", "death", "b"], Slots(2)))


@pytest.mark.ray
def test_dead_worker_is_replaced_by_ray(ray_session: Executor, tmp_path: Path) -> None:
    work = Naming(tmp_path / "died")
    found = [name for name, *_ in ray_session.map(work, ["a", "death", "b", "c"], Slots(2))]
    assert found == ["a", "death", "b", "c"]
    assert work.once
    assert work.once.exists()


@pytest.mark.ray
def test_worker_that_dies_again_and_again_is_told(ray_session: Executor) -> None:
    with pytest.raises(TrialError, match="one lost three times"):
        list(ray_session.map(Naming(), ["a", "death"], Slots(2)))


@pytest.mark.ray
@pytest.mark.slow
def test_local_and_ray_give_equal_results(
    tiny: Path, tmp_path: Path, ray_session: Executor
) -> None:
    changes: list[dict[str, object]] = [{"loss": "bce"}, {"loss": "dice"}]
    sweeps = [prepare_tiny(tiny, tmp_path / name, *changes) for name in ("local", "ray")]
    for executor, sweep in zip((LocalExecutor(), ray_session), sweeps, strict=True):
        events = _run(executor, sweep)
        finished = [event.key for event in events if event.kind == "finished"]
        assert sorted(finished) == sorted(spec.key for spec in sweep.specs)
        epochs = [event for event in events if event.kind == "epoch"]
        assert len(epochs) == 3 * len(sweep.specs)
        assert all(event.record for event in epochs)
    assert _results(sweeps[0]) == _results(sweeps[1])


def test_faulty_trial_fails_for_good_and_the_others_finish(
    executor: Executor, tiny: Path, tmp_path: Path
) -> None:
    sweep = prepare_tiny(tiny, tmp_path / "run", {"training.epochs": 1})
    foreign = dataclasses.replace(sweep.specs[0], data_fingerprint="0" * 16)
    sweep = dataclasses.replace(sweep, pending=[foreign, sweep.specs[1]])
    events = _run(executor, sweep, retries=2)
    kinds = [(e.key, e.kind) for e in events if e.kind != "epoch"]
    assert kinds.count((foreign.key, "error")) == 1  # an error of ours is not tried again
    assert (foreign.key, "failed") in kinds
    assert (sweep.specs[1].key, "finished") in kinds
    failure = read_json(sweep.directory.trial(foreign).failure)
    assert "data set 0000" in failure["message"]


def test_attempts_that_may_pass_are_repeated(
    executor: Executor, tiny: Path, tmp_path: Path
) -> None:
    sweep = prepare_tiny(tiny, tmp_path / "run", {"training.epochs": 1})
    blocked = sweep.directory.trial(sweep.specs[0])
    blocked.directory.parent.mkdir(exist_ok=True)
    blocked.directory.write_text("a file where a directory should be")
    jobs = Jobs(sweep.pending[:1], sweep.data, LocalRun(sweep.directory.path), Slots(1), 2)
    events: list[TrialEvent] = []

    def on_event(event: TrialEvent) -> None:
        events.append(event)
        if event.kind == "error" and blocked.directory.is_file():
            blocked.directory.unlink()

    executor.run(jobs, on_event)
    assert [e.kind for e in events] == ["error", "epoch", "finished"]
    assert "FileExistsError" in events[0].message


class Stopping:
    """A course that drops some trials at the first epoch of any, and adds others at the end."""

    def __init__(self, dropped: set[str], added: list[TrialSpec]) -> None:
        self.to_drop, self.added = dropped, added
        self.display = threading.RLock()  # a live table cannot be pickled either
        self.dropped: set[str] = set()
        self.events: list[TrialEvent] = []

    def __call__(self, event: TrialEvent) -> None:
        self.events.append(event)
        if event.kind == "epoch" and event.key in self.to_drop:
            self.dropped = self.to_drop

    def wanted(self, key: str) -> bool:
        return key not in self.dropped

    def more(self) -> list[TrialSpec]:
        added, self.added = self.added, []
        return added

    def kinds(self, spec: TrialSpec) -> list[str]:
        return [e.kind for e in self.events if e.key == spec.key]


def test_unwanted_trials_stop_after_an_epoch_or_never_start(
    executor: Executor, tiny: Path, tmp_path: Path
) -> None:
    changes: list[dict[str, object]] = [{"training.epochs": 400}, {"training.epochs": 2}]
    sweep = prepare_tiny(tiny, tmp_path / "run", *changes)
    long = [s for s in sweep.specs if s.candidate.training.epochs == 400]
    short = [s for s in sweep.specs if s.candidate.training.epochs == 2]
    course = Stopping({s.key for s in long}, short[1:])
    jobs = Jobs(
        [*long[:1], short[0], *long[1:]], sweep.data, LocalRun(sweep.directory.path), Slots(1)
    )
    executor.run(jobs, course, course)
    kinds = course.kinds(long[0])
    assert kinds[-1] == "stopped"
    assert set(kinds[:-1]) == {"epoch"}
    assert len(kinds) < 100, "it did not run on"
    assert sweep.directory.trial(long[0]).checkpoint.is_file()
    assert not course.kinds(long[1])
    assert not sweep.directory.trial(long[1]).history.exists()
    for spec in short:
        assert course.kinds(spec) == ["epoch", "epoch", "finished"]


class Holding:
    """A course with one more trial, given only after an epoch of another one."""

    def __init__(self, held: TrialSpec, after: tuple[TrialSpec, int]) -> None:
        self.held: list[TrialSpec] = [held]
        self.key, self.epoch = after[0].key, after[1]
        self.may = False
        self.busy: set[str] = set()
        self.asked: list[int] = []
        self.ended: list[str] = []

    def __call__(self, event: TrialEvent) -> None:
        if event.kind == "epoch":
            self.busy.add(event.key)
            assert event.record
            self.may |= event.key == self.key and event.record.epoch >= self.epoch
        if event.kind == "finished":
            self.busy.discard(event.key)
            self.ended.append(event.key)

    def wanted(self, key: str) -> bool:
        return True

    def more(self) -> list[TrialSpec]:
        self.asked.append(len(self.busy))
        held, self.held = (self.held, []) if self.may else ([], self.held)
        return held


def test_a_course_is_asked_again_while_others_run_and_only_for_a_free_slot(
    executor: Executor, tiny: Path, tmp_path: Path
) -> None:
    longest = 60 if isinstance(executor, LocalExecutor) else 150  # Ray's actors start for seconds
    changes: list[dict[str, object]] = [
        {"training.epochs": n, "training.patience": n} for n in (longest, 2, 3)
    ]
    sweep = prepare_tiny(tiny, tmp_path / "run", *changes)
    of = {s.candidate.training.epochs: s for s in sweep.specs if s.fold == 0}
    course = Holding(of[3], (of[longest], 20))
    jobs = Jobs([of[longest], of[2]], sweep.data, LocalRun(sweep.directory.path), Slots(2))
    executor.run(jobs, course, course)
    assert course.ended == [of[2].key, of[3].key, of[longest].key]
    assert max(course.asked) == 1, "one of two slots was free whenever it was asked"


def test_a_stopped_trial_goes_on_where_it_stopped(
    executor: Executor, tiny: Path, tmp_path: Path
) -> None:
    sweep = prepare_tiny(tiny, tmp_path / "run", {"training.epochs": 40, "training.patience": 40})
    spec = sweep.specs[0]
    course = Stopping({spec.key}, [])
    executor.run(Jobs([spec], sweep.data, LocalRun(sweep.directory.path), Slots(1)), course, course)
    assert course.kinds(spec)[-1] == "stopped"
    events = _run(executor, dataclasses.replace(sweep, pending=[spec]))
    epochs = [e.record.epoch for e in (*course.events, *events) if e.record]
    assert epochs == list(range(1, 41))
    assert events[-1].kind == "finished"


def test_sigterm_saves_running_trials_which_go_on_from_there(
    executor: Executor, tiny: Path, tmp_path: Path
) -> None:
    sweep = prepare_tiny(tiny, tmp_path / "run", {"training.epochs": 60, "training.patience": 60})
    jobs = Jobs(sweep.pending[:1], sweep.data, LocalRun(sweep.directory.path), Slots(1))
    files, events = sweep.directory.trial(sweep.pending[0]), list[TrialEvent]()

    def on_event(event: TrialEvent) -> None:
        if event.kind == "epoch" and not events:
            os.kill(os.getpid(), signal.SIGTERM)
        events.append(event)

    with termination(), pytest.raises(Terminated, match="1 of 1 running trial saved"):
        executor.run(jobs, on_event)
    assert not files.is_finished()
    assert not list(files.directory.glob(".*.part"))
    state = torch.load(files.checkpoint, weights_only=True)
    done = len(state["records"])
    assert 1 <= done < 60
    events.clear()
    executor.run(jobs, events.append)
    assert [e.record.epoch for e in events if e.record] == [*range(done + 1, 61)]
    assert events[-1].kind == "finished"


def test_killed_worker_costs_one_attempt(tiny: Path, tmp_path: Path) -> None:
    sweep = prepare_tiny(tiny, tmp_path / "run", {"training.epochs": 40})
    jobs = Jobs(sweep.pending[:1], sweep.data, LocalRun(sweep.directory.path), Slots(1), 1)
    events: list[TrialEvent] = []

    def on_event(event: TrialEvent) -> None:
        if event.kind == "epoch" and not any(e.kind == "epoch" for e in events):
            os.kill(_only_child(), signal.SIGKILL)
        events.append(event)

    LocalExecutor().run(jobs, on_event)
    errors = [e for e in events if e.kind == "error"]
    assert len(errors) == 1
    assert "exit code -9" in errors[0].message
    assert events[-1].kind == "finished"
    resumed = [e.record.epoch for e in events if e.record]
    assert resumed.count(1) == 1, "the second attempt goes on from the checkpoint"


def _only_child() -> int:
    import multiprocessing

    wait_until(multiprocessing.active_children)
    return int(multiprocessing.active_children()[0].pid or 0)


@pytest.mark.ray
def test_missing_token_is_said_in_one_line(tmp_path: Path) -> None:
    """In a process of its own: Ray reads the mode once."""
    code = "from orchestrator.cli import main; main()"
    keys = ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")
    environment = {name: value for name, value in os.environ.items() if name not in keys}
    environment |= {"HOME": str(tmp_path), "RAY_AUTH_MODE": "token"}
    data = write_tiny_contest(tmp_path / "data")
    options = ("--data", str(data), "--space", "smoke", "--folds", "2")
    done = subprocess.run(
        [sys.executable, "-c", code, "sweep", "--address", "127.0.0.1:1", *options],
        env=environment | {"PYTHONPATH": str(Path(__file__).resolve().parent.parent.parent.parent)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("gitract-cv: RAY_AUTH_MODE: expected the cluster's token, got "), last
    assert "copy ~/.ray/auth_token" in last
    assert "Traceback" not in done.stderr


def test_workers_that_never_saw_a_plugins_file_train_its_candidates(
    executor: Executor, tiny: Path, tmp_path: Path
) -> None:
    """They get its text, and execute it only if the driver was given the file."""
    with no_plugins():
        file = write_plugin(tmp_path)
        plugins, space = load_plugins([file]), tiny_space({"network.family": "one_layer"})
        sweep = prepare(SweepRequest(tiny, space, tmp_path / "run", plugins=plugins))
        file.unlink()
        assert sweep.data.plugins == plugins
        unnamed = Jobs(
            sweep.pending[:1],
            dataclasses.replace(sweep.data, plugins=()),
            LocalRun(sweep.directory.path),
            Slots(1),
        )
        events: list[TrialEvent] = []
        executor.run(unnamed, events.append)
        assert events[-1].fault == "refused"
        assert f"--plugin: expected the file with the hash {digest()}, got none" in (
            events[-1].message
        )
        assert [e.kind for e in _run(executor, sweep) if e.kind != "epoch"] == ["finished"] * 2
