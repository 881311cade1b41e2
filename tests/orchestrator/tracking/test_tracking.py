"""Trackers show what the trials' files hold, once, and can fail without consequence."""

from __future__ import annotations

import math
import os
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from urllib.request import urlopen

import pytest
from tensorboardX.proto.event_pb2 import Event

from gitract_core.results.trial_result import EpochRecord, read_history, write_history
from gitract_core.spec import TrialSpec
from orchestrator.sweeps.events import SweepEvent
from orchestrator.sweeps.preparation import PreparedSweep
from orchestrator.tracking import Background, TrackedRun
from orchestrator.tracking.tensorboard import TensorBoardFiles
from tests.support.finished_trials import finish
from tests.support.tiny_sweep import prepare_tiny
from tests.support.waiting import free_port, wait_until


@pytest.fixture
def sweep(tiny: Path, tmp_path: Path) -> PreparedSweep:
    return prepare_tiny(tiny, tmp_path / "run", {"loss": "bce"}, {"loss": "dice"})


def varied(count: int) -> list[EpochRecord]:
    return [
        EpochRecord(n, *(n + k / 16 for k in range(10)), 0.01, 2.0) for n in range(1, count + 1)
    ]


def tell(run: TrackedRun, spec: TrialSpec, count: int) -> Path:
    history = run.directory.trial(spec).history
    write_history(history, varied(count))
    return history


def events_of(folder: Path) -> Iterator[Event]:
    """Read back by the format's definition: length, its check sum, the event, its check sum."""
    (file,) = folder.glob("events.out.tfevents.*")
    content, at = file.read_bytes(), 0
    while at < len(content):
        size = int.from_bytes(content[at : at + 8], "little")
        yield Event.FromString(content[at + 12 : at + 12 + size])
        at += size + 16


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    found: dict[str, list[tuple[int, float]]] = {}
    for event in events_of(folder):
        for value in event.summary.value:
            if value.HasField("simple_value"):
                found.setdefault(value.tag, []).append((event.step, value.simple_value))
    return found


def test_event_files_hold_the_history_once_also_after_a_resume(sweep: PreparedSweep) -> None:
    run, spec = TrackedRun(sweep.directory, sweep.specs), sweep.specs[0]
    for begin in (1, 3):  # two sweeps; the second finds three epochs
        tracker = TensorBoardFiles(run)
        for count in range(begin, begin + 3):
            history = tell(run, spec, count)
            tracker.update(spec)
        tracker.close()
    finish(spec, run.directory.trial(spec), epochs=5)
    tell(run, spec, 5)
    TensorBoardFiles(run).update(spec)
    (folder,) = (run.directory.path / "tensorboard").glob("bce */fold0")
    found = scalars(folder)
    for name in asdict(varied(1)[0]).keys() - {"epoch"}:
        expected = [(r.epoch, pytest.approx(getattr(r, name))) for r in read_history(history)]
        assert found[name] == expected
    assert found["final/score"] == [(5, 0.75)]
    before = next(folder.iterdir()).name
    TensorBoardFiles(run).update(spec)
    assert next(folder.iterdir()).name == before, "what is finished and written is left alone"


def test_a_trial_that_began_anew_is_shown_anew(sweep: PreparedSweep) -> None:
    run, spec = TrackedRun(sweep.directory, sweep.specs), sweep.specs[0]
    tracker = TensorBoardFiles(run)
    for count in (4, 1, 2):
        tell(run, spec, count)
        tracker.update(spec)
    tracker.close()
    (folder,) = (run.directory.path / "tensorboard").glob("bce */fold0")
    assert [step for step, _ in scalars(folder)["loss"]] == [1, 2]


def test_figures_that_are_undefined_are_left_out_without_a_word(
    sweep: PreparedSweep, caplog: pytest.LogCaptureFixture
) -> None:
    run, spec = TrackedRun(sweep.directory, sweep.specs), sweep.specs[0]
    first, second = varied(2)
    records = [replace(first, dice=math.nan), second]
    write_history(run.directory.trial(spec).history, records)
    tracker = TensorBoardFiles(run)
    tracker.update(spec)
    tracker.close()
    (folder,) = (run.directory.path / "tensorboard").glob("bce */fold0")
    assert [step for step, _ in scalars(folder)["dice"]] == [2]
    assert not caplog.records


class Flaky:
    """A tracker that fails until it is told not to."""

    broken, told = True, list[str]()

    def update(self, spec: TrialSpec) -> None:
        if Flaky.broken:
            raise OSError(28, "No space left on device")
        Flaky.told.append(spec.key)

    def close(self) -> None: ...


