"""The short form of the soak: a round of each kind."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.soak import Length, Tally, _check_leftovers, soak
from tests.support.warm import cold_children


@pytest.mark.slow
@pytest.mark.timeout(280)
def test_two_rounds_of_kills_lose_and_leave_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("GITRACT_SOAK", "GITRACT_CACHE", "RAY_TMPDIR"):
        monkeypatch.setenv(name, "")
    with cold_children():  # the soak knows processes by their environment
        tally = soak(tmp_path, seconds=1, seed=3, length=Length(12, 4.0))
    assert tally.rounds == 2
    assert sum(tally.kills.values()) > 0
    assert not tally.faults


def test_leftovers_are_found(tmp_path: Path) -> None:
    tally = Tally()
    _check_leftovers(tmp_path, tally, set(os.listdir("/dev/shm")))
    assert not tally.faults
    (tmp_path / "run1/trials/x").mkdir(parents=True)
    (tmp_path / "run1/trials/x/.result.json.abc.part").touch()
    with (tmp_path / "file").open("w"):
        _check_leftovers(tmp_path, tally, set(os.listdir("/dev/shm")))
    assert [fault.partition(": ")[2].partition(":")[0] for fault in tally.faults] == [
        "left behind",
        "open files",
    ]
