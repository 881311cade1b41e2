"""The state of a run, from files in every state that a sweep leaves them in."""

from __future__ import annotations

import fcntl
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gitract_core.errors import RunError
from gitract_core.files.atomic import write_json
from gitract_core.results.trial_result import TrialFiles, write_history
from orchestrator.results.status import read_status
from orchestrator.sweeps.preparation import PreparedSweep, SweepRequest, prepare
from orchestrator.sweeps.run_lock import is_locked
from tests.support.finished_trials import EPOCHS, finish, records
from tests.support.tiny_sweep import prepare_tiny, tiny_space

LOSSES = ("bce", "dice", "focal", "iou")


@contextmanager
def held(files: TrialFiles) -> Iterator[None]:
    """The trial's lock, as its process holds it."""
    files.directory.mkdir(parents=True, exist_ok=True)
    with files.lock.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.fixture
def sweep(tiny: Path, tmp_path: Path) -> PreparedSweep:
    """Four candidates on two folds, nothing run."""
    changes = [{"loss": loss, "training.epochs": EPOCHS} for loss in LOSSES]
    return prepare_tiny(tiny, tmp_path / "run", *changes)


@pytest.fixture
def files(sweep: PreparedSweep) -> dict[tuple[str, int], TrialFiles]:
    """By loss and fold; one trial in every state but waiting and running."""
    found = {(s.candidate.loss, s.fold): sweep.directory.trial(s) for s in sweep.specs}
    specs = {(s.candidate.loss, s.fold): s for s in sweep.specs}
    finish(specs["bce", 0], found["bce", 0], micro_batch=2)
    finish(specs["bce", 1], found["bce", 1])
    cut = found["bce", 1].result
    cut.write_text(cut.read_text()[:60])
    write_history(found["dice", 0].history, records(3))
    detail = "\n".join(f"line {n}" for n in range(9))
    for key, kind in ((("dice", 1), "diverged"), (("focal", 0), "lost")):
        values = {"kind": kind, "message": f"was {kind}", "detail": detail}
        write_json(found[key].failure, values)
    decision = {"key": specs["iou", 0].candidate.key, "dropped": True, "after_folds": 1}
    decision |= {"probability": 0.001, "reason": "too low"}
    write_json(sweep.directory.path / "racing.json", {"decisions": [decision]})
    return found


def test_candidates_that_segment_nothing_are_said_first(
    sweep: PreparedSweep,
) -> None:
    from orchestrator.cli.main import app

    for spec in sweep.specs:
        loss, file = spec.candidate.loss, sweep.directory.trial(spec)
        if loss != "iou":
            finish(spec, file, dice=0.5 if loss == "bce" or (loss, spec.fold) == ("dice", 1) else 0)
    found = read_status(sweep.directory)
    assert found.segment_nothing == ("focal",)
    assert found.to_json()["segment_nothing"] == ["focal"]
    said = CliRunner().invoke(app, ["status", str(sweep.directory.path)]).stdout
    assert said.splitlines()[0] == "1 of 4 candidates segments nothing: focal."


def states(sweep: PreparedSweep) -> dict[tuple[str, int], str]:
    trials = read_status(sweep.directory).trials
    return {(t.spec.candidate.loss, t.spec.fold): t.state for t in trials}


def test_every_state_is_told(
    sweep: PreparedSweep, files: dict[tuple[str, int], TrialFiles]
) -> None:
    with held(files["focal", 0]):  # its failure is of an attempt before this one
        found = states(sweep)
    assert found == {
        ("bce", 0): "finished",
        ("bce", 1): "damaged",
        ("dice", 0): "stopped",
        ("dice", 1): "diverged",
        ("focal", 0): "running",
        ("focal", 1): "waiting",
        ("iou", 0): "dropped",
        ("iou", 1): "dropped",
    }
    assert states(sweep)["focal", 0] == "failed"
    by_state = {t.state: t for t in read_status(sweep.directory).trials}
    assert by_state["finished"].score == 0.75
    assert by_state["finished"].micro_batch == 2
    assert (by_state["stopped"].epoch, by_state["stopped"].epochs) == (3, EPOCHS)
    assert by_state["failed"].reason == "was lost"
    assert by_state["failed"].detail == tuple(f"line {n}" for n in range(5, 9))
    assert "too low" in by_state["dropped"].reason
    assert by_state["damaged"].reason.startswith(str(files["bce", 1].result))


def test_age_is_the_time_since_the_last_epoch(sweep: PreparedSweep) -> None:
    trial = sweep.directory.trial(sweep.specs[0])
    write_history(trial.history, records(2))
    before = time.time() - 90
    os.utime(trial.history, (before, before))
    status = read_status(sweep.directory).trials[0]
    assert status.age_seconds == pytest.approx(90, abs=30)
    assert (status.state, status.seconds) == ("stopped", 4.0)


def test_time_left_counts_the_epochs_to_go(sweep: PreparedSweep) -> None:
    """Eight trials of 10 epochs: one finished after 5 of them, two run, five wait."""
    assert not read_status(sweep.directory).seconds_left >= 0, "nothing runs: not known"
    specs, trial = sweep.specs, sweep.directory.trial
    finish(specs[0], trial(specs[0]), epochs=5)
    write_history(trial(specs[1]).history, records(2))
    write_history(trial(specs[2]).history, records(1, seconds=8.0))
    with held(trial(specs[1])), held(trial(specs[2])):
        left = read_status(sweep.directory).seconds_left
    mean = (5 * 2 + 2 * 2 + 1 * 8) / 8
    own = 3 * 2.0 + (4 + 5) * 8.0  # specs 0 and 1 are one candidate, 2 and 3 another
    assert left == pytest.approx((own + 4 * 5 * mean) / 2)


