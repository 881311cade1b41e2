"""Sweeps under random kills, for as long as is asked: ``python -m tests.soak --minutes 60``.

Trials run in worker processes of this machine, or with ``--ray`` in those of a Ray session that
each sweep starts for itself.

Rounds of two kinds take turns. In the one a ``gitract-cv sweep`` of its own process is given again
and again while its workers and the sweep itself are killed (``kill -9``) at random moments, a
bounded number of times; in the other the workers of an executor in this very process are, so that
what the driver leaks would show. After every round:

- every trial is finished, with the scores of a sweep that nobody disturbed: nothing lost;
- a result, once written, is never written again (inode and time of change stay);
- no process, lock, shared memory or half-written file is left, nor in this process an open file;
- this process has not grown.

Kills are drawn from ``--seed``; at which instruction they strike is the machine's choice.
"""

from __future__ import annotations

import argparse
import gc
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from gitract_core.results.trial_result import TrialResult
from orchestrator.capacity.trial_slots import Slots
from orchestrator.execution.executor import Jobs
from orchestrator.storage.local_folder import LocalRun
from orchestrator.sweeps.run_directory import SweepDirectory
from tests.support.soak_processes import MARK, Place, agents, marked
from tests.support.tiny_contest import write_tiny_contest
from tests.support.tiny_sweep import SPACE, prepare_tiny

ROOT = Path(__file__).parent.parent
MOST_KILLS = 5
MOST_GROWTH_MIB = 60
Scores = dict[str, object]


@dataclass(frozen=True)
class Length:
    """How long a round takes: epochs of a trial, and the longest wait for the next kill."""

    epochs: int = 40
    longest_wait_seconds: float = 12.0


@dataclass
class Tally:
    """What happened so far; ``faults`` should stay empty."""

    length: Length = field(default_factory=Length)
    rounds: int = 0
    kills: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    memory_mib: list[int] = field(default_factory=list)

    def check(self, sound: bool, what: str) -> None:
        if not sound:
            self.faults.append(f"round {self.rounds}: {what}")


def soak(
    home: Path, seconds: float, seed: int = 0, *, ray: bool = False, length: Length = Length()
) -> Tally:
    """Rounds until the time is over, two at least."""
    data, tally, source = write_tiny_contest(home / "tiny"), Tally(length), random.Random(seed)
    place = Place(ray)
    epochs = f"epochs: {length.epochs}, patience: {length.epochs}"
    (home / "space.yaml").write_text(f"{SPACE}training: {{{epochs}}}\n")
    os.environ["GITRACT_CACHE"] = str(home / "cache")
    key, value = MARK.split("=")
    os.environ[key] = value
    os.environ["RAY_TMPDIR"] = str(home)  # Ray appends "ray"
    shared = set(os.listdir("/dev/shm"))
    reference = _scores(_swept(home, data, ("reference", place), _never))
    end = time.monotonic() + seconds
    while tally.rounds < 2 or time.monotonic() < end:
        name = f"run{tally.rounds}"
        round_of = _driver_round if tally.rounds % 2 == 0 else _worker_round
        run = round_of(home, data, (name, place), (source, tally))
        tally.check(_scores(run) == reference, "a trial is lost, or has other scores")
        _check_leftovers(home, tally, shared)
        tally.rounds += 1
    _wait(lambda: not agents(), 300)
    tally.check(not agents(), f"agents of Ray left: {agents()}")
    return tally


def _never(process: subprocess.Popen[bytes]) -> None:
    """Let a sweep be."""


