"""The worker processes of a run on this machine, and the trials given to each."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from typing import cast

from gitract_core.device import gpu_memory_sizes
from gitract_core.spec import TrialSpec
from orchestrator.execution.executor import Course, Jobs, TrialEvent, Waiting, note_failure
from orchestrator.execution.local.worker import Worker
from orchestrator.execution.out_of_memory import ToRunAlone

_LOOK_SECONDS = 0.2


class Crew:
    """As many workers as there are slots; the one at place p uses GPU p modulo their number.

    A GPU is kept for a trial that has to be alone on it: nothing else starts there meanwhile.
    """

    def __init__(self, jobs: Jobs, course: Course) -> None:
        self._jobs, self._course = jobs, course
        self._waiting, self._attempts = Waiting(jobs.specs, course), Counter[str]()
        self._workers: list[Worker] = []
        self._gpus = max(1, len(gpu_memory_sizes())) if jobs.slots.shared else 1
        self._to_run_alone = ToRunAlone(jobs)
        self._kept: dict[int, deque[TrialSpec]] = {}  # GPU -> what is to run on it alone

    def start(self) -> bool:
        """Start what there is room for; whether anything runs now."""
        self._let_go_of_gpus()
        while (place := self._free_place()) is not None and (spec := self._waiting.next()):
            if spec.key in self._to_run_alone:
                self._keep_a_gpu(spec)
            else:
                self._worker_at(place).start(spec)
        for gpu, line in self._kept.items():
            if line and not any(worker.spec for worker in self._workers_on(gpu)):
                for worker in self._workers_on(gpu):
                    self._dismiss(worker)  # even an idle process holds memory of the GPU
                self._workers.append(Worker(self._jobs.alone(), gpu))
                self._workers[-1].start(line.popleft())
        return any(worker.spec for worker in self._workers)

    def next_events(self, until: Callable[[], bool]) -> list[tuple[TrialEvent, Worker]]:
        """Wait until some workers have something to say; workers that died are taken out.

        Args:
            until: asked now and then; nothing more is waited for when it is so.
        """
        busy = {w.pipe: w for w in self._workers if w.spec}
        events = []
        ready = wait(list(busy), _LOOK_SECONDS)
        while not ready and not until():
            ready = wait(list(busy), _LOOK_SECONDS)
        for pipe in ready:
            worker = busy[cast("Connection[object, object]", pipe)]
            event = worker.receive()
            if event is None:
                what = f"the worker process died (exit code {self._dismiss(worker)})"
                event = TrialEvent.lost(cast(TrialSpec, worker.spec).key, what)
            events.append((event, worker))
        return events

    def attempt_over(self, event: TrialEvent, worker: Worker) -> TrialEvent | None:
        """Take in how an attempt ended; if none is left, the event that says so."""
        spec, worker.spec = cast(TrialSpec, worker.spec), None
        if worker.jobs is not self._jobs and worker in self._workers:
            self._dismiss(worker)  # it was alone; who comes next is not
        if event.fault == "memory_shared":
            self._to_run_alone.note(event)
            self._keep_a_gpu(spec, worker.place % self._gpus)
        elif event.kind == "error":
            self._attempts[spec.key] += 1
            if not event.may_pass or self._attempts[spec.key] > self._jobs.retries:
                return note_failure(event, spec, self._jobs, self._attempts[spec.key])
            self._waiting.again(spec)
        return None

    def stop_unwanted(self) -> None:
        """Ask for the end of trials that are no longer wanted."""
        for worker in self._workers:
            if worker.spec and not self._course.wanted(worker.spec.key):
                worker.stop()

    def save_running(self, seconds: float) -> tuple[int, int]:
        """Let running trials save their state and end; how many did so in time, and of how many."""
        busy = [worker for worker in self._workers if worker.spec]
        deadline = time.monotonic() + seconds
        for worker in busy if seconds > 0 else ():
            worker.process.terminate()
        saved = 0
        for worker in busy:
            worker.process.join(max(deadline - time.monotonic(), 0))
            saved += worker.process.exitcode == 0
        return saved, len(busy)

    def end(self) -> None:
        """End all processes, at once."""
        for worker in self._workers:
            worker.ask_to_end()
        for worker in self._workers:
            worker.end()

    def _free_place(self) -> int | None:
        """A place without a trial, on a GPU that is not kept; rather one with a process."""
        workers = {worker.place: worker for worker in self._workers}
        free = [
            place
            for place in range(self._jobs.slots.count)
            if place % self._gpus not in self._kept
            and (place not in workers or not workers[place].spec)
        ]
        return min(free, key=lambda place: (place not in workers, place), default=None)

    def _worker_at(self, place: int) -> Worker:
        for worker in self._workers:
            if worker.place == place:
                return worker
        self._workers.append(Worker(self._jobs, place))
        return self._workers[-1]

    def _workers_on(self, gpu: int) -> list[Worker]:
        return [worker for worker in self._workers if worker.place % self._gpus == gpu]

    def _dismiss(self, worker: Worker) -> int | None:
        self._workers.remove(worker)
        return worker.end()

    def _keep_a_gpu(self, spec: TrialSpec, own: int = 0) -> None:
        """Keep the GPU with the shortest line; of equals the one where it ran out of memory."""
        lines = {gpu: len(self._kept.get(gpu, ())) for gpu in range(self._gpus)}
        gpu = min(lines, key=lambda gpu: (gpu in self._kept, lines[gpu], gpu != own))
        self._kept.setdefault(gpu, deque()).append(spec)

    def _let_go_of_gpus(self) -> None:
        """GPUs on which nothing runs alone, and for which nothing that is wanted waits."""
        alone = {worker.place for worker in self._workers if worker.jobs is not self._jobs}
        lines = {
            gpu: deque(spec for spec in line if self._course.wanted(spec.key))
            for gpu, line in self._kept.items()
        }
        self._kept = {gpu: line for gpu, line in lines.items() if line or gpu in alone}
