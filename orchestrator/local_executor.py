"""Trials in worker processes of this machine, without Ray."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
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
from orchestrator.executor import Jobs, OnEvent, TrialEvent, Work, note_failure
from orchestrator.slots import Node, Slots
from orchestrator.trial_log import logged_attempt

T = TypeVar("T")

# Forked children cannot use torch's threads or CUDA.
_PROCESSES = multiprocessing.get_context("spawn")
_PATIENCE_SECONDS = 5.0


class LocalExecutor:
    """As many worker processes as there are slots; each runs one trial after another."""

    def run(self, jobs: Jobs, on_event: OnEvent) -> None:
        """Run the jobs; a worker that dies costs its trial one attempt and is replaced."""
        waiting, attempts = deque(jobs.specs), Counter[str]()
        workers: list[_Worker] = []
        try:
            while waiting or any(w.spec for w in workers):
                while waiting and (worker := _idle(workers, jobs)):
                    worker.start(waiting.popleft())
                for event, worker in _next_events(workers):
                    spec = cast(TrialSpec, worker.spec)
                    on_event(event)
                    if event.kind == "epoch":
                        continue
                    worker.spec = None
                    if event.kind == "error":
                        attempts[spec.key] += 1
                        if event.may_pass and attempts[spec.key] <= jobs.retries:
                            waiting.append(spec)
                        else:
                            on_event(note_failure(event, spec, jobs, attempts[spec.key]))
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

    def start(self, spec: TrialSpec) -> None:
        self.spec = spec
        self.pipe.send(spec)

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


def _idle(workers: list[_Worker], jobs: Jobs) -> _Worker | None:
    """A worker without a trial, a new one if there is a slot, or None."""
    for worker in workers:
        if worker.spec is None:
            return worker
    if len(workers) < jobs.slots.count:
        free = set(range(jobs.slots.count)) - {worker.place for worker in workers}
        workers.append(_Worker(jobs, min(free)))
        return workers[-1]
    return None


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


def _work(pipe: Connection[TrialEvent, TrialSpec], jobs: Jobs, place: int) -> None:
    """A worker process: trials in, events out, until the other end closes."""
    _settle(jobs.slots, place)
    try:
        while True:
            for event in logged_attempt(pipe.recv(), jobs):
                pipe.send(event)
    except (EOFError, OSError):
        return


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
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if slots.device == "cuda":
        see_one_gpu(place)


def _end_with_parent() -> None:
    """End this process when the sweep's is gone, killed perhaps, even in mid-epoch."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_PATIENCE_SECONDS)
    os._exit(1)


def this_machine() -> Node:
    """What this machine has."""
    gpus = gpu_memory_sizes()
    return Node(len(os.sched_getaffinity(0)), len(gpus), min(gpus, default=0))
