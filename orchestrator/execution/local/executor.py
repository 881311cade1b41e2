"""Trials in worker processes of this machine, without Ray."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import cache
from typing import Any, TypeVar

from gitract_core.device import gpu_memory_sizes
from gitract_core.errors import TrialError
from gitract_core.processors import usable_processors
from orchestrator.capacity.trial_slots import Node, Slots
from orchestrator.execution.executor import Course, Everything, Jobs, OnEvent, Work
from orchestrator.execution.local.worker import PROCESSES, settle
from orchestrator.execution.local.worker_pool import Crew
from orchestrator.execution.termination import Terminated, asked, looked_for

T = TypeVar("T")


class LocalExecutor:
    """As many worker processes as there are slots; each runs one trial after another."""

    def run(self, jobs: Jobs, on_event: OnEvent, course: Course | None = None) -> None:
        """Run the jobs; a worker that dies costs its trial one attempt and is replaced.

        Raises:
            Terminated: after SIGTERM; running trials have saved their state if they could in time.
        """
        crew = Crew(jobs, course or Everything())
        try:
            with looked_for():
                while not asked() and crew.start():
                    for event, worker in crew.next_events(until=asked):
                        on_event(event)
                        if event.kind != "epoch":
                            last = crew.attempt_over(event, worker)
                            if last:
                                on_event(last)
                    crew.stop_unwanted()
                if asked():
                    saved, running = crew.save_running(jobs.grace_seconds)
                    raise Terminated(saved, running)
        finally:
            crew.end()

    def map(self, work: Work[T], names: Sequence[str], slots: Slots) -> Iterator[T]:
        """What the work makes of each name, in order; with a single slot in this very process."""
        if min(slots.count, len(names)) < 2:
            yield from map(work.begin(), names)
            return
        places = PROCESSES.Value("i", 0)
        pool = ProcessPoolExecutor(
            min(slots.count, len(names)), PROCESSES, _begin, (work, slots, places)
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


_work_of_this_process: Work[Any]


def _begin(work: Work[Any], slots: Slots, places: Any) -> None:
    """A process of ``map`` begins; its work only with the first name, so that it can fail."""
    global _work_of_this_process
    with places.get_lock():
        place, places.value = places.value, places.value + 1
    settle(slots, place)
    _work_of_this_process = work


def _one(name: str) -> Any:
    return _begun()(name)


@cache
def _begun() -> Callable[[str], Any]:
    return _work_of_this_process.begin()


def this_machine() -> Node:
    """What this machine has."""
    gpus = gpu_memory_sizes()
    return Node(usable_processors(), len(gpus), min(gpus, default=0))
