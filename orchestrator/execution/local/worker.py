"""One worker process of this machine: trials in, events out."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
from multiprocessing.connection import Connection
from typing import cast

from gitract_core.device import see_one_gpu
from gitract_core.processes import end_with_parent
from gitract_core.processors import allot
from gitract_core.spec import TrialSpec
from gitract_core.training.stopping import stop_asked, stop_on
from orchestrator.capacity.trial_slots import Slots
from orchestrator.execution.executor import Jobs, TrialEvent
from orchestrator.execution.trial_output import logged_attempt

# Forked children cannot use torch's threads or CUDA.
PROCESSES = multiprocessing.get_context("spawn")
_PATIENCE_SECONDS = 5.0


class Worker:
    """One process and the pipe to it."""

    def __init__(self, jobs: Jobs, place: int) -> None:
        self.jobs, self.place = jobs, place
        self.pipe, theirs = PROCESSES.Pipe()
        self.process = PROCESSES.Process(target=_work, args=(theirs, jobs, place), daemon=True)
        self.process.start()
        theirs.close()  # else the end of the process would not end the pipe
        self.spec: TrialSpec | None = None
        self.stopping = False

    def start(self, spec: TrialSpec) -> None:
        """Give it a trial."""
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

    def ask_to_end(self) -> None:
        """Ask for the end of the process, without saving; what is half-written is removed."""
        if self.process.pid and self.process.exitcode is None:
            os.kill(self.process.pid, signal.SIGUSR1)

    def end(self) -> int | None:
        """End the process, gently if it lets us, and return its exit code."""
        self.ask_to_end()
        self.process.join(_PATIENCE_SECONDS)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        self.pipe.close()
        return self.process.exitcode


def _work(pipe: Connection[TrialEvent, TrialSpec | None], jobs: Jobs, place: int) -> None:
    """A worker process: trials in, events out, until the other end closes; None ends a trial.

    It ends without Python's own end, which takes seconds with torch loaded.
    """
    settle(jobs.slots, place)
    with contextlib.suppress(SystemExit, EOFError, OSError):
        while not stop_asked():
            spec = pipe.recv()
            if spec is not None:  # else the trial to be stopped had ended already
                _one_attempt(pipe, spec, jobs)
    os._exit(0)


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


def settle(slots: Slots, place: int) -> None:
    """What every worker process does first; ``place`` counts the slots of this machine."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the sweep's to handle
    signal.signal(signal.SIGUSR1, _end)
    stop_on(signal.SIGTERM)
    end_with_parent()
    allot(slots.cpus)
    if slots.device == "cuda":
        see_one_gpu(place)


def _end(*_: object) -> None:
    """Half-written files are removed on the way."""
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    sys.exit(0)
