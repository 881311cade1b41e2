"""``racing.json``: which candidates a race dropped, when and why. ``steering`` writes it."""

from __future__ import annotations

from pathlib import Path
from typing import NotRequired, TypedDict

from gitract_core.errors import counted, one_line
from gitract_core.files.atomic import read_json
from orchestrator.sweeps.run_directory import SweepDirectory


class LoggedDecision(TypedDict):
    """One decision on a candidate, as the file holds it."""

    after_folds: int
    key: str
    candidate: NotRequired[str]
    probability: float | None
    dropped: bool
    reason: str
    at: NotRequired[str | None]


class RaceLog(TypedDict):
    """What is read of ``racing.json``."""

    decisions: list[LoggedDecision]
    earlier: NotRequired[list[LoggedDecision]]


def log_file(directory: SweepDirectory) -> Path:
    """``racing.json`` of a run."""
    return directory.path / "racing.json"


def read_log(file: Path) -> RaceLog:
    """The decisions of a race.

    Raises:
        RunError: the file is damaged.
    """
    return read_json(file, RaceLog, "remove the file; it is a log")


def dropped(directory: SweepDirectory) -> dict[str, str]:
    """Why candidates were dropped, by key; empty for a run without racing.

    Raises:
        RunError: the log is damaged.
    """
    file = log_file(directory)
    if not file.is_file():
        return {}
    return {d["key"]: _reason(d) for d in read_log(file)["decisions"] if d["dropped"]}


def _reason(decision: LoggedDecision) -> str:
    reason = one_line(decision["reason"])
    words = reason_in_words(decision["after_folds"], reason, decision["probability"])
    return f"dropped by racing {words}"


def reason_in_words(after_folds: int, reason: str, probability: float | None) -> str:
    """When and why somebody is dropped.

    >>> reason_in_words(1, "chance", 0.0001), reason_in_words(2, "segments nothing", None)
    ('after 1 fold: chance < .001', 'after 2 folds: segments nothing')
    >>> reason_in_words(2, "chance", 0.0041)
    'after 2 folds: chance .004'
    """
    folds = counted(after_folds, "fold")
    shown = ""
    if probability is not None and probability == probability:
        rounded = f"{probability:.3f}".removeprefix("0")
        shown = " < .001" if rounded == ".000" else f" {rounded}"
    return f"after {folds}: {reason}{shown}"
