"""A mutant before the tests that run its line."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytest

from benchmarks.studies import mutant_hook
from benchmarks.studies.mutant_forks import DEADLINE, pytest_in, tail
from benchmarks.studies.mutant_map import Case
from benchmarks.studies.mutant_sites import Mutant

_FAILED = (1, 2)  # pytest's exit statuses: a test failed, or could not be read
_WRONG_USE = 4
_PATIENCE = 10.0  # seconds beyond three times what a test takes


class Chosen:
    """A pytest plugin: some tests alone, in their order, and until when the present one may take.

    Args:
        cases: the tests.
        deadline: a file for the time, which the process that started this one reads.
    """

    def __init__(self, cases: Sequence[Case], deadline: Path) -> None:
        self.place = {case.id: number for number, case in enumerate(cases)}
        self.seconds = {case.id: case.seconds for case in cases}
        self.deadline = deadline
        self.longest: dict[str, float] = {}  # a fixture of the file may be made for any test
        for case in cases:
            self.longest[case.file] = max(case.setup, self.longest.get(case.file, 0.0))

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        known = [item for item in items if item.nodeid in self.place]
        items[:] = sorted(known, key=lambda item: self.place[item.nodeid])

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        usual = self.seconds[nodeid] + self.longest[nodeid.partition("::")[0]]
        self.deadline.write_text(str(time.monotonic() + _PATIENCE + 3 * usual))


@dataclass(frozen=True)
class Trial:
    """A mutant before some tests."""

    mutant: Mutant
    cases: tuple[Case, ...]

    @property
    def limit(self) -> float:
        """Seconds: three times what the tests take, and what it takes to load them."""
        return 30 + 3 * sum(case.setup + case.seconds for case in self.cases)

    def run(self, root: Path, folder: Path) -> int:
        """Pytest's exit status; no file of the repository is changed."""
        file, text = root / self.mutant.file, folder / "mutant.py"
        text.write_text(self.mutant.applied(file.read_text(encoding="utf-8")), encoding="utf-8")
        os.environ[mutant_hook.MUTANT] = json.dumps({"file": str(file), "text": str(text)})
        mutant_hook.install()
        files = list(dict.fromkeys(case.file for case in self.cases))
        return pytest_in(folder, ["-x", *files], Chosen(self.cases, folder / DEADLINE))


def verdict_of(status: int | None, folder: Path) -> str:
    """``caught``, ``survived``, ``timeout`` or, with the last that was said, ``error``."""
    if status is None:
        return "timeout"
    if status == 0:
        return "survived"
    unloaded = status == _WRONG_USE and "while loading conftest" in tail(folder, 10_000)
    return "caught" if status in _FAILED or status < 0 or unloaded else f"error {tail(folder)}"


def values_of(mutant: Mutant, verdict: str, seconds: float) -> dict[str, Any]:
    """One line of the record."""
    return {"id": mutant.id, "verdict": verdict, "seconds": round(seconds, 2), **asdict(mutant)}
