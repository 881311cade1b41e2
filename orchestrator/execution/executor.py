"""The executor protocol: trials in, events out, whatever runs them.

An executor gets one explicit list of jobs and calls back with events; truth is in the trials'
files. ``local_executor`` uses worker processes of this machine, ``ray_executor`` a cluster. Both
pass one contract suite and give equal results.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import re
import traceback
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

from gitract_core.errors import GitractError
from gitract_core.files.atomic import write_json
from gitract_core.results.trial_result import EpochRecord, TrialFiles
from gitract_core.spec import TrialSpec
from orchestrator.storage.run_storage import StoreError
from orchestrator.sweeps.events import SweepEvent

if TYPE_CHECKING:
    from gitract_core.data.cache import CacheSource
    from gitract_core.trial.data import TrialData
    from orchestrator.capacity.trial_slots import Slots
    from orchestrator.storage.run_storage import RunStorage


Fault = Literal["diverged", "refused", "memory", "memory_shared", "disk", "lost", "error"]
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True)
class Jobs:
    """Everything an executor needs.

    Attributes:
        specs: trials without a result, in the order in which they should start.
        data: where their data is.
        storage: where the run lives.
        slots: how trials share a machine.
        retries: further attempts after a failure that may pass.
        keep_oof: whether trials leave their out-of-fold probabilities behind.
        checkpoint_minutes, keep_state: when trials save their state, and whether they leave it; see
            ``gitract_core.device.Runtime``.
        grace_seconds: how long trials may take to save their state after SIGTERM.
    """

    specs: Sequence[TrialSpec]
    data: TrialData
    storage: RunStorage
    slots: Slots
    retries: int = 1
    keep_oof: bool = True
    checkpoint_minutes: float = 10.0
    keep_state: bool = True
    grace_seconds: float = 30.0

    def reading_from(self, source: CacheSource) -> Jobs:
        """The same jobs; nodes without the data fetch the cache from a source."""
        return dataclasses.replace(self, data=dataclasses.replace(self.data, source=source))

    def alone(self) -> Jobs:
        """The same jobs, each on a whole GPU."""
        return dataclasses.replace(self, slots=self.slots.alone())

    def files(self, key: str) -> TrialFiles:
        """The files of the trial with this key, on the machine where this is asked."""
        return TrialFiles(self.storage.directory / "trials" / key)


@dataclass(frozen=True, slots=True)
class TrialEvent:
    """Something that happened to a trial.

    Attributes:
        key: the trial's.
        kind: ``epoch``; ``finished``; ``error``: an attempt ended; ``failed``: no attempt is left;
            ``stopped``: after an epoch, since it is no longer wanted; its checkpoint stays.
        record: an epoch's, or None.
        message: one line on an error, or on what a finished trial had to do without.
        detail: its traceback.
        may_pass: whether another attempt could end differently.
        fault: what kind of error, for machines; ``failure.json`` holds it as ``kind``:
            ``diverged``: the loss is no longer finite;
            ``refused``: something given to us is wrong, or another process runs the trial;
            ``memory``: the device's or the machine's is full;
            ``memory_shared``: the device's is full, and others share it: to be run again alone;
            ``disk``: no space left to write;
            ``lost``: the process or its node ended, or the store of the run does not answer;
            ``error``: anything else. Empty where nothing is wrong.
    """

    key: str
    kind: Literal["epoch", "finished", "error", "failed", "stopped"]
    record: EpochRecord | None = None
    message: str = ""
    detail: str = ""
    may_pass: bool = True
    fault: Fault | Literal[""] = ""

    @classmethod
    def from_exception(cls, key: str, error: BaseException, *, shared: bool = False) -> TrialEvent:
        """The event of an attempt that ended with an exception.

        Errors of our own say that something given to us is wrong or that a loss diverged: the next
        attempt would end alike.

        Args:
            key: the trial's.
            error: what was raised.
            shared: whether the trial may have had neighbors on its GPU.
        """
        fault = _fault(error)
        if shared and _of_device_memory(error):
            fault = "memory_shared"
        ours = isinstance(error, GitractError) and fault != "lost"
        detail = "".join(traceback.format_exception(error))
        return cls(key, "error", None, _message(error, fault), detail, not ours, fault)

    def for_listeners(self) -> SweepEvent:
        """The event as those hear it who listen to the sweep."""
        if self.record is None:
            return SweepEvent(self.kind, self.key, reason=self.message, fault=self.fault)
        metrics = dataclasses.asdict(self.record)
        return SweepEvent(self.kind, self.key, int(metrics.pop("epoch")), metrics)

    @classmethod
    def lost(cls, key: str, what: str) -> TrialEvent:
        """The event of an attempt whose process ended without a word."""
        return cls(key, "error", None, what, fault="lost")


def _fault(error: BaseException) -> Fault:
    if isinstance(error, StoreError):
        return "lost"
    if isinstance(error, GitractError):
        return "diverged" if getattr(error, "kind", "") == "diverged" else "refused"
    if isinstance(error, MemoryError) or _of_device_memory(error):
        return "memory"
    full = isinstance(error, OSError) and error.errno in _DISK_FULL
    return "disk" if full else "error"


def _of_device_memory(error: BaseException) -> bool:
    """Whether a device's memory ran out: in PyTorch's allocator, or in CUDA and its libraries."""
    if type(error).__name__ == "OutOfMemoryError":  # by name: torch is not to be loaded for this
        return True
    said = str(error) * isinstance(error, RuntimeError)
    of_cuda = re.search("CUDA|CUBLAS|CUDNN", said) and re.search("out of memory|ALLOC_FAILED", said)
    return bool(of_cuda) or "DefaultCPUAllocator: " in said


def _message(error: BaseException, fault: Fault) -> str:
    first = (str(error).splitlines() or [""])[0]
    if isinstance(error, GitractError):
        return first
    if fault == "disk" and isinstance(error, OSError):
        where = error.filename or "the run directory or the cache"
        return f"{where}: expected room to write, got {error.strerror}; free some space"
    if fault == "memory_shared":
        return f"out of memory beside other trials: {first}; runs again alone on a whole GPU"
    if fault == "memory":
        return f"out of memory, in smaller parts too: {first}; run fewer trials at a time"
    return f"{type(error).__name__}: {first}"


OnEvent = Callable[[TrialEvent], None]


class Course(Protocol):
    """What a run still wants; asked in the caller's process, between events."""

    def wanted(self, key: str) -> bool:
        """Whether a trial is to start, or to go on after its epoch."""

    def more(self) -> Sequence[TrialSpec]:
        """Further trials, asked for when a slot is free and nothing waits; none for now if empty.

        Nothing at all is running when the run ends with an empty answer.
        """