def test_a_failing_tracker_warns_once_and_gets_all_when_it_is_back(
    sweep: PreparedSweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.tracking.background.AWAY_SECONDS", 0.01)
    warnings: list[str] = []
    tracker = Background("Flaky", Flaky, sweep.specs, warnings.append)
    for spec in sweep.specs:
        tracker(SweepEvent("epoch", spec.key))
    while not warnings:
        time.sleep(0.01)
    time.sleep(0.1)
    Flaky.broken = False
    tracker.close()
    (line,) = warnings
    assert line.startswith("Flaky: expected a tracker that answers, got [Errno 28] No space left")
    assert set(Flaky.told) == {spec.key for spec in sweep.specs}


def test_a_tracker_that_hangs_holds_nobody_up(sweep: PreparedSweep) -> None:
    never, warnings = threading.Event(), list[str]()

    def hang() -> TensorBoardFiles:
        never.wait()
        raise OSError

    tracker = Background("Deaf", hang, sweep.specs, warnings.append)
    tracker(SweepEvent("epoch", sweep.specs[0].key))
    tracker.close(patience=0.1)
    assert "still busy" in warnings[0]
    never.set()


# --- MLflow ---------------------------------------------------------------------------------------


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """A real MLflow server on loopback."""
    for name in (
        "mlflow",
        "sqlalchemy",
        "alembic",
        "flask",
        "flask_cors",
        "graphene",
        "huey",
        "aiohttp",
    ):
        pytest.importorskip(name, reason=f"MLflow's server needs {name}")
    uri = f"http://127.0.0.1:{free_port()}"
    store = ["--backend-store-uri", f"sqlite:///{tmp_path / 'mlflow.db'}", "--workers", "1"]
    where = ["--host", "127.0.0.1", "--port", uri.rpartition(":")[2]]
    artifacts = ["--artifacts-destination", str(tmp_path / "artifacts")]
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
    with (tmp_path / "server.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "mlflow", "server", *store, *where, *artifacts],
            stdout=log,
            stderr=log,
            env={**os.environ, **quiet},
            start_new_session=True,
        )
    try:
        _wait(uri, process, tmp_path / "server.log")
        yield uri
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # with its workers; asked, it waits for clients
        process.wait()


def _wait(uri: str, process: subprocess.Popen[bytes], log: Path) -> None:
    def answers() -> bool:
        assert process.poll() is None, log.read_text()
        try:
            with urlopen(f"{uri}/health", timeout=5):
                return True
        except OSError:
            return False

    wait_until(answers)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.filterwarnings("ignore")  # the client's own
def test_mlflow_holds_candidates_and_folds_once(sweep: PreparedSweep, server: str) -> None:
    from orchestrator.tracking.mlflow_runs import MlflowRuns

    run, specs = TrackedRun(sweep.directory, sweep.specs), sweep.specs
    first, second = specs[:2]  # the folds of one candidate
    tell(run, first, 2)
    runs = MlflowRuns(run, server)
    runs.update(first)
    runs.close()
    for _ in range(2):  # the same command given again, and once more
        runs = MlflowRuns(run, server)
        for spec in (first, second):
            finish(spec, run.directory.trial(spec), epochs=4)
            tell(run, spec, 4)
            runs.update(spec)
        runs.close()
    found = {r.data.tags["gitract.key"]: r for r in runs.client.search_runs([runs.experiment])}
    assert runs.client.get_experiment(runs.experiment).name == "run"
    assert found.keys() == {first.candidate.key, first.key, second.key}
    parent = found[first.candidate.key]
    assert parent.data.params == {"loss": "bce", "key": first.candidate.key}
    assert parent.data.metrics["score_mean"] == statistics.fmean([0.75, 0.75])
    assert (parent.data.metrics["score_sd"], parent.info.status) == (0.0, "FINISHED")
    for spec in (first, second):
        child = found[spec.key]
        assert child.data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert child.data.tags["gitract.fold"] == str(spec.fold)
        assert (child.info.status, child.data.metrics["final_score"]) == ("FINISHED", 0.75)
        for name in ("loss", "dice", "seconds"):
            metrics = runs.client.get_metric_history(child.info.run_id, name)
            told = sorted((m.step, m.value) for m in metrics)
            assert told == [(r.epoch, getattr(r, name)) for r in varied(4)]


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.filterwarnings("ignore")
def test_a_database_whose_making_was_killed_is_made_again(
    sweep: PreparedSweep, tmp_path: Path
) -> None:
    for name in ("mlflow", "sqlalchemy", "alembic"):
        pytest.importorskip(name, reason=f"MLflow's database needs {name}")
    from orchestrator.tracking.mlflow_runs import MlflowRuns

    path = tmp_path / "new/mlflow.db"
    code = f"""
from orchestrator.tracking import TrackedRun
from orchestrator.tracking.mlflow_runs import MlflowRuns
from orchestrator.sweeps.run_directory import SweepDirectory
from pathlib import Path
MlflowRuns(TrackedRun(SweepDirectory(Path({str(sweep.directory.path)!r})), []), "sqlite:///{path}")
"""
    with subprocess.Popen([sys.executable, "-c", code]) as making:
        while not any(found.stat().st_size for found in path.parent.rglob("*.db")):
            assert making.poll() is None, "the making began nowhere"
            time.sleep(0.005)
        making.kill()
    assert not path.exists()
    for _ in range(2):  # made, then found
        runs = MlflowRuns(TrackedRun(sweep.directory, sweep.specs), f"sqlite:///{path}")
        assert runs.client.get_experiment(runs.experiment).name == "run"
    assert len(runs.client.search_experiments()) == 2  # MLflow's default, and ours


@pytest.mark.filterwarnings("ignore")
def test_a_server_that_is_gone_is_one_line(sweep: PreparedSweep) -> None:
    pytest.importorskip("mlflow")
    from orchestrator.tracking.mlflow_runs import MlflowRuns

    warnings: list[str] = []
    run, uri = TrackedRun(sweep.directory, sweep.specs), f"http://127.0.0.1:{free_port()}"
    tracker = Background("MLflow", lambda: MlflowRuns(run, uri), sweep.specs, warnings.append)
    tell(run, sweep.specs[0], 2)
    tracker(SweepEvent("epoch", sweep.specs[0].key))
    tracker.close()
    assert len(warnings) == 1
    assert warnings[0].startswith("MLflow: expected a tracker that answers, got")
