"""Which test runs which lines, how long it takes, and whether it passes.

Lines are noted by ``sys.settrace``, in processes that tests start as well; no further package is
needed.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.studies import mutant_hook
from benchmarks.studies.mutant_forks import Forks, pytest_in, tail
from benchmarks.studies.mutant_sites import Mutant

SLOW = ("ray", "slow")
_MAPPED = (0, 1, 5)  # pytest's exit statuses of a file that was read; 5: it has no such tests
_FORMAT = 3
_MAP_SECONDS = 1800.0  # of a test file


@dataclass(frozen=True)
class Case:
    """One test that passed.

    Attributes:
        id: pytest's.
        setup, seconds: what its fixtures and it itself take; those of its file are made for the
            first test that needs them.
        lines: file -> lines that it runs, those of fixtures of its file included.
        imported: file -> lines that run while its file's modules are imported.
    """

    id: str
    setup: float
    seconds: float
    lines: Mapping[str, frozenset[int]]
    imported: Mapping[str, frozenset[int]]

    @property
    def file(self) -> str:
        """The test's file."""
        return self.id.partition("::")[0]


@dataclass
class Recorder:
    """A pytest plugin: durations and outcomes of tests."""

    tests: dict[str, dict[str, Any]] = field(default_factory=dict)

    def pytest_collection_finish(self, session: Any) -> None:
        for item in session.items:
            self.tests[item.nodeid] = {"setup": 0.0, "seconds": 0.0, "passed": True}

    def pytest_runtest_logreport(self, report: Any) -> None:
        test = self.tests[report.nodeid]
        test["setup" if report.when == "setup" else "seconds"] += report.duration
        test["passed"] &= report.passed


def read_map(
    forks: Forks, files: Sequence[str], tests: Sequence[str], store: Path, *, slow: bool
) -> list[Case]:
    """Which tests pass, how long they take and which lines of some files they run.

    One fork a test file. What is in ``store`` stays as long as the test file and the files whose
    lines it runs are unchanged. Either the tests marked ``ray`` or ``slow``, or all others.
    """
    store = store / ("slow" if slow else "quick")
    marks = " or ".join(SLOW) if slow else " and ".join(f"not {mark}" for mark in SLOW)
    store.mkdir(parents=True, exist_ok=True)
    stale = [test for test in tests if _known(forks.root, store, test) is None]
    sources = [str(forks.root / file) for file in files]

    def work(test: str, folder: Path) -> int:
        log, plugin = folder / "lines", Recorder()
        os.environ[mutant_hook.LINES] = json.dumps({"files": sources, "log": str(log)})
        mutant_hook.install()
        status = pytest_in(folder, ["-m", marks, test], plugin)
        sys.settrace(None)
        if status not in _MAPPED:
            return status
        lines = log.read_text(encoding="utf-8").splitlines() if log.is_file() else []
        _keep(forks.root, store, test, plugin.tests, [json.loads(line) for line in lines])
        return 0

    for number, (test, status, folder) in enumerate(
        forks.run(stale, work, lambda test: _MAP_SECONDS), 1
    ):
        fault = "" if status == 0 else f": no map ({status}) {tail(folder)}"
        print(f"map {number}/{len(stale)} {test}{fault}", flush=True)
    maps = [_known(forks.root, store, test) for test in tests]
    return [case for known in maps if known for case in known]


def _keep(
    root: Path, store: Path, test: str, tests: dict[str, Any], places: list[tuple[str, str, int]]
) -> None:
    own: dict[str, dict[str, set[int]]] = {}
    shared: dict[str, set[int]] = {}  # by fixtures, for which every test of the file may wait
    imported: dict[str, set[int]] = {}  # while tests were collected
    for name, file, line in places:
        node, _, phase = name.rpartition(" ")
        path = os.path.relpath(file, os.path.realpath(root))
        if not node:
            imported.setdefault(path, set()).add(line)
            continue
        of = own.setdefault(node, {}) if phase in ("(call)", "(teardown)") else shared
        of.setdefault(path, set()).add(line)
    values = {
        name: {**known, "lines": {f: sorted(some) for f, some in own.get(name, {}).items()}}
        for name, known in tests.items()
    }
    ran = sorted({test, *shared, *(f for files in own.values() for f in files)})
    text = {
        "format": _FORMAT,
        "hashes": {file: _hash_of(root / file) for file in ran},
        "shared": {f: sorted(some) for f, some in shared.items()},
        "imported": {f: sorted(some) for f, some in imported.items()},
        "tests": values,
    }
    part = _place(store, test).with_suffix(".part")
    part.write_text(json.dumps(text), encoding="utf-8")
    part.replace(_place(store, test))


def _known(root: Path, store: Path, test: str) -> list[Case] | None:
    place = _place(store, test)
    if not place.is_file():
        return None
    values = json.loads(place.read_text(encoding="utf-8"))
    if values.get("format") != _FORMAT:
        return None
    if any(_hash_of(root / file) != value for file, value in values["hashes"].items()):
        return None
    cases = []
    imported = {f: frozenset(some) for f, some in values["imported"].items()}
    for name, one in values["tests"].items():
        if one["passed"]:
            files = {*values["shared"], *one["lines"]}
            both = {
                f: frozenset(one["lines"].get(f, [])) | frozenset(values["shared"].get(f, []))
                for f in files
            }
            cases.append(Case(name, one["setup"], one["seconds"], both, imported))
    return cases


def _place(store: Path, test: str) -> Path:
    return store / (test.replace("/", "+") + ".json")


def _hash_of(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else ""


def noticing(mutant: Mutant, cases: Sequence[Case]) -> list[Case]:
    """Tests that run a mutant's statement, file by file, the quickest first.

    A line that runs at import, one of a decorator's function for example, is run by every test;
    those count that run any line of its file.
    """
    found: dict[str, list[Case]] = {}
    wanted = set(range(mutant.statement[0], mutant.statement[1] + 1))
    for case in cases:
        lines = case.lines.get(mutant.file, frozenset())
        imported = mutant.imported or wanted & case.imported.get(mutant.file, frozenset())
        if wanted & lines or (imported and lines):
            found.setdefault(case.file, []).append(case)
    files = sorted(found.values(), key=lambda some: sum(case.setup + case.seconds for case in some))
    return [case for some in files for case in sorted(some, key=lambda case: case.seconds)]
