"""Trials in worker processes of this machine, without Ray."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import cache
from multiprocessing.connection import Connection, wait
from typing import Any, TypeVar, cast

from gitract_core.device import gpu_memory_sizes, see_one_gpu
from gitract_core.errors import TrialError
from gitract_core.spec import TrialSpec
from orchestrator.children import end_with_parent
from orchestrator.executor import (
    Course,
    Everything,
    Jobs,
    OnEvent,
    TrialEvent,
    Waiting,
    Work,
    note_failure,
)
from orchestrator.slots import Node, Slots
from orchestrator.trial_log import logged_attempt

T = TypeVar("T")

# Forked children cannot use torch's threads or CUDA.
_PROCESSES = multiprocessing.get_context("spawn")
_PATIENCE_SECONDS = 5.0


class LocalExecutor:
    """As many worker processes as there are slots; each runs one trial after another."""

    def run(self, jobs: Jobs, on_event: OnEvent, course: Course | None = None) -> None:
        """Run the jobs; a worker that dies costs its trial one attempt and is replaced."""
        course = course or Everything()
        waiting, attempts = Waiting(jobs.specs, course), Counter[str]()
        workers: list[_Worker] = []
        try:
            while True:
                while _busy(workers) < jobs.slots.count and (spec := waiting.next()):
                    _idle(workers, jobs).start(spec)
                if not _busy(workers):
                    return
                for event, worker in _next_events(workers):
                    spec = cast(TrialSpec, worker.spec)
                    on_event(event)
                    if event.kind == "epoch":
                        continue
                    worker.spec = None
                    if event.kind == "error":
                        attempts[spec.key] += 1
                        if event.may_pass and attempts[spec.key] <= jobs.retries:
                            waiting.again(spec)
                        else:
                            on_event(note_failure(event, spec, jobs, attempts[spec.key]))
                _stop_unwanted(workers, course)
        finally:
            for worker in workers:
                worker.end()

    def map(self, work: Work[T], names: Sequence[str], slots: Slots) -> Iterator[T]:
        """What the work makes of each name, in order; with a single slot in this very process."""
        if min(slots.count, len(names)) < 2:
            yield from map(work.begin(), names)
            return
        places = _PROCESSES.Value("i", 0)
        pool = ProcessPoolExecutor(
            min(slots.count, len(names)), _PROCESSES, _begin, (work, slots, places)
        )
        ahead: deque[Future[T]] = deque()
        try:
            for name in names:
                ahead.append(pool.submit(_one, name))
                if len(ahead) > 2 * slots.count:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        except BrokenProcessPool:
            got, remedy = "one that died", "look for the reason (memory?) and run again"
            raise TrialError("worker", "a process that lives", got, remedy) from None
        finally:
            pool.shutdown(cancel_futures=True)


class _Worker:
    """One process and the pipe to it."""

    def __init__(self, jobs: Jobs, place: int) -> None:
        self.place = place
        self.pipe, theirs = _PROCESSES.Pipe()
        self.process = _PROCESSES.Process(target=_work, args=(theirs, jobs, place), daemon=True)
        self.process.start()
        theirs.close()  # else the end of the process would not end the pipe
        self.spec: TrialSpec | None = None
        self.stopping = False

    def start(self, spec: TrialSpec) -> None:
        self.spec, self.stopping = spec, False
        with contextlib.suppress(OSError):  # a process that died meanwhile is found by receive
            self.pipe.send(spec)

    def stop(self) -> None:
        """Ask for the end of its trial after the epoch that it is at."""
        if not self.stopping:
            self.stopping = True
            with contextlib.suppress(OSError):
                self.pipe.send(None)

    def receive(self) -> TrialEvent | None:
        """The next event, or None if the process is gone."""
        try:
            return cast(TrialEvent, self.pipe.recv())
        except (EOFError, OSError):
            return None

    def end(self) -> int | None:
        """End the process, gently if it lets us, and return its exit code."""
        self.process.terminate()
        self.process.join(_PATIENCE_SECONDS)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        self.pipe.close()
        return self.process.exitcode


def _busy(workers: list[_Worker]) -> int:
    return sum(worker.spec is not None for worker in workers)


def _idle(workers: list[_Worker], jobs: Jobs) -> _Worker:
    """A worker without a trial, a new one if need be; there must be a free slot."""
    for worker in workers:
        if worker.spec is None:
            return worker
    free = set(range(jobs.slots.count)) - {worker.place for worker in workers}
    workers.append(_Worker(jobs, min(free)))
    return workers[-1]


def _stop_unwanted(workers: list[_Worker], course: Course) -> None:
    for worker in workers:
        if worker.spec and not course.wanted(worker.spec.key):
            worker.stop()


def _next_events(workers: list[_Worker]) -> list[tuple[TrialEvent, _Worker]]:
    """Wait until some workers have something to say; workers that died are taken out."""
    busy = {w.pipe: w for w in workers if w.spec}
    events = []
    for pipe in wait(list(busy)):
        worker = busy[cast("Connection[object, object]", pipe)]
        event = worker.receive()
        if event is None:
            workers.remove(worker)
            what = f"the worker process died (exit code {worker.end()})"
            event = TrialEvent.lost(cast(TrialSpec, worker.spec).key, what)
        events.append((event, worker))
    return events


def _work(pipe: Connection[TrialEvent, TrialSpec | None], jobs: Jobs, place: int) -> None:
    """A worker process: trials in, events out, until the other end closes; None ends a trial."""
    _settle(jobs.slots, place)
    try:
        while True:
            spec = pipe.recv()
            if spec is not None:  # else the trial to be stopped had ended already
                _one_attempt(pipe, spec, jobs)
    except (EOFError, OSError):
        return


def _one_attempt(
    pipe: Connection[TrialEvent, TrialSpec | None], spec: TrialSpec, jobs: Jobs
) -> None:
    with contextlib.closing(logged_attempt(spec, jobs)) as events:  # closed, it lets go of the lock
        for event in events:
            if event.kind == "epoch" and pipe.poll():
                pipe.send(event)
                pipe.recv()
                break
            pipe.send(event)
        else:
            return
    pipe.send(TrialEvent(spec.key, "stopped"))


_work_of_this_process: Work[Any]


def _begin(work: Work[Any], slots: Slots, places: Any) -> None:
    """A process of ``map`` begins; its work only with the first name, so that it can fail."""
    global _work_of_this_process
    with places.get_lock():
        place, places.value = places.value, places.value + 1
    _settle(slots, place)
    _work_of_this_process = work


def _one(name: str) -> Any:
    return _begun()(name)


@cache
def _begun() -> Callable[[str], Any]:
    return _work_of_this_process.begin()


def _settle(slots: Slots, place: int) -> None:
    """What every worker process does first; ``place`` counts the slots of this machine."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the sweep's to handle
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # half-written files are removed
    end_with_parent()
    if slots.device == "cuda":
        see_one_gpu(place)


def this_machine() -> Node:
    """What this machine has."""
    gpus = gpu_memory_sizes()
    return Node(len(os.sched_getaffinity(0)), len(gpus), min(gpus, default=0))