def _swept(
    home: Path,
    data: Path,
    where: tuple[str, Place],
    disturb: Callable[[subprocess.Popen[bytes]], None],
) -> SweepDirectory:
    """One ``gitract-cv sweep`` to its end, whatever that is."""
    name, place = where
    code = "from orchestrator.cli import main; main()"
    told = ["sweep", "--data", str(data), "--space", str(home / "space.yaml")]
    told += [] if place.ray else ["--local"]
    told += ["--out", str(home / name), "--checkpoint-minutes", "0.001", "--cpus-per-trial", "1"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with (home / f"{name}.log").open("ab") as log:
        command = [sys.executable, "-c", code, *told]
        process = subprocess.Popen(command, cwd=home, env=environment, stdout=log, stderr=log)
        disturb(process)
        process.wait()
    return SweepDirectory(home / name)


def _driver_round(
    home: Path, data: Path, where: tuple[str, Place], drawn: tuple[random.Random, Tally]
) -> SweepDirectory:
    """The same command again and again, killed here and there, until it is through."""
    (name, place), (source, tally) = where, drawn
    left, codes = [source.randint(1, MOST_KILLS)], list[int]()

    def disturb(process: subprocess.Popen[bytes]) -> None:
        while left[0] and process.poll() is None:
            time.sleep(source.uniform(0, tally.length.longest_wait_seconds))
            workers = place.workers(process.pid)
            if process.poll() is not None:
                break
            victim = process.pid if not workers or source.random() < 0.4 else workers[0]
            _kill(victim, "driver" if victim == process.pid else "worker", tally)
            left[0] -= 1
        codes.append(process.wait())

    with _write_once(home / name, tally):
        while not codes or codes[-1]:
            run = _swept(home, data, where, disturb)
            tally.check(codes[-1] in (0, 1, -signal.SIGKILL), f"exit code {codes[-1]}")
            _wait(lambda: not marked(), 120)
            tally.check(not marked(), f"processes outlive their sweep: {marked()}")
            if len(codes) > MOST_KILLS + 3:
                tally.check(False, "it does not come to its end")
                break
    return run


def _worker_round(
    home: Path, data: Path, where: tuple[str, Place], drawn: tuple[random.Random, Tally]
) -> SweepDirectory:
    """An executor of this process; one of its workers is killed now and then."""
    (name, place), (source, tally) = where, drawn
    changes = [{"loss": loss} for loss in ("bce", "bce + dice")]
    epochs, longest = tally.length.epochs, tally.length.longest_wait_seconds
    knobs = {"training.epochs": epochs, "training.patience": epochs}
    sweep = prepare_tiny(data, home / name, *({**knobs, **c} for c in changes))
    jobs = Jobs(sweep.pending, sweep.data, LocalRun(sweep.directory.path), Slots(2), MOST_KILLS)
    over = threading.Event()
    waits = [source.uniform(2, longest) for _ in range(source.randint(1, 3))]

    def disturb() -> None:
        for seconds in waits:
            if over.wait(seconds):
                return
            for worker in place.workers(os.getpid())[:1]:
                _kill(worker, "worker", tally)

    thread = threading.Thread(target=disturb)
    with _write_once(home / name, tally), place.executor() as executor:
        thread.start()
        executor.run(jobs, lambda event: None)
        over.set()
        thread.join()
    gc.collect()
    tally.memory_mib.append(_resident_mib())
    return sweep.directory


@contextmanager
def _write_once(run: Path, tally: Tally) -> Iterator[None]:
    """Watch that no result is written a second time."""
    seen: dict[Path, tuple[int, int]] = {}
    over = threading.Event()

    def watch() -> None:
        last = False
        while not last:
            last = over.wait(0.1)
            for file in run.glob("trials/*/result.json"):
                stat = file.stat()
                now = (stat.st_ino, stat.st_mtime_ns)
                tally.check(seen.setdefault(file, now) == now, f"{file} written twice")

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _scores(run: SweepDirectory) -> Scores:
    """Scores of every trial of a run by its key; None where there is no result."""
    found: Scores = {}
    for spec in run.record().specs():
        file = run.trial(spec).result
        found[spec.key] = TrialResult.load(file).scores if file.is_file() else None
    return found


def _check_leftovers(home: Path, tally: Tally, shared: set[str]) -> None:
    half = [p for p in home.rglob("*") if ".part" in p.name or p.suffix == ".tmp"]
    half += list(home.glob("*/.sweep.lock")) + list(home.glob("run*/trials/*/checkpoint.pt"))
    tally.check(not half, f"left behind: {half[:3]}")
    _wait(lambda: not marked(), 120)
    tally.check(not marked(), f"processes left: {marked()}")
    _wait(lambda: not _shared_since(shared), 60)  # what other programs hold for a moment goes
    tally.check(not _shared_since(shared), f"shared memory left: {_shared_since(shared)[:3]}")
    open_files = [os.path.realpath(f"/proc/self/fd/{n}") for n in os.listdir("/proc/self/fd")]
    logs = str(home / "ray" / "session")  # what Ray opened in this process it never closes
    ours = [f for f in open_files if f.startswith(str(home)) and not f.startswith(logs)]
    tally.check(not ours, f"open files: {ours[:3]}")
    if len(tally.memory_mib) > 2:  # the first rounds fill caches
        grown = tally.memory_mib[-1] - tally.memory_mib[1]
        tally.check(grown < MOST_GROWTH_MIB, f"grown by {grown} MiB")


def _shared_since(before: set[str]) -> list[str]:
    """New pieces of shared memory of the kinds that Python and torch make."""
    more = set(os.listdir("/dev/shm")) - before
    return [n for n in more if n.startswith(("torch_", "psm_", "sem.mp-"))]


def _kill(process: int, what: str, tally: Tally) -> None:
    try:
        os.kill(process, signal.SIGKILL)
    except ProcessLookupError:
        return
    tally.kills[what] += 1


def _wait(true: Callable[[], bool], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not true() and time.monotonic() < end:
        time.sleep(0.1)


def _resident_mib() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") >> 20


def main() -> int:
    ask = argparse.ArgumentParser(prog="python -m tests.soak")
    ask.add_argument("--minutes", type=float, default=60)
    ask.add_argument("--seed", type=int, default=0)
    ask.add_argument("--ray", action="store_true", help="on Ray instead of local workers")
    told = ask.parse_args()
    with tempfile.TemporaryDirectory(prefix="gitract-soak-") as home:
        tally = soak(Path(home), 60 * told.minutes, told.seed, ray=told.ray)
    kills = ", ".join(f"{n} {what}s" for what, n in sorted(tally.kills.items()))
    memory = f"{tally.memory_mib[0]} -> {tally.memory_mib[-1]} MiB"
    print(f"{tally.rounds} rounds, killed {kills}, memory {memory}, {len(tally.faults)} faults")
    print("\n".join(tally.faults))
    return int(bool(tally.faults))


if __name__ == "__main__":
    sys.exit(main())
