"""A search through the command line: killed, resumed, watched, kept in an object store."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from gitract_core.spec import Candidate
from orchestrator.report.progress_table import SweepProgress
from orchestrator.sweeps.events import SweepEvent
from orchestrator.tracking import Background, TrackedRun
from orchestrator.tracking.start import Trackers
from tests.support import s3_server, stored_sweeps
from tests.support.s3_server import Server, server  # noqa: F401 (a fixture)
from tests.support.tiny_sweep import KNOBS, prepare_tiny
from tests.support.waiting import LONG_SECONDS, wait_until
from tests.support.warm import WarmPopen

ROOT = Path(__file__).resolve().parent.parent.parent.parent
SPACE = """
folds: 2
search: {method: tpe, samples: 5}
network: {widths: "4,8", depth: 1}
input: {size: 32, channels: 1}
loss: [bce, dice]
optimizer: {learning_rate: {loguniform: [1e-3, 1e-1]}, batch_size: 4}
training: {epochs: 2}
"""


def command(home: Path, *arguments: str) -> subprocess.Popen[str]:
    """The command line in a process of its own."""
    (home / "space.yaml").write_text(SPACE)
    return WarmPopen(
        [sys.executable, "-c", "from orchestrator.cli import main; main()", *arguments],
        cwd=home,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "COLUMNS": "100", "PYTHONPATH": str(ROOT)},
    )


def done(process: subprocess.Popen[str]) -> tuple[str, str]:
    said = process.communicate(timeout=250)
    assert process.returncode == 0, said[1]
    return said


def read(home: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((home / "run/sweep.json").read_text())
    return found


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.filterwarnings("ignore")  # MLflow's own
def test_a_killed_search_goes_on_and_everybody_sees_what_it_proposed(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("MLFLOW_DISABLE_TELEMETRY", "DO_NOT_TRACK"):
        monkeypatch.setenv(name, "true")
    from mlflow.tracking import MlflowClient

    sweep = ["sweep", "--local", "--data", str(tiny), "--space", "space.yaml", "--out", "run"]
    # Not a folder: MLflow leaves an empty metric in it when it is killed, and then reads no run.
    store = f"sqlite:///{tmp_path / 'mlflow.db'}"
    sweep += ["--cpus-per-trial", "1", "--mlflow", store]
    begun = command(tmp_path, *sweep)

    def two_are_left() -> bool:
        assert begun.poll() is None
        return (tmp_path / "run/sweep.json").is_file() and read(tmp_path)["to_come"] <= 2

    wait_until(two_are_left)
    begun.kill()
    begun.communicate()
    before = read(tmp_path)["candidates"]
    status = json.loads(done(command(tmp_path, "status", "run", "--json"))[0])
    left = 5 - len(before)
    assert status["candidates_to_come"] == left
    assert left in (1, 2), "more may have come before the kill"
    assert len(status["trials"]) == 2 * len(before)
    printed, said = done(command(tmp_path, *sweep))
    assert "Fitting 2 folds for each of 5 candidates, totalling 10 trials" in printed
    assert f"candidates yet to be proposed, by the scores of the others: {left}" in printed
    assert "candidate 5 proposed: " in said
    assert "10/10 " in said
    after = read(tmp_path)
    assert after["candidates"][: len(before)] == before
    assert (len(after["candidates"]), after["to_come"]) == (5, 0)
    assert len(list((tmp_path / "run/trials").glob("*/result.json"))) == 10
    keys = {Candidate.from_knobs(knobs).key for knobs in after["candidates"]}
    folders = list((tmp_path / "run/tensorboard").glob("*/fold1"))
    assert {folder.parent.name[-6:] for folder in folders} == {key[:6] for key in keys}
    client = MlflowClient(store)
    (experiment,) = [e for e in client.search_experiments() if e.name == "run"]
    runs = client.search_runs([experiment.experiment_id])
    assert {r.data.tags["gitract.key"] for r in runs if "score_mean" in r.data.metrics} == keys
    board, _ = done(command(tmp_path, "report", "run", "--json"))
    assert len(json.loads(board)["leaderboard"]) == 5
    again, said = done(command(tmp_path, *sweep, "--json"))
    assert "10 of them are finished already" in said
    assert json.loads(again)["leaderboard"] == json.loads(board)["leaderboard"]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_search_in_a_store_goes_on_from_another_machine(
    server: Server,  # noqa: F811
    tiny: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stored_sweeps, "SPACE", SPACE)
    begun = stored_sweeps.started_sweep(stored_sweeps.sweep(tiny, tmp_path), tmp_path / "first")

    def three_are_stored() -> bool:
        assert begun.poll() is None
        return len(stored(server)) >= 3

    wait_until(three_are_stored)
    candidates = stored(server)
    begun.kill()
    begun.wait()
    again = stored_sweeps.run(*stored_sweeps.sweep(tiny, tmp_path), cache=tmp_path / "second")
    assert again.returncode == 0, again.stderr
    assert stored(server)[: len(candidates)] == candidates
    assert len(stored(server)) == 5
    assert len(json.loads(again.stdout)["leaderboard"]) == 5


def stored(server: Server) -> list[Any]:  # noqa: F811
    """The candidates of ``sweep.json`` in the store."""
    try:
        with s3_server.system(server).open_input_stream("bucket/runs/a/sweep.json") as stream:
            return list(json.loads(stream.read())["candidates"])
    except (FileNotFoundError, ValueError):  # not there, or replaced while it was read
        return []


def test_a_plan_refuses_to_choose_among_what_is_not_known(tiny: Path, tmp_path: Path) -> None:
    arguments = ["plan", "--local", "--data", str(tiny), "--space", "space.yaml", "--budget", "1h"]
    process = command(tmp_path, *arguments)
    _, said = process.communicate(timeout=LONG_SECONDS)
    assert process.returncode == 2
    assert said.strip().splitlines()[-1] == (
        "gitract-cv: --budget: expected a space whose candidates are known, got a search; "
        "lower the search's samples until the plan's time fits"
    )


class Noting:
    """A tracker that notes what it is told, by label."""

    def __init__(self, run: TrackedRun) -> None:
        self.run, self.told = run, set[str]()

    def update(self, spec: Any) -> None:
        self.told.add(self.run.labels[spec.candidate])

    def close(self) -> None: ...


def test_tables_and_trackers_take_what_comes_later(tiny: Path, tmp_path: Path) -> None:
    sweep = prepare_tiny(tiny, tmp_path / "run", {"loss": "bce"}, {"loss": "dice"})
    first = [s for s in sweep.specs if s.candidate.loss == "bce"]
    later = [s for s in sweep.specs if s.candidate.loss == "dice"]
    text = io.StringIO()
    progress = SweepProgress(Console(file=text, width=200), sweep.directory, first, len(later))
    run = TrackedRun(sweep.directory, first)
    noting, complaints = Noting(run), list[str]()
    background = Background("noting", lambda: noting, first, complaints.append)
    trackers = Trackers(run, [background])
    proposed = SweepEvent("proposed", candidate="dice", specs=tuple(later))
    progress(proposed)
    trackers(proposed)
    event = SweepEvent("failed", later[0].key, fault="error")
    progress(event)
    trackers(event)
    background.close()
    assert noting.told == {"bce", "dice"}
    assert not complaints
    assert "candidate 2 proposed: dice" in text.getvalue()
    progress.console.print(progress._table())
    table = text.getvalue()
    assert "1/4 trials" in table
    assert "dice" in table.splitlines()[-2]


def test_close_numbers_have_labels_of_their_own() -> None:
    from orchestrator.sweeps.labels import candidate_labels

    rates = (0.0123456, 0.0123457)
    pair = [Candidate.from_knobs({**KNOBS, "optimizer.learning_rate": rate}) for rate in rates]
    assert list(candidate_labels(pair).values()) == [f"learning rate {rate}" for rate in rates]
