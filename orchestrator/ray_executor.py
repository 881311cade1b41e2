"""Trials on a Ray cluster: the one module that imports Ray.

Ray Tune takes trials from one list of ours, in order and only as slots fall free, and decides
nothing but where each runs. A step of its trainable is one epoch of ours, so that a running trial
can be stopped in between. State is in the trials' own files; Tune keeps no checkpoints, and its
experiment files are scratch. Worker processes are reused: starting one costs more than a small
trial.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import tempfile
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

# Nothing leaves the machine unless the user turns usage statistics on; read when Ray is imported.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
if os.environ["RAY_USAGE_STATS_ENABLED"] == "0":
    os.environ.setdefault("RAY_USAGE_STATS_REPORT_URL", "http://127.0.0.1:9/")
os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")  # Ctrl-C is the sweep's to handle
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
os.environ.setdefault("RAY_worker_niceness", "0")  # trials are the work, not the background

import numpy as np
import ray
from ray import tune
from ray.exceptions import AuthenticationError, RayActorError, RayTaskError
from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler
from ray.tune.search import Searcher
from ray.util import ActorPool
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from gitract_core.cache import cache_root
from gitract_core.device import gpu_memory_sizes
from gitract_core.errors import GitractError, TrialError
from gitract_core.results import EpochRecord
from gitract_core.spec import TrialSpec
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

_OBJECT_STORE_BYTES = 128 * 2**20  # of an own session: its one machine has the data
_PIECE_BYTES = 32 * 2**20
_dashboard = ""


class RayExecutor:
    """Trials on the cluster that ``connect`` reached."""

    def run(self, jobs: Jobs, on_event: OnEvent, course: Course | None = None) -> None:
        """Run the jobs; Ray starts a trial again whose process or node is lost."""
        feed = _start_feed()
        try:
            self._run(jobs.reading_from(RayCacheSource(feed)), on_event, course or Everything())
        finally:
            ray.kill(feed)

    def _run(self, jobs: Jobs, on_event: OnEvent, course: Course) -> None:
        os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(jobs.slots.count)
        trainable = tune.with_resources(
            tune.with_parameters(_TrialActor, jobs=dataclasses.replace(jobs, specs=())),
            {"cpu": jobs.slots.cpus, "gpu": jobs.slots.gpus},
        )
        stopper = _Stopping(course)
        with tempfile.TemporaryDirectory(prefix="gitract-cv-") as scratch:
            tuner = tune.Tuner(
                trainable,
                tune_config=tune.TuneConfig(
                    reuse_actors=True,
                    num_samples=-1,
                    search_alg=_InOrder(Waiting(jobs.specs, course), jobs.slots.count),
                    scheduler=stopper,
                    trial_dirname_creator=lambda trial: str(trial.trial_id),
                ),
                run_config=tune.RunConfig(
                    name="sweep",
                    storage_path=scratch,
                    verbose=0,
                    failure_config=tune.FailureConfig(max_failures=jobs.retries),
                    callbacks=[_Relay(jobs, on_event, stopper.stopped)],
                ),
            )
            tuner.fit()

    def map(self, work: Work[T], names: Sequence[str], slots: Slots) -> Iterator[T]:
        """What the work makes of each name, in order; a lost process or node is replaced twice."""
        actor = ray.remote(_MapActor).options(
            num_cpus=slots.cpus, num_gpus=slots.gpus, max_restarts=2, max_task_retries=2
        )
        shared = ray.put(work)
        workers: list[Any] = [actor.remote(shared) for _ in range(min(slots.count, len(names)))]
        try:
            yield from ActorPool(workers).map(_MapActor.ask, list(names))
        except RayTaskError as error:
            raise error.cause from None
        except RayActorError:
            got, remedy = "one lost three times", "look for the reason (memory?) and run again"
            raise TrialError("worker", "a process that lives", got, remedy) from None
        finally:
            for worker in workers:
                ray.kill(worker)


class CacheFeed:
    """A process on the driver's machine that hands out its cache, piece by piece."""

    def __init__(self, root: str) -> None:
        self.root, self.given = Path(root), Counter[str]()

    def sizes(self, name: str) -> dict[str, int]:
        """Bytes of each file of a cache directory."""
        self.given[name] += 1
        return {path.name: path.stat().st_size for path in (self.root / name).iterdir()}

    def piece(self, name: str, file: str, start: int) -> np.ndarray:
        """Bytes of a file from a place on; its only copy lies in the object store."""
        path = self.root / name / file
        return np.fromfile(path, np.uint8, count=_PIECE_BYTES, offset=start)

    def asked(self) -> dict[str, int]:
        """How often each cache was begun to be fetched."""
        return dict(self.given)


