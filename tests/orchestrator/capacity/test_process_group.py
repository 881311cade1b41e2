"""Processes that do the same work at once: they meet, and none waits for one that fails."""

from __future__ import annotations

import os
import time
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pytest

from gitract_core.errors import DataError
from orchestrator.capacity.process_group import ProcessGroup, meet


def pids_after_meeting(folder: Path) -> tuple[int, int]:
    """The process, and how many had come when it went on."""
    (folder / str(os.getpid())).touch()
    meet()
    return os.getpid(), len(list(folder.iterdir()))


def one_fails(folder: Path) -> None:
    """The first process to come raises; the others wait for it."""
    try:
        (folder / "first").mkdir()
    except FileExistsError:
        meet()
    else:
        time.sleep(0.2)
        raise DataError("slice_0007.png", "an image", "none", "restore it")


def one_dies(folder: Path) -> None:
    try:
        (folder / "first").mkdir()
    except FileExistsError:
        meet()
    else:
        os._exit(9)


def test_none_goes_on_before_all_have_come(tmp_path: Path) -> None:
    with ProcessGroup(3) as group:
        for name in ("once", "again"):
            (tmp_path / name).mkdir()
            found = group.run(pids_after_meeting, tmp_path / name)
            assert len({pid for pid, _ in found}) == 3
            assert [there for _, there in found] == [3, 3, 3]


def test_the_cause_of_a_failure_is_raised_and_nobody_waits(tmp_path: Path) -> None:
    begun = time.monotonic()
    with ProcessGroup(2) as group, pytest.raises(DataError, match=r"slice_0007\.png"):
        group.run(one_fails, tmp_path)
    assert time.monotonic() - begun < 60, "far from the patience of the barrier"


def test_a_process_that_dies_breaks_the_group(tmp_path: Path) -> None:
    with ProcessGroup(2) as group, pytest.raises(BrokenProcessPool):
        group.run(one_dies, tmp_path)
