"""What holds wherever a run lives: one suite, passed by a local folder and by an object store."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from gitract_core.errors import RunError
from gitract_core.results.trial_result import TrialFiles
from gitract_core.trial.run import run_trial
from orchestrator.capacity.trial_slots import Slots
from orchestrator.execution.executor import Jobs, attempt
from orchestrator.storage.local_folder import LocalRun
from orchestrator.storage.opening import existing_run, storage_at
from orchestrator.storage.remote_run import RemoteRun
from orchestrator.storage.run_storage import RunStorage
from orchestrator.sweeps.preparation import PreparedSweep
from tests.support.s3_server import Server, serving
from tests.support.tiny_sweep import prepare_tiny

Elsewhere = Callable[[], RunStorage]
"""The same run as another machine has it, whose own disk is empty."""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("cache")) as server:
        yield server


@pytest.fixture(params=["local folder", "object store"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> RunStorage:
    if request.param == "local folder":
        return storage_at(tmp_path / "run")
    request.getfixturevalue("store")
    return storage_at(Path(f"s3://bucket/runs/{uuid4().hex}/run"))


@pytest.fixture
def elsewhere(
    storage: RunStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Elsewhere]:
    """A folder is shared by machines; of a store each has a mirror of its own."""

    def moved() -> RunStorage:
        monkeypatch.setenv("GITRACT_CACHE", str(tmp_path / "another machine"))
        return pickle.loads(pickle.dumps(storage))

    return moved


def stored_sweep(storage: RunStorage, data: Path, epochs: int = 1) -> PreparedSweep:
    sweep = prepare_tiny(data, storage.directory, {"training.epochs": epochs})
    storage.push()
    return sweep


def test_a_path_names_the_form(storage: RunStorage, tmp_path: Path) -> None:
    assert isinstance(storage, LocalRun | RemoteRun)
    assert storage_at(Path(storage.name)) == storage
    assert storage.name.endswith("/run")
    assert storage.name.startswith("s3://") == isinstance(storage, RemoteRun)


def test_it_is_the_same_run_in_another_process(
    storage: RunStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Workers have other working directories."""
    near = LocalRun(Path("run")) if isinstance(storage, LocalRun) else storage
    monkeypatch.chdir(tmp_path)
    sent = pickle.dumps(near)
    (tmp_path / "away").mkdir()
    monkeypatch.chdir(tmp_path / "away")
    assert pickle.loads(sent).directory == storage.directory


def test_a_run_that_is_not_there_is_one_line(storage: RunStorage) -> None:
    storage.directory.mkdir(parents=True)
    (storage.directory / "notes.txt").write_text("no run")
    with pytest.raises(RunError, match=r"expected a run directory \(with sweep\.json\), got none"):
        existing_run(storage)


def test_what_is_written_is_read_elsewhere(
    storage: RunStorage, elsewhere: Elsewhere, tiny: Path
) -> None:
    sweep = stored_sweep(storage, tiny)
    (storage.directory / "report").mkdir()
    (storage.directory / "report/leaderboard.md").write_text("a table")
    storage.push("report")
    run = existing_run(elsewhere())
    assert run.record() == sweep.record
    assert (run.path / "report/leaderboard.md").read_text() == "a table"


def test_a_small_file_is_there_at_once(
    storage: RunStorage, elsewhere: Elsewhere, tiny: Path
) -> None:
    stored_sweep(storage, tiny)
    (storage.directory / "racing.json").write_text("{}")
    storage.collect_file("racing.json")
    assert (elsewhere().pull() / "racing.json").read_text() == "{}"


def test_files_without_weights_are_enough_for_a_report(
    storage: RunStorage, elsewhere: Elsewhere, tiny: Path
) -> None:
    sweep = stored_sweep(storage, tiny)
    spec = sweep.specs[0]
    result = run_trial(spec, sweep.data, storage.directory / "trials" / spec.key)
    storage.push_rest()
    there = existing_run(elsewhere(), bulky=False)
    assert there.trial(spec).is_finished()
    assert result.spec == spec


def test_a_trial_ends_elsewhere_and_comes_here(
    storage: RunStorage, elsewhere: Elsewhere, tiny: Path, tmp_path: Path
) -> None:
    """An attempt is stopped after an epoch, goes on on another machine, and is collected."""
    sweep = stored_sweep(storage, tiny, epochs=2)
    spec = sweep.specs[0]
    here = storage.directory
    begun = attempt(spec, Jobs([spec], sweep.data, storage, Slots(1)))
    assert next(begun).kind == "epoch"
    begun.close()
    with pytest.MonkeyPatch.context() as away:
        away.setenv("GITRACT_CACHE", str(tmp_path / "worker"))
        worker = pickle.loads(pickle.dumps(storage))
        kinds = [event.kind for event in attempt(spec, Jobs([spec], sweep.data, worker, Slots(1)))]
        assert kinds == ["epoch", "finished"], "the second epoch alone"
        assert TrialFiles(worker.directory / "trials" / spec.key).is_finished()
    storage.collect(spec.key)
    files = TrialFiles(here / "trials" / spec.key)
    assert files.is_finished()
    assert files.best.is_file()


def test_a_log_that_has_grown_elsewhere_comes_here(
    storage: RunStorage, elsewhere: Elsewhere, tiny: Path
) -> None:
    stored_sweep(storage, tiny)
    log, here = "trials/k/trial.log", storage.directory
    (here / log).parent.mkdir(parents=True)
    (here / log).write_text("one")
    storage.collect_file(log)
    there = elsewhere()
    there.fetch_longer(log)
    assert (there.directory / log).read_text() == "one"
    there.fetch_longer("trials/unknown/trial.log")  # nothing, and no error


def test_a_held_run_keeps_what_was_written(
    storage: RunStorage, elsewhere: Elsewhere, tiny: Path
) -> None:
    told: list[str] = []
    with storage.held(told.append):
        prepare_tiny(tiny, storage.directory)
        assert told == []
    assert told in ([], [storage.name]), "a local folder has nowhere to store"
    assert existing_run(elsewhere()).record().candidates


def test_a_run_can_be_held_again(storage: RunStorage) -> None:
    for _ in range(2):
        with storage.held(lambda name: None):
            pass