@dataclass(frozen=True)
class RayCacheSource:
    """The driver's cache for nodes that have no data: a ``CacheSource`` through Ray's objects.

    Two pieces are on their way at a time, so that a small object store does not overflow; a piece
    leaves the store as soon as it is on the node's disk.
    """

    feed: Any

    def fetch(self, name: str, part: Path) -> None:
        """Copy the files of the driver's cache directory ``name`` into ``part``."""
        sizes: dict[str, int] = ray.get(self.feed.sizes.remote(name))
        for file, size in sizes.items():
            starts = range(0, size, _PIECE_BYTES)
            waiting = deque(self._ask(name, file, start) for start in starts[:2])
            with (part / file).open("wb") as out:
                for ahead in (*starts[2:], None, None)[: len(starts)]:
                    out.write(ray.get(waiting.popleft()).data)
                    if ahead is not None:
                        waiting.append(self._ask(name, file, ahead))

    def _ask(self, name: str, file: str, start: int) -> Any:
        return self.feed.piece.remote(name, file, start)


def _start_feed() -> Any:
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    feed = ray.remote(CacheFeed).options(num_cpus=0, scheduling_strategy=here, max_restarts=2)
    return feed.remote(str(cache_root().resolve()))


class _MapActor:
    """One worker process of ``map``."""

    def __init__(self, work: Work[Any]) -> None:
        self.work = work

    @cached_property
    def _begun(self) -> Callable[[str], Any]:
        return self.work.begin()

    def make(self, name: str) -> Any:
        return self._begun(name)

    @staticmethod
    def ask(worker: Any, name: str) -> Any:
        """In the driver: ask a worker, which is a handle of this class."""
        return worker.make.remote(name)


