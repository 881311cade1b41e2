"""Jobs in forks of a warm process.

The process has loaded the large libraries, and nothing of this project, so that a fork begins a
tenth of a second after it is wanted.
"""

from __future__ import annotations

import math
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import pytest

from benchmarks.studies import mutant_hook

DEADLINE = "deadline"
"""A file of a fork's folder: until when its present test may take, by the monotonic clock."""
LIBRARIES: tuple[str, ...] = ("numpy", "pandas", "scipy.stats", "scipy.ndimage", "cv2", "torch")
LIBRARIES += ("sklearn.model_selection", "pyarrow.parquet", "rich.console", "typer")
_QUIET = {"OMP_NUM_THREADS": "1", "RAY_USAGE_STATS_ENABLED": "0"}
Job = TypeVar("Job")


def warm_up(libraries: Iterable[str] = LIBRARIES) -> None:
    """Load what nearly every test loads."""
    os.environ.update(_QUIET)
    os.environ.pop(mutant_hook.TEST, None)  # of a test that started this process
    for name in libraries:
        try:
            __import__(name)
        except ImportError:
            print(f"{name} is not installed", file=sys.stderr)


class Forks:
    """Runs jobs in forks of this process, some at a time.

    Args:
        root: of the repository; every fork works there.
        workers: forks at once.
    """

    def __init__(self, root: Path, workers: int) -> None:
        self.root, self.workers = root, workers
        self.running: set[int] = set()
        self.scratch = Path(tempfile.mkdtemp(prefix="mutants-"))
        hooks = self.scratch / "hooks"
        hooks.mkdir()
        shutil.copy(mutant_hook.__file__, hooks / "sitecustomize.py")
        self.path = f"{hooks}{os.pathsep}{root}"

    def close(self) -> None:
        """End what still runs and remove all files."""
        for pid in self.running:
            _end_group(pid)
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
                self.running.discard(pid)
                yield job, os.waitstatus_to_exitcode(status) if done else None, folder
                shutil.rmtree(folder, ignore_errors=True)
            time.sleep(0.05)

    def _start(self, job: Job, folder: Path, work: Callable[[Job, Path], int]) -> int:
        pid = os.fork()
        if pid:
            self.running.add(pid)
            return pid
        status = 70
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
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
    file = folder / DEADLINE
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


def tail(folder: Path, length: int = 300) -> str:
    """The last characters that a fork said."""
    return (folder / "said").read_text(errors="replace")[-length:]
