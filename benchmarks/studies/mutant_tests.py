"""Tests in forks of a warm process: which lines each runs, and whether they notice a mutant.

The process has loaded the large libraries, and nothing of this project, so that a fork begins a
tenth of a second after it is wanted. Lines are noted by ``sys.settrace``, in processes that tests
start as well; no further package is needed.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest

from benchmarks.studies import mutant_hook
from benchmarks.studies.mutant_sites import Mutant

SLOW = ("ray", "slow")
LIBRARIES = ("numpy", "pandas", "scipy.stats", "scipy.ndimage", "sklearn.model_selection", "cv2")
LIBRARIES += ("torch", "pyarrow.parquet", "rich.console", "typer")
_QUIET = {"OMP_NUM_THREADS": "1", "RAY_USAGE_STATS_ENABLED": "0"}
_PATIENCE = 10.0  # seconds beyond three times what a test takes
_DEADLINE = "deadline"
_MAP_SECONDS = 1800.0  # of a test file
_NO_TESTS = 5  # pytest's exit status
_MAPPED = (0, 1, _NO_TESTS)  # those of a test file that was read
Job = TypeVar("Job")


def warm_up(libraries: Iterable[str] = LIBRARIES) -> None:
    """Load what nearly every test loads."""
    os.environ.update(_QUIET)
    for name in libraries:
        try:
            __import__(name)
        except ImportError:
            print(f"{name} is not installed", file=sys.stderr)


@dataclass(frozen=True)
class Case:
    """One test that passed.

    Attributes:
        id: pytest's.
        seconds: setup and call.
        lines: file -> lines that it runs, those of fixtures of its file included.
    """

    id: str
    seconds: float
    lines: Mapping[str, frozenset[int]]

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
            self.tests[item.nodeid] = {"seconds": 0.0, "passed": True}

    def pytest_runtest_logreport(self, report: Any) -> None:
        test = self.tests[report.nodeid]
        test["seconds"] += report.duration
        test["passed"] &= report.passed


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
            self.longest[case.file] = max(case.seconds, self.longest.get(case.file, 0.0))

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        known = [item for item in items if item.nodeid in self.place]
        items[:] = sorted(known, key=lambda item: self.place[item.nodeid])

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        usual = self.seconds[nodeid] + self.longest[nodeid.partition("::")[0]]
        self.deadline.write_text(str(time.monotonic() + _PATIENCE + 3 * usual))


class Forks:
    """Runs jobs in forks of this process, some at a time.

    Args:
        root: of the repository; every fork works there.
        workers: forks at once.
    """

    def __init__(self, root: Path, workers: int) -> None:
        self.root, self.workers = root, workers
        self.scratch = Path(tempfile.mkdtemp(prefix="mutants-"))
        hooks = self.scratch / "hooks"
        hooks.mkdir()
        shutil.copy(mutant_hook.__file__, hooks / "sitecustomize.py")
        self.path = f"{hooks}{os.pathsep}{root}"

    def close(self) -> None:
        shutil.rmtree(self.scratch, ignore_errors=True)

    def run(
        self, jobs: Iterable[Job], work: Callable[[Job, Path], int], limit: Callable[[Job], float]
    ) -> Iterator[tuple[Job, int | None, Path]]:
        """Each job with what its work returned, None if it took longer than its limit.

        ``work`` runs in the fork, in which it may do what it likes; its folder is passed on.
        """
        waiting, running, number = iter(jobs), dict[int, tuple[Job, Path, float]](), 0
        more = True
        while more or running:
            while more and len(running) < self.workers:
                job = next(waiting, None)
                if job is None:
                    more = False
                    break
                folder = self.scratch / str(number := number + 1)
                folder.mkdir()
                running[self._start(job, folder, work)] = (
                    job,
                    folder,
                    time.monotonic() + limit(job),
                )
            for pid, (job, folder, end) in list(running.items()):
                done, status = os.waitpid(pid, os.WNOHANG)
                if not done and time.monotonic() < min(end, _deadline(folder)):
                    continue
                _end_group(pid)
                if not done:
                    os.waitpid(pid, 0)
                del running[pid]
                yield job, os.waitstatus_to_exitcode(status) if done else None, folder
                shutil.rmtree(folder, ignore_errors=True)
            time.sleep(0.05)

    def _start(self, job: Job, folder: Path, work: Callable[[Job, Path], int]) -> int:
        pid = os.fork()
        if pid:
            return pid
        status = 70
        try:
            os.setsid()
            os.chdir(self.root)
            os.environ["PYTHONPATH"] = self.path
            os.environ["HYPOTHESIS_STORAGE_DIRECTORY"] = str(self.scratch / "hypothesis")
            sys.path.insert(0, str(self.root))
            said = os.open(folder / "said", os.O_WRONLY | os.O_CREAT)
            for stream in (1, 2):
                os.dup2(said, stream)
            status = work(job, folder)
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)


def _deadline(folder: Path) -> float:
    """Until when the present test of a fork may take."""
    file = folder / _DEADLINE
    text = file.read_text() if file.is_file() else ""
    return float(text) if text else math.inf


def _end_group(pid: int) -> None:
    """What a fork left behind goes with it."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return


