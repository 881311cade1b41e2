"""What a trial's process prints, in its log, for both executors."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from orchestrator.capacity.trial_slots import Slots
from orchestrator.execution.executor import Jobs
from orchestrator.execution.local.executor import LocalExecutor
from orchestrator.execution.trial_output import captured, shorten
from orchestrator.report.progress_table import SweepProgress
from orchestrator.results.status import read_status
from orchestrator.storage.local_folder import LocalRun
from orchestrator.sweeps.trial_log import NAME, last_lines
from tests.support.tiny_sweep import prepare_tiny


def test_everything_printed_is_kept_and_the_streams_come_back(tmp_path: Path) -> None:
    log = tmp_path / "trial" / NAME
    before = [os.fstat(stream).st_ino for stream in (1, 2)]
    for number in (1, 2):
        with captured(log, "cpu"):
            os.write(1, b"out of native code\n")
            subprocess.run([sys.executable, "-c", "raise SystemExit('child')"], check=False)
            os.write(2, b"error %d\n" % number)
    assert [os.fstat(stream).st_ino for stream in (1, 2)] == before
    text = log.read_text()
    assert re.findall(r"^=== attempt (\d) \d{4}-.*host .*, pid \d+, cpu$", text, re.M) == ["1", "2"]
    assert text.count("child\n") == 2
    assert last_lines(log) == ("out of native code", "child", "error 2")


def test_a_log_that_cannot_be_opened_is_done_without(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with captured(tmp_path / "file" / NAME, "cpu") as lack:
        assert lack == f"{tmp_path / 'file'}: File exists"


def test_a_trial_without_its_log_is_finished_and_says_so(
    tiny: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    sweep = prepare_tiny(tiny, tmp_path / "run", {"training.epochs": 1})
    lacking, other = sweep.specs
    log = sweep.directory.trial(lacking).directory / NAME
    log.mkdir(parents=True)
    text = StringIO()
    progress = SweepProgress(Console(file=text, width=200), sweep.directory, sweep.specs)
    jobs = Jobs(sweep.pending, sweep.data, LocalRun(sweep.directory.path), Slots(1), retries=0)
    LocalExecutor().run(jobs, lambda event: progress(event.for_listeners()))
    assert all(sweep.directory.result(spec) for spec in (lacking, other))
    assert text.getvalue().count(f"done without its log; {log}: Is a directory") == 1
    assert "===" not in capfd.readouterr().err, "no line of the log goes elsewhere"


def test_a_log_does_not_grow_without_bound(tmp_path: Path) -> None:
    log = tmp_path / NAME
    with captured(log, "cpu"):
        for number in range(300):
            os.write(2, b"line %06d\n" % number)
            shorten(log, largest=1000)
        os.write(2, b"the end\n")
    assert log.stat().st_size < 1100
    assert last_lines(log, 2) == ("line 000299", "the end")
    assert "\0" not in log.read_text(), "no hole"


@pytest.mark.parametrize("ray", [False, pytest.param(True, marks=pytest.mark.ray)])
def test_a_failing_trial_shows_its_last_lines(
    tiny: Path, tmp_path: Path, ray: bool, request: pytest.FixtureRequest
) -> None:
    """One trial prints nothing, one ends with an error that is not ours."""
    sweep = prepare_tiny(tiny, tmp_path / "run", {"training.epochs": 1})
    healthy, broken = sweep.specs
    files = sweep.directory.trial(broken)
    (files.directory / "checkpoint.pt").mkdir(parents=True)  # cannot be written
    text = StringIO()
    progress = SweepProgress(Console(file=text, width=200), sweep.directory, sweep.specs)
    jobs = Jobs(sweep.pending, sweep.data, LocalRun(sweep.directory.path), Slots(1), retries=1)
    executor = request.getfixturevalue("ray_session") if ray else LocalExecutor()
    executor.run(jobs, lambda event: progress(event.for_listeners()))
    log = files.directory / NAME
    said = log.read_text()
    assert re.findall(r"=== attempt (\d)", said) == ["1", "2"], "an attempt a header"
    assert said.count("Traceback (most recent call last)") == 2
    assert last_lines(log)[-1].startswith("IsADirectoryError")
    assert f"    {last_lines(log)[-1]}\n" in text.getvalue()
    assert f"failed for good; its log: {log}" in text.getvalue()
    status = {t.spec.key: t for t in read_status(sweep.directory).trials}[broken.key]
    assert (status.log, status.detail) == (str(log), last_lines(log))
    other = (sweep.directory.trial(healthy).directory / NAME).read_text()
    assert other.splitlines()[-1] == "=== finished"
    assert "Traceback" not in other, "a log is one trial's"


def test_the_log_says_whose_training_a_trial_takes_over_or_goes_on_from(
    tiny: Path, tmp_path: Path
) -> None:
    changes: list[dict[str, object]] = [
        {"training.epochs": 1},
        {"training.epochs": 1, "postprocess.threshold": 0.4},
        {"training.epochs": 2},
    ]
    sweep = prepare_tiny(tiny, tmp_path / "run", *changes)
    specs = [spec for spec in sweep.record.specs() if spec.fold == 0]
    jobs = Jobs(
        specs=specs, data=sweep.data, storage=LocalRun(sweep.directory.path), slots=Slots(1)
    )
    LocalExecutor().run(jobs, lambda event: None)
    logs = [sweep.directory.trial(spec).directory / NAME for spec in specs]
    text = [log.read_text() for log in logs]
    assert "goes on" not in text[0]
    assert f"=== takes over the training of trial {specs[0].key}\n" in text[1]
    assert f"=== goes on after epoch 1 of trial {specs[0].key}, a shorter one\n" in text[2]
    assert last_lines(logs[2]) == ()
