"""Where a Ray session keeps its sockets; ``ray_session`` of the tests has a long ``TMPDIR``."""

from __future__ import annotations

from pathlib import Path

import pytest

from gitract_core.errors import GitractError
from orchestrator.execution.ray import session_folder as module


@pytest.fixture(autouse=True)
def _no_tmpdir(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_TMPDIR", raising=False)


def test_short_folders_are_left_to_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in ("/tmp", "/scratch/job-12345678"):
        monkeypatch.setenv("TMPDIR", folder)
        assert module.session_folder() is None


@pytest.mark.parametrize("variable", ["TMPDIR", "RAY_TMPDIR"])
def test_a_long_one_is_replaced_for_as_long_as_the_session(
    variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "/scratch/" + "t" * 60)
    made = Path(str(module.session_folder()))
    assert made.is_dir()
    assert len(f"{made}/session_2026-11-27_21-06-37_310522_4194304/sockets/plasma_store") <= 107
    module.remove_session_folders()
    assert not made.exists()


def test_without_a_short_one_it_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", "/scratch/" + "t" * 60)
    monkeypatch.setattr(module, "_SHORT", ("/nowhere",))
    with pytest.raises(GitractError, match=r"TMPDIR: expected a path of at most \d\d bytes"):
        module.session_folder()
