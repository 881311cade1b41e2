"""Faults, injected: nothing finished is repeated, nothing is lost, no file is left half written.

``docs/faults.md`` is the table of them.
"""

from __future__ import annotations

import dataclasses
import errno
import os
import re
from io import StringIO
from pathlib import Path

import cv2
import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

from gitract_core.data.slices import SliceIndex
from gitract_core.errors import DataError, RunError, TrialError
from gitract_core.files.atomic import read_json
from gitract_core.prediction.probabilities import OofStore
from gitract_core.results.trial_result import TrialFiles, TrialResult, read_history
from gitract_core.trial.held_out_prediction import open_oof
from gitract_core.trial.run import iterate_trial, run_trial
from orchestrator.execution.executor import TrialEvent, attempt
from orchestrator.execution.local.executor import LocalExecutor
from orchestrator.report.progress_table import SweepProgress
from orchestrator.results.leaderboard import build_leaderboard
from orchestrator.results.status import read_status
from orchestrator.sweeps.run_lock import is_locked
from tests.support.faulty_sweep import SPACE, ended, half_written, jobs_of, sweep_command
from tests.support.faulty_trials import lock_holder, same_but_for_cost
from tests.support.tiny_sweep import prepare_tiny
from tests.support.waiting import wait_until

pytestmark = pytest.mark.usefixtures("no_orphans")


ROOT = Path(__file__).parent.parent.parent.parent


# --- processes that end -------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_killed_sweep_takes_its_workers_with_it_and_goes_on(tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "space.yaml").write_text(SPACE + "training: {epochs: 80, patience: 80}\n")
    trials = tmp_path / "run/trials"
    running = sweep_command(tmp_path, tiny)
    wait_until(lambda: len(list(trials.glob("*/checkpoint.pt"))) == 2)
    holders = [lock_holder(lock) for lock in trials.glob("*/.lock")]
    assert len(set(holders)) == 2
    assert None not in holders
    running.kill()
    running.communicate()
    wait_until(lambda: not any(is_locked(lock) for lock in trials.glob("*/.lock")), 60)
    before = {file: read_history(file) for file in trials.glob("*/history.csv")}
    assert all(0 < len(epochs) < 80 for epochs in before.values())
    again = sweep_command(tmp_path, tiny)
    said = ended(again)
    assert again.returncode == 0, said
    assert "2/2" in said
    for file, epochs in before.items():
        after = read_history(file)[: len(epochs)]
        assert after[:-1] == epochs[:-1], "seconds tell an epoch from its repetition"
        # The kill may fall between the history and the checkpoint of an epoch: one is repeated.
        assert dataclasses.replace(after[-1], seconds=0) == dataclasses.replace(
            epochs[-1], seconds=0
        )
    assert not half_written(tmp_path / "run")


def test_a_second_writer_is_locked_out(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gitract_core.trial.run._LOCK_PATIENCE_SECONDS", 0.3)
    sweep = prepare_tiny(tiny, tmp_path / "run")
    first = iterate_trial(sweep.specs[0], sweep.data, tmp_path / "trial")
    next(first)
    before = (tmp_path / "trial/history.csv").read_bytes()
    with pytest.raises(TrialError, match="another process that runs it"):
        run_trial(sweep.specs[0], sweep.data, tmp_path / "trial")
    assert (tmp_path / "trial/history.csv").read_bytes() == before
    assert [record.epoch for record in first] == [2, 3]


# --- files that are damaged ---------------------------------------------------------------------


def test_damaged_result_is_set_aside_and_made_again(tiny: Path, tmp_path: Path) -> None:
    sweep = prepare_tiny(tiny, tmp_path / "run", {"training.epochs": 2})
    spec, jobs = sweep.specs[0], jobs_of(sweep)
    files = jobs.files(spec.key)
    assert list(attempt(spec, jobs))[-1].kind == "finished"
    first, half = TrialResult.load(files.result), files.result.read_bytes()[:500]
    assert files.is_finished()
    files.result.write_bytes(half)
    assert not files.is_finished()
    assert files.result.read_bytes() == half, "asking changes nothing"
    assert read_status(sweep.directory).trials[0].state == "damaged"
    assert [e.kind for e in attempt(spec, jobs)] == ["epoch", "epoch", "finished"]
    assert same_but_for_cost(TrialResult.load(files.result), first)
    aside = files.directory / "result.json.damaged"
    assert aside.read_bytes() == half
    files.result.unlink()
    files.result.mkdir()
    assert read_status(sweep.directory).trials[0].state == "damaged"
    assert list(attempt(spec, jobs))[-1].kind == "finished"
    assert aside.is_dir()
    assert same_but_for_cost(TrialResult.load(files.result), first)


def test_unreadable_result_is_left_alone(tiny: Path, tmp_path: Path) -> None:
    """A disk that does not answer says nothing about the file."""
    sweep = prepare_tiny(tiny, tmp_path / "run", {"training.epochs": 1})
    run_trial(sweep.specs[0], sweep.data, tmp_path / "trial")
    files = TrialFiles(tmp_path / "trial")

    def no_answer(self: Path) -> bytes:
        raise OSError(errno.EIO, os.strerror(errno.EIO), str(self))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "read_bytes", no_answer)
        with pytest.raises(OSError, match="Input/output"):
            files.is_finished()
    assert files.is_finished()
    assert not (files.directory / "result.json.damaged").exists()