class _TrialActor(tune.Trainable):
    """One worker process; runs trial after trial, an epoch a step."""

    def setup(self, config: dict[str, Any], **parameters: Any) -> None:
        self.jobs: Jobs = parameters["jobs"]
        self.failed = False
        self.events: Iterator[TrialEvent] | None = None
        self.spec = self._spec(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.events, self.spec, self.failed = None, self._spec(new_config), False
        return True

    def _spec(self, config: dict[str, Any]) -> TrialSpec:
        return _spec_of(config)

    def step(self) -> dict[str, Any]:
        if self.failed:
            raise RuntimeError("the attempt failed, as told; Tune tries again")
        if self.events is None:
            self.events = logged_attempt(self.spec, self.jobs)
            return {"event": None}  # time to say that it is no longer wanted
        event = next(self.events)
        self.failed = event.kind == "error" and event.may_pass
        values = asdict(event)
        values["record"] = event.record and asdict(event.record)
        return {"event": values, "done": event.kind != "epoch" and not self.failed}

    def cleanup(self) -> None:
        self.events = None  # closes the generator, which lets go of the trial's lock

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Nothing: the trial's own files are its checkpoint."""

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Nothing, as above."""


class _Relay(tune.Callback):
    """From Tune's calls to our events, in the driver's process."""

    def __init__(self, jobs: Jobs, on_event: OnEvent, stopped: set[str]) -> None:
        self.jobs, self.on_event, self.stopped = jobs, on_event, stopped
        self.attempts = Counter[str]()
        self.told: dict[str, TrialEvent] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Tune saves its callbacks; a live display cannot be saved, and need not be."""
        return {}

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        if result["event"] is None:
            return
        values = dict(result["event"])
        record = values["record"]
        values["record"] = EpochRecord(**record) if record else None
        event = TrialEvent(**values)
        self.on_event(event)
        if event.kind == "error":
            self.attempts[event.key] += 1
            self.told[event.key] = event
            if not event.may_pass:
                self._give_up(event, trial)

    def on_trial_complete(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        key = trial.config["key"]
        if key in self.stopped:
            self.on_event(TrialEvent(key, "stopped"))

    def on_trial_recover(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        self._error(trial.config["key"])

    def on_trial_error(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        self._give_up(self._error(trial.config["key"]), trial)

    def _error(self, key: str) -> TrialEvent:
        """What the actor told before its attempt ended; an actor that is lost tells nothing."""
        event = self.told.pop(key, None)
        if event is None:
            self.attempts[key] += 1
            event = TrialEvent.lost(key, "the worker process or its node was lost")
            self.on_event(event)
        return event

    def _give_up(self, event: TrialEvent, trial: Trial) -> None:
        attempts = self.attempts[event.key] or 1
        self.on_event(note_failure(event, _spec_of(trial.config), self.jobs, attempts))


class _InOrder(Searcher):
    """Gives Tune the next trial when it has room for one; never one that is not wanted.

    Tune asks ahead, so that processes start early; what waits is given to it, but nothing more is
    thought of before a slot is free.
    """

    def __init__(self, waiting: Waiting, slots: int) -> None:
        super().__init__()
        self.waiting, self.slots = waiting, slots
        self.open: set[str] = set()

    def __getstate__(self) -> dict[str, Any]:
        """Tune saves its searcher; what decides in a race cannot be saved, and need not be."""
        return {}

    def set_search_properties(self, *_: Any, **__: Any) -> bool:
        return True

    def suggest(self, trial_id: str) -> Any:
        spec = self.waiting.next(further=len(self.open) < self.slots)
        if spec is None:
            return None if self.open else str(Searcher.FINISHED)
        self.open.add(trial_id)
        return {"key": spec.key, "spec": json.dumps(spec.to_json())}

    def on_trial_complete(self, trial_id: str, *_: Any, **__: Any) -> None:
        self.open.discard(trial_id)

    def save(self, checkpoint_path: str) -> None:
        """Nothing: what is left to run is read from the trials' files."""

    def save_to_dir(self, *_: Any, **__: Any) -> None:
        """Nothing, as above."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing, as above."""


class _Stopping(FIFOScheduler):
    """Stops trials that are no longer wanted, before their first epoch or after any."""

    def __init__(self, course: Course) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.course = course
        self.stopped: set[str] = set()

    def __getstate__(self) -> dict[str, Any]:
        return {}

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        if result.get("done") or self.course.wanted(trial.config["key"]):
            return str(FIFOScheduler.CONTINUE)
        self.stopped.add(trial.config["key"])
        return str(FIFOScheduler.STOP)


def _spec_of(config: dict[str, Any]) -> TrialSpec:
    return TrialSpec.from_json(json.loads(config["spec"]))


def connect(address: str | None = None) -> list[Node]:
    """Reach a cluster, or start a session of our own on this machine, and say what it has.

    Args:
        address: as ``ray.init`` takes it (``auto``, ``host:port``); None for an own session.

    Raises:
        GitractError: there is no cluster at that address, it does not let us in, or none of its
            machines offers a processor; machines without any are left out.
    """
    global _dashboard
    own = address is None
    try:
        session = ray.init(
            address="local" if own else address,
            include_dashboard=False if own else None,
            object_store_memory=_OBJECT_STORE_BYTES if own else None,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    except AuthenticationError as error:
        got = str(error).partition(". ")[0]
        remedy = "copy ~/.ray/auth_token of the cluster's head here, or unset RAY_AUTH_MODE"
        raise GitractError("RAY_AUTH_MODE", "the cluster's token", got, remedy) from None
    except (ConnectionError, RuntimeError, ValueError) as error:
        got = str(error).splitlines()[0]
        remedy = "start the cluster (ray start --head) or leave --address out"
        raise GitractError("--address", "a Ray cluster", got, remedy) from None
    _dashboard = session.dashboard_url or ""
    memory = min(gpu_memory_sizes(), default=0)  # other nodes are taken to be like the driver's
    nodes = [
        Node(int(r.get("CPU", 0)), int(r.get("GPU", 0)), memory)
        for r in (n["Resources"] for n in ray.nodes() if n["Alive"])  # type: ignore[no-untyped-call]
        if r.get("CPU", 0) >= 1
    ]
    if not nodes:
        remedy = "add a machine to the cluster, or start it without --num-cpus=0"
        raise GitractError("--address", "a machine that runs trials", "no processors", remedy)
    return nodes


def dashboard() -> str:
    """The address of the dashboard of the cluster that ``connect`` reached; empty without one."""
    return _dashboard and f"http://{_dashboard}"


def disconnect() -> None:
    """Leave the cluster; an own session ends with all its processes."""
    ray.shutdown()
