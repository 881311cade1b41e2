"""Two sweeps into one run directory; whoever reads while one writes."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gitract_core.errors import RunError
from gitract_core.results.trial_result import TrialResult
from gitract_core.trial.run import run_trial
from orchestrator.results.histories import read_histories
from orchestrator.results.leaderboard import build_leaderboard
from orchestrator.results.status import RunStatus, read_status
from orchestrator.sweeps.preparation import PreparedSweep
from orchestrator.sweeps.run_lock import LOCK, sole_sweep
from tests.support.refusing import run_cli, snapshot
from tests.support.tiny_sweep import prepare_tiny
from tests.support.warm import WarmPopen

ROOT = Path(__file__).parent.parent.parent.parent
HOLD = """
import sys, time
from pathlib import Path
from orchestrator.sweeps.run_lock import sole_sweep
with sole_sweep(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(300)
"""
SWEEP = ["sweep", "--local", "--data", "{data}", "--space", "{space}", "--out", "{run}"]


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that sweeps into ``run``."""
    command = [sys.executable, "-c", HOLD, str(tmp_path / "run")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with WarmPopen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_the_second_is_refused_at_once_and_told_by_whom(
    tmp_path: Path, holder: subprocess.Popen[str]
) -> None:
    expected = f"no other sweep into this run, got the one of process {holder.pid} on "
    for _ in range(3):
        with pytest.raises(RunError, match=expected + socket.gethostname()):
            sole_sweep(tmp_path / "run").__enter__()
    assert (tmp_path / "run" / LOCK).is_file()


def test_who_was_killed_keeps_nobody_out(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    holder.kill()
    holder.wait()
    with sole_sweep(tmp_path / "run"):
        text = (tmp_path / "run" / LOCK).read_text()
        assert text == f"process {os.getpid()} on {socket.gethostname()}"
    assert not (tmp_path / "run" / LOCK).exists()


def test_a_sweep_that_is_refused_writes_nothing(
    tiny: Path, tmp_path: Path, holder: subprocess.Popen[str]
) -> None:
    space, run = tmp_path / "space.yaml", tmp_path / "run"
    space.write_text("folds: 2\nloss: bce\n")
    before = snapshot(tmp_path)
    ended = run_cli(*(a.format(data=tiny, space=space, run=run) for a in SWEEP))
    assert ended.code == 2
    assert ended.err.count("\n") == 1
    assert f"got the one of process {holder.pid} on " in ended.err
    assert snapshot(tmp_path) == before


def test_nothing_stays_of_a_sweep_that_had_nothing_to_write(tiny: Path, tmp_path: Path) -> None:
    run = tmp_path / "new/folder/run"
    with sole_sweep(run):
        assert run.is_dir()
    assert not (tmp_path / "new").exists()
    space = tmp_path / "space.yaml"
    space.write_text("folds: 2\nloss: bec\n")
    assert run_cli(*(a.format(data=tiny, space=space, run=run) for a in SWEEP)).code == 2
    assert not (tmp_path / "new").exists()


def test_many_at_once_one_at_a_time(tmp_path: Path) -> None:
    """The file comes and goes with its holder; that must not let two in."""
    inside, most, times = [0], [0], [0]

    def enter() -> None:
        for _ in range(150):
            try:
                with sole_sweep(tmp_path / "run"):
                    inside[0] += 1
                    most[0] = max(most[0], inside[0])
                    times[0] += 1
                    time.sleep(0.0005)
                    inside[0] -= 1
            except (RunError, FileNotFoundError):  # or the empty directory was removed just now
                pass

    threads = [threading.Thread(target=enter) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most[0] == 1
    assert times[0] > 5  # not one that keeps all others out


# --- reading while it is written ----------------------------------------------------------------


def slow_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every file is half there for a while before it gets its name."""
    real = os.fsync

    def slow(file: int) -> None:
        time.sleep(0.03)
        real(file)

    monkeypatch.setattr(os, "fsync", slow)


def is_later(before: RunStatus | None, now: RunStatus) -> bool:
    """Nothing that was told is taken back."""
    if before is None:
        return True
    pairs = list(zip(before.trials, now.trials, strict=True))
    finished = all(b.state == "finished" for a, b in pairs if a.state == "finished")
    return finished and all(b.epoch >= a.epoch for a, b in pairs)


def train_all(sweep: PreparedSweep, errors: list[BaseException]) -> None:
    try:
        for spec in sweep.specs:
            run_trial(spec, sweep.data, sweep.directory.trial(spec).directory)
    except BaseException as error:
        errors.append(error)


def test_readers_see_a_consistent_state_while_a_sweep_writes(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = prepare_tiny(tiny, tmp_path / "run", {}, {"loss": "bce + dice"})
    slow_disk(monkeypatch)
    errors: list[BaseException] = []
    training = threading.Thread(target=train_all, args=(sweep, errors))
    training.start()
    status, seen, rounds, refused = None, {}, 0, list[str]()
    while training.is_alive() or not rounds:
        now = read_status(sweep.directory)
        assert is_later(status, now)
        assert not {"damaged", "failed", "diverged"} & now.counts.keys()
        status = now
        board = build_leaderboard(sweep.directory)
        scores = {r.spec.key: r.scores["score"] for c in board.ranked for r in c.finished}
        assert {**scores, **seen} == scores
        seen, rounds = scores, rounds + 1
        try:
            assert not read_histories(sweep.directory).left_out or len(scores) < 4
        except RunError as error:
            refused.append(str(error))
    training.join()
    assert not errors
    assert rounds > 10, "it must have been read while it was written"
    assert len(refused) < rounds
    assert all("expected a finished trial, got none" in line for line in refused)
    final = {s.key: TrialResult.load(sweep.directory.trial(s).result) for s in sweep.specs}
    assert {k: v for k, v in seen.items() if final[k].scores["score"] != v} == {}


def test_commands_read_while_a_sweep_writes(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line that says what is missing, or the answer."""
    sweep = prepare_tiny(tiny, tmp_path / "run")
    run, images = str(tmp_path / "run"), str(tiny / "train")
    slow_disk(monkeypatch)
    errors: list[BaseException] = []
    training = threading.Thread(target=train_all, args=(sweep, errors))
    training.start()
    waited = 0
    while training.is_alive():
        assert run_cli("report", run, "--json").code == 0
        assert run_cli("status", run, "--json").code == 0
        if not sweep.directory.trial(sweep.specs[-1]).result.is_file():
            ended = run_cli("ensemble", run, "--top", "1", "--images", images)
            assert ended.code == 0 or "expected 1 trained candidate with all 2" in ended.err
            waited += ended.code == 2
    assert not errors
    assert waited
    assert run_cli("ensemble", run, "--top", "1", "--images", images).code == 0
