"""Disks that are full: it is told, no file is left half written, and the sweep goes on later."""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gitract_core.errors import RunError
from gitract_core.results.trial_result import TrialFiles
from gitract_core.trial.run import iterate_trial
from orchestrator.execution.executor import TrialEvent, attempt, note_failure
from tests.support.faulty_sweep import SPACE, ended, half_written, jobs_of, sweep_command
from tests.support.tiny_sweep import prepare_tiny

pytestmark = pytest.mark.usefixtures("no_orphans")


@contextmanager
def largest_file(size_bytes: int) -> Iterator[None]:
    """The system refuses to write beyond this size, as it does when a disk is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("room_bytes", [100, 4000, 16000])
def test_full_disk_is_told_and_leaves_no_half_file(
    room_bytes: int, tiny: Path, tmp_path: Path
) -> None:
    """Too full for the history, for the weights, for the checkpoint."""
    sweep = prepare_tiny(tiny, tmp_path / "run")
    spec, jobs = sweep.specs[0], jobs_of(sweep)
    files = jobs.files(spec.key)
    with largest_file(room_bytes):
        events = list(attempt(spec, jobs))
        last = note_failure(events[-1], spec, jobs, 1)
    assert [(e.kind, e.fault, e.may_pass) for e in events] == [("error", "disk", True)]
    assert "expected room to write" in events[0].message
    assert (last.kind, last.fault, last.message) == ("failed", "disk", events[0].message)
    assert files.failure.is_file() == (room_bytes > 100 and files.failure.stat().st_size > 0)
    assert not half_written(tmp_path)
    assert not files.checkpoint.exists()
    events = list(attempt(spec, jobs))
    assert [e.record.epoch for e in events if e.record] == [1, 2, 3]
    assert (events[-1].kind, files.failure.exists()) == ("finished", False)


def test_a_disk_that_fills_later_keeps_the_last_checkpoint(tiny: Path, tmp_path: Path) -> None:
    sweep = prepare_tiny(tiny, tmp_path / "run")
    spec, files = sweep.specs[0], TrialFiles(tmp_path / "trial")
    running = iterate_trial(spec, sweep.data, files.directory)
    next(running)
    whole = files.checkpoint.read_bytes()
    with largest_file(len(whole) // 2), pytest.raises(OSError, match="too large"):
        next(running)
    assert files.checkpoint.read_bytes() == whole
    assert not half_written(tmp_path)
    assert [r.epoch for r in iterate_trial(spec, sweep.data, files.directory)] == [2, 3]


def test_folds_without_a_record_are_no_foreign_files(tiny: Path, tmp_path: Path) -> None:
    """The record comes after them; a disk may be full by then."""
    sweep = prepare_tiny(tiny, tmp_path / "run")
    sweep.directory.record_file.unlink()
    assert {p.name for p in (tmp_path / "run").iterdir()} == {"digests.json", "folds.json"}
    assert prepare_tiny(tiny, tmp_path / "run").specs == sweep.specs
    sweep.directory.record_file.unlink()
    (tmp_path / "run" / "folds of mine.json").touch()
    with pytest.raises(RunError, match="expected a new or empty directory"):
        prepare_tiny(tiny, tmp_path / "run")


def test_no_space_left_says_so() -> None:
    error = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    event = TrialEvent.from_exception("key", error)
    assert event.message.startswith("the run directory or the cache: expected room to write")
    assert "No space left on device; free some space" in event.message


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_sweep_on_a_full_disk_exits_1_and_goes_on_when_there_is_room(
    tiny: Path, tmp_path: Path
) -> None:
    prepare_tiny(tiny, tmp_path / "other")  # the cache is there already
    (tmp_path / "space.yaml").write_text(SPACE + "training: {epochs: 2}\n")
    full = sweep_command(tmp_path, tiny, limit_bytes=16000)
    said = ended(full)
    assert full.returncode == 1, said
    assert said.count("expected room to write, got") == 4, "two trials, two attempts each"
    assert "2 trials failed for good" in said
    assert "report: expected room to write the page and tables" in said
    assert "Traceback" not in said
    assert not half_written(tmp_path / "run")
    again = sweep_command(tmp_path, tiny)
    said = ended(again)
    assert again.returncode == 0, said
    assert not list((tmp_path / "run").glob("trials/*/failure.json"))