def test_cut_history_of_a_stopped_trial_is_written_anew(tiny: Path, tmp_path: Path) -> None:
    sweep = prepare_tiny(tiny, tmp_path / "run")
    files = TrialFiles(tmp_path / "trial")
    stopped = iterate_trial(sweep.specs[0], sweep.data, files.directory)
    first = [next(stopped), next(stopped)]
    stopped.close()  # type: ignore[attr-defined]
    files.history.write_bytes(files.history.read_bytes()[:-40])
    with pytest.raises(RunError, match=r"history\.csv"):
        read_history(files.history)
    rest = list(iterate_trial(sweep.specs[0], sweep.data, files.directory))
    assert [r.epoch for r in rest] == [3]
    assert read_history(files.history) == first + rest


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # numpy's open file
def test_cut_oof_is_named_and_predicted_anew_once_removed(tiny: Path, tmp_path: Path) -> None:
    sweep = prepare_tiny(tiny, tmp_path / "run", {"training.epochs": 1})
    spec, files = sweep.specs[0], TrialFiles(tmp_path / "trial")
    run_trial(spec, sweep.data, files.directory)
    before = dict(OofStore(files.oof))
    files.oof.write_bytes(files.oof.read_bytes()[:-100])
    with pytest.raises(RunError, match=r"oof\.npz: expected out-of-fold probabilities"):
        open_oof(spec, files, sweep.data)
    files.oof.unlink()
    after = dict(open_oof(spec, files, sweep.data))
    assert before.keys() == after.keys()
    assert all(np.array_equal(before[scan], after[scan]) for scan in before)


def test_image_damaged_after_the_cache_was_built(own_tiny: Path, tmp_path: Path) -> None:
    """Trials read the cache and go on; whatever reads the image names it."""
    image = sorted(own_tiny.glob("train/case7/*/scans/*.png"))[2]
    pixels = cv2.imread(str(image), cv2.IMREAD_UNCHANGED)
    assert pixels is not None
    assert cv2.imwrite(str(image), pixels[::-1])  # a data set, and so a cache, of our own
    sweep = prepare_tiny(own_tiny, tmp_path / "run", {"training.epochs": 1})
    content = image.read_bytes()
    start = content.index(b"IDAT") + 4
    image.write_bytes(content[:start] + bytes(40) + content[start + 40 :])
    for spec in sweep.specs:
        run_trial(spec, sweep.data, sweep.directory.trial(spec).directory)
    from orchestrator.cli import predict as predicting
    from orchestrator.cli import sweep as running
    from orchestrator.cli.app import app

    assert predicting.ensemble
    assert running.sweep
    out, images = tmp_path / "submission.csv", own_tiny / "train"
    arguments = ["ensemble", sweep.directory.path, "--top", 1, "--images", images, "--out", out]
    error = CliRunner().invoke(app, [str(a) for a in arguments]).exception
    assert isinstance(error, DataError)
    assert str(error).startswith(f"{image}: expected a readable PNG")
    assert not out.exists()
    assert not half_written(tmp_path)
    image.write_bytes(content[:200])
    with pytest.raises(DataError, match=f"{image.name}: expected a complete PNG"):
        SliceIndex.from_directory(own_tiny)


# --- losses that diverge ------------------------------------------------------------------------


def test_diverged_trial_is_not_tried_again_and_is_shown_as_diverged(
    tiny: Path, tmp_path: Path
) -> None:
    overflow = {"loss": "3e38*bce + 3e38*dice", "training.epochs": 1}
    sweep = prepare_tiny(tiny, tmp_path / "run", {"training.epochs": 1}, overflow)
    sweep = dataclasses.replace(sweep, pending=[s for s in sweep.specs if s.fold == 0])
    healthy, diverged = sweep.pending
    text = StringIO()
    console = Console(file=text, width=100)
    events: list[TrialEvent] = []
    with SweepProgress(console, sweep.directory, sweep.specs) as progress:

        def both(event: TrialEvent) -> None:
            events.append(event)
            progress(event.for_listeners())

        LocalExecutor().run(jobs_of(sweep, retries=3), both)
        console.print(progress._table())
    errors = [(e.key, e.kind, e.fault) for e in events if e.kind in ("error", "failed")]
    key = diverged.key
    assert errors == [(key, "error", "diverged"), (key, "failed", "diverged")]
    assert (healthy.key, "finished") in [(e.key, e.kind) for e in events]
    failure = read_json(sweep.directory.trial(diverged).failure)
    assert (failure["kind"], failure["attempts"]) == ("diverged", 1)
    assert "fold 0: diverged for good" in text.getvalue()
    assert re.search(r"3e\+?38.* diverged +-", text.getvalue())
    states = {t.spec.key: t.state for t in read_status(sweep.directory).trials}
    assert (states[key], states[healthy.key]) == ("diverged", "finished")
    reasons = [line.reasons[0] for line in build_leaderboard(sweep.directory).unranked]
    assert any("(diverged)" in reason for reason in reasons)
    assert not half_written(tmp_path)


# --- the table ----------------------------------------------------------------------------------


def test_every_fault_of_the_table_names_a_test_that_exists() -> None:
    lines = (ROOT / "docs/faults.md").read_text().splitlines()
    rows = [line for line in lines if line.startswith("| ") and "---" not in line][1:]
    assert len(rows) >= 14
    for row in rows:
        named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", row)
        assert named, row
        for file, name in named:
            assert f"def {name}(" in (ROOT / file).read_text(), name
