"""Trials on a Ray cluster; only the modules of this folder import Ray.

Ray Tune takes trials from one list of ours, in order and only as slots fall free, and decides
nothing but where each runs. A step of its trainable is one epoch of ours, so that a running trial
can be stopped in between. State is in the trials' own files; Tune keeps no checkpoints, and its
experiment files are scratch. Worker processes are reused: starting one costs more than a small
trial.
"""

from __future__ import annotations

import dataclasses
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property, partial
from typing import Any, TypeVar

import orchestrator.execution.ray.settings  # noqa: F401

# isort: split
import ray
from ray import tune
from ray.exceptions import RayActorError, RayTaskError
from ray.util import ActorPool

from gitract_core.errors import TrialError
from gitract_core.processors import allot
from orchestrator.capacity.trial_slots import Slots
from orchestrator.execution.executor import Course, Everything, Jobs, OnEvent, Waiting, Work
from orchestrator.execution.ray.cache import RayCacheSource, start_feed
from orchestrator.execution.ray.scheduling import InOrder, Stopping
from orchestrator.execution.ray.session import connect, dashboard, disconnect
from orchestrator.execution.ray.trials import Relay, TrialActor
from orchestrator.execution.termination import asked, looked_for

__all__ = ["RayExecutor", "connect", "dashboard", "disconnect"]

T = TypeVar("T")


class RayExecutor:
    """Trials on the cluster that ``connect`` reached."""

    def run(self, jobs: Jobs, on_event: OnEvent, course: Course | None = None) -> None:
        """Run the jobs; Ray starts a trial again whose process or node is lost."""
        feed = start_feed()
        try:
            self._run(jobs.reading_from(RayCacheSource(feed)), on_event, course or Everything())
        finally:
            ray.kill(feed)

    def _run(self, jobs: Jobs, on_event: OnEvent, course: Course) -> None:
        os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(jobs.slots.count)
        trainable = tune.with_resources(
            tune.with_parameters(TrialActor, jobs=dataclasses.replace(jobs, specs=())),
            partial(_resources, jobs.slots),
        )
        order, stopper = InOrder(Waiting(jobs.specs, course), jobs), Stopping(course)
        relay = Relay(jobs, on_event, order, stopper.stopped)
        with tempfile.TemporaryDirectory(prefix="gitract-cv-") as scratch:
            tuner = tune.Tuner(
                trainable,
                tune_config=tune.TuneConfig(
                    reuse_actors=True,
                    num_samples=-1,
                    search_alg=order,
                    scheduler=stopper,
                    trial_dirname_creator=lambda trial: str(trial.trial_id),
                ),
                run_config=tune.RunConfig(
                    name="sweep",
                    storage_path=scratch,
                    verbose=0,
                    failure_config=tune.FailureConfig(max_failures=jobs.retries),
                    callbacks=[relay],
                ),
            )
            with looked_for():
                tuner.fit()
                if asked():
                    raise relay.terminated()

    def map(self, work: Work[T], names: Sequence[str], slots: Slots) -> Iterator[T]:
        """What the work makes of each name, in order; a lost process or node is replaced twice."""
        actor = ray.remote(_MapActor).options(
            num_cpus=slots.cpus,
            num_gpus=slots.gpus,
            max_restarts=2,
            max_task_retries=2,
            scheduling_strategy="SPREAD",
        )
        shared = ray.put(work)
        workers: list[Any] = [
            actor.remote(shared, slots.cpus) for _ in range(min(slots.count, len(names)))
        ]
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


def _resources(slots: Slots, config: dict[str, Any]) -> tune.PlacementGroupFactory:
    """What a trial holds, and where not: its share of a GPU, or a whole one."""
    gpus = slots.alone().gpus if config.get("alone") else slots.gpus
    elsewhere = {"ray.io/node-id": f"!in({','.join(slots.avoid)})"} if slots.avoid else {}
    bundle = {"CPU": slots.cpus, "GPU": gpus}
    return tune.PlacementGroupFactory([bundle], bundle_label_selector=[elsewhere])


class _MapActor:
    """One worker process of ``map``."""

    def __init__(self, work: Work[Any], processors: int) -> None:
        self.work = work
        allot(processors)

    @cached_property
    def _begun(self) -> Callable[[str], Any]:
        return self.work.begin()

    def make(self, name: str) -> Any:
        return self._begun(name)

    @staticmethod
    def ask(worker: Any, name: str) -> Any:
        """In the driver: ask a worker, which is a handle of this class."""
        return worker.make.remote(name)