def pytest_in(folder: Path, arguments: Sequence[str], plugin: object) -> int:
    """Run pytest in this fork, its files inside a folder."""
    fixed = ["-q", "-p", "no:cacheprovider", f"--basetemp={folder / 'tmp'}"]
    fixed += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]  # pytest itself is there already
    return int(pytest.main([*fixed, *arguments], plugins=[plugin]))


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
        fault = "" if status == 0 else f": no map ({status}) {_tail(folder)}"
        print(f"map {number}/{len(stale)} {test}{fault}", flush=True)
    maps = [_known(forks.root, store, test) for test in tests]
    return [case for known in maps if known for case in known]


def _tail(folder: Path) -> str:
    return (folder / "said").read_text(errors="replace")[-300:]


def _keep(
    root: Path, store: Path, test: str, tests: dict[str, Any], places: list[tuple[str, str, int]]
) -> None:
    own: dict[str, dict[str, set[int]]] = {}
    shared: dict[str, set[int]] = {}  # by fixtures, for which every test of the file may wait
    for name, file, line in places:
        node, _, phase = name.rpartition(" ")
        if not node:
            continue  # while tests were collected
        path = os.path.relpath(file, os.path.realpath(root))
        of = own.setdefault(node, {}) if phase in ("(call)", "(teardown)") else shared
        of.setdefault(path, set()).add(line)
    values = {
        name: {**known, "lines": {f: sorted(some) for f, some in own.get(name, {}).items()}}
        for name, known in tests.items()
    }
    ran = sorted({test, *shared, *(f for files in own.values() for f in files)})
    text = {
        "hashes": {file: _hash_of(root / file) for file in ran},
        "shared": {f: sorted(some) for f, some in shared.items()},
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
    if any(_hash_of(root / file) != value for file, value in values["hashes"].items()):
        return None
    cases = []
    for name, one in values["tests"].items():
        if one["passed"]:
            files = {*values["shared"], *one["lines"]}
            both = {
                f: frozenset(one["lines"].get(f, [])) | frozenset(values["shared"].get(f, []))
                for f in files
            }
            cases.append(Case(name, one["seconds"], both))
    return cases


def _place(store: Path, test: str) -> Path:
    return store / (test.replace("/", "+") + ".json")


def _hash_of(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else ""


def noticing(mutant: Mutant, cases: Sequence[Case]) -> list[Case]:
    """Tests that run a mutant's line, file by file, the quickest first.

    A line that runs at import is run by every test; those count that run any line of its file.
    """
    found: dict[str, list[Case]] = {}
    wanted = set(range(mutant.statement[0], mutant.statement[1] + 1))
    for case in cases:
        lines = case.lines.get(mutant.file, frozenset())
        if wanted & lines or (mutant.imported and lines):
            found.setdefault(case.file, []).append(case)
    files = sorted(found.values(), key=lambda some: sum(case.seconds for case in some))
    return [case for some in files for case in sorted(some, key=lambda case: case.seconds)]


@dataclass(frozen=True)
class Trial:
    """A mutant before some tests."""

    mutant: Mutant
    cases: tuple[Case, ...]

    @property
    def limit(self) -> float:
        """Seconds: three times what the tests take, and what it takes to load them."""
        return 30 + 3 * sum(case.seconds for case in self.cases)

    def run(self, root: Path, folder: Path) -> int:
        """Pytest's exit status; no file of the repository is changed."""
        file, text = root / self.mutant.file, folder / "mutant.py"
        text.write_text(self.mutant.applied(file.read_text(encoding="utf-8")), encoding="utf-8")
        os.environ[mutant_hook.MUTANT] = json.dumps({"file": str(file), "text": str(text)})
        mutant_hook.install()
        files = list(dict.fromkeys(case.file for case in self.cases))
        return pytest_in(folder, ["-x", *files], Chosen(self.cases, folder / _DEADLINE))


def verdict_of(status: int | None, folder: Path) -> str:
    """``caught``, ``survived``, ``timeout`` or, with what pytest says, ``error``."""
    if status is None:
        return "timeout"
    if status == 0:
        return "survived"
    return f"error {_tail(folder)}" if status == _NO_TESTS else "caught"


def values_of(mutant: Mutant, verdict: str, seconds: float) -> dict[str, Any]:
    """One line of the record."""
    return {"id": mutant.id, "verdict": verdict, "seconds": round(seconds, 2), **asdict(mutant)}