class Everything:
    """The course of a plain list: all of it, and nothing else."""

    def wanted(self, key: str) -> bool:
        """Yes."""
        return True

    def more(self) -> Sequence[TrialSpec]:
        """None."""
        return ()


class Waiting:
    """The trials that have not started, in order; those no longer wanted never come out."""

    def __init__(self, specs: Sequence[TrialSpec], course: Course) -> None:
        self._specs, self._course = deque(specs), course

    def next(self, *, further: bool = True) -> TrialSpec | None:
        """The next trial to start, or None if there is none for now.

        Args:
            further: whether the course may be asked for more: only when a slot is free.
        """
        while True:
            if not self._specs and further:
                self._specs.extend(self._course.more())
            if not self._specs:
                return None
            spec = self._specs.popleft()
            if self._course.wanted(spec.key):
                return spec

    def again(self, spec: TrialSpec) -> None:
        """Another attempt, first of all: others may wait for its result."""
        self._specs.appendleft(spec)


T = TypeVar("T")
Made = TypeVar("Made", covariant=True)


class Work(Protocol[Made]):
    """Something to be done for many names, scans for example; sent to the processes that do it."""

    def begin(self) -> Callable[[str], Made]:
        """Load what is needed, once a process; what it gives is called with one name after another.

        Raises:
            GitractError: passed on to the caller of ``Executor.map``.
        """


class Executor(Protocol):
    """Runs trials and other work in many processes."""

    def run(self, jobs: Jobs, on_event: OnEvent, course: Course | None = None) -> None:
        """Run the jobs, calling back in the caller's process.

        Returns when every one that is still wanted is finished or has failed for good.

        Args:
            jobs: the trials to begin with, and how to run them.
            on_event: called with every event.
            course: says what is no longer wanted, and what else is; by default all jobs are run.
        """

    def map(self, work: Work[T], names: Sequence[str], slots: Slots) -> Iterator[T]:
        """What the work makes of each name, in their order; few are made ahead of the reader."""


def attempt(
    spec: TrialSpec, jobs: Jobs, say: Callable[[str], object] = lambda line: None
) -> Generator[TrialEvent, None, None]:
    """One attempt at a trial, in the process that runs it: its epochs, then how it ended.

    Args:
        spec: of the trial.
        jobs: that it is one of.
        say: takes lines for the trial's log.
    """
    from gitract_core.device import Runtime  # torch: in the process that trains, not before
    from gitract_core.training.stopping import Stopped
    from gitract_core.trial.run import iterate_trial

    runtime = Runtime(
        device=jobs.slots.device,
        threads=jobs.slots.cpus,
        keep_oof=jobs.keep_oof,
        checkpoint_minutes=jobs.checkpoint_minutes,
        keep_state=jobs.keep_state,
        split_batches=not jobs.slots.shared,
        say=say,
    )
    stored = jobs.storage.trial(spec)
    try:
        stored.begin()
        for record in iterate_trial(spec, jobs.data, jobs.files(spec.key).directory, runtime):
            stored.save()
            yield TrialEvent(spec.key, "epoch", record)
        stored.save()
    except Stopped:
        stored.save()
        raise
    except Exception as error:
        yield TrialEvent.from_exception(spec.key, error, shared=jobs.slots.shared)
    else:
        yield TrialEvent(spec.key, "finished")


def note_failure(event: TrialEvent, spec: TrialSpec, jobs: Jobs, attempts: int) -> TrialEvent:
    """Write ``failure.json`` for a trial with no attempt left, and return its last event.

    Where the disk is too full for that, the event alone tells.
    """
    values: dict[str, Any] = {
        "key": spec.key,
        "spec": spec.to_json(),
        "attempts": attempts,
        "kind": event.fault,
        "message": event.message,
        "detail": event.detail,
    }
    with contextlib.suppress(OSError):
        write_json(jobs.files(spec.key).failure, values, seal=True)
    return dataclasses.replace(event, kind="failed", may_pass=False)