def test_trials_that_share_a_training_are_counted_once(tiny: Path, tmp_path: Path) -> None:
    changes = [{"postprocess.threshold": t, "training.epochs": EPOCHS} for t in (0.4, 0.5, 0.6)]
    sweep = prepare_tiny(tiny, tmp_path / "run", *changes)
    trial = sweep.directory.trial(sweep.specs[0])
    write_history(trial.history, records(4))
    with held(trial):
        left = read_status(sweep.directory).seconds_left
    assert left == pytest.approx(6 * 2.0 + 10 * 2.0)


def test_watching_keeps_nobody_from_the_lock(sweep: PreparedSweep) -> None:
    trial = sweep.directory.trial(sweep.specs[0])
    assert not is_locked(trial.lock)
    assert not trial.directory.exists(), "watching writes nothing"
    with held(trial):
        assert is_locked(trial.lock)
    with trial.lock.open() as other:
        fcntl.flock(other, fcntl.LOCK_SH)
        assert not is_locked(trial.lock), "another watcher is no writer"
    with trial.lock.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_what_is_read_while_a_trial_writes_only_ever_goes_forward(sweep: PreparedSweep) -> None:
    spec = sweep.specs[0]
    files = sweep.directory.trial(spec)
    write_json(files.failure, {"kind": "lost", "message": "an earlier attempt"})
    may_start = threading.Event()

    def write() -> None:
        may_start.wait()
        with held(files):
            files.failure.unlink()
            for epoch in range(1, EPOCHS + 1):
                write_history(files.history, records(epoch))
                time.sleep(0.005)
            finish(spec, files)

    writer = threading.Thread(target=write)
    writer.start()
    seen = [read_status(sweep.directory).trials[0]]
    may_start.set()
    while seen[-1].state != "finished" and len(seen) < 5000:
        seen.append(read_status(sweep.directory).trials[0])
    writer.join()
    order = ["failed", "waiting", "running", "finished"]
    places = [order.index(t.state) for t in seen]
    assert places == sorted(places)
    epochs = [t.epoch for t in seen]
    assert epochs == sorted(epochs)
    assert {"failed", "running", "finished"} <= {t.state for t in seen}


def test_the_view_fits_a_terminal_and_says_what_to_do(
    sweep: PreparedSweep, files: dict[tuple[str, int], TrialFiles], monkeypatch: pytest.MonkeyPatch
) -> None:
    from orchestrator.cli import status as watching
    from orchestrator.cli import sweep as running
    from orchestrator.cli.app import app

    assert all((running.sweep, watching.status))  # fills the app
    monkeypatch.setenv("COLUMNS", "100")
    write_history(files["focal", 1].history, records(7))
    with held(files["focal", 1]):
        text = CliRunner().invoke(app, ["status", str(sweep.directory.path)]).stdout
    assert max(map(len, text.splitlines()[:6])) <= 100
    assert re.search(r"epoch 7/10 0\.50, \d+ s ago", text)
    assert "0.7500 (parts of 2)" in text
    assert "8 trials: 1 running, 1 stopped, 1 finished, 1 failed, 1 diverged, 2 dropped" in text
    assert "a sweep is running; about" in text
    assert "dice, fold 1: was diverged\n    line 5\n" in text
    again = CliRunner().invoke(app, ["status", str(sweep.directory.path)]).stdout
    assert "no trial is running; the same sweep command goes on" in again


def test_many_folds_are_shown_whole_whatever_the_width_is(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from orchestrator.cli import status as watching
    from orchestrator.cli import sweep as running
    from orchestrator.cli.app import app

    assert all((running.sweep, watching.status))  # fills the app
    monkeypatch.setenv("COLUMNS", "40")
    space = tiny_space({"loss": "bce + 0.5 * dice"})
    sweep = prepare(SweepRequest(tiny, space, tmp_path / "run", repeats=3))
    for spec in sweep.specs:
        finish(spec, sweep.directory.trial(spec))
    text = CliRunner().invoke(app, ["status", str(sweep.directory.path)]).stdout
    assert len(sweep.specs) == 6
    assert text.count("0.7500") == 6
    assert len(re.findall(r"fold \d+", text.splitlines()[0])) == 6


def test_json_comes_without_torch_or_ray(sweep: PreparedSweep) -> None:
    code = (
        "import sys; from orchestrator.cli import main\n"
        "sys.argv[1:] = ['status', sys.argv[1], '--json']\n"
        "try: main()\nexcept SystemExit as end: assert not end.code\n"
        "heavy = {'torch', 'ray', 'sklearn'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(sweep.directory.path)],
        check=True,
        capture_output=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent.parent.parent)},
    )
    values = json.loads(done.stdout)
    assert values["counts"] == {"waiting": 8}
    assert (values["alive"], values["seconds_left"]) == (False, None)
    assert {t["label"] for t in values["trials"]} == set(LOSSES)
    assert {t["key"] for t in values["trials"]} == {s.key for s in sweep.specs}


def test_damaged_record_is_refused(sweep: PreparedSweep) -> None:
    sweep.directory.record_file.write_text("{")
    with pytest.raises(RunError, match=r"sweep\.json"):
        read_status(sweep.directory)
