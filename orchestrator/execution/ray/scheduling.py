"""The order in which Ray Tune starts trials, and when it stops them."""

from __future__ import annotations

import json
from collections import deque
from typing import Any

import orchestrator.execution.ray.settings  # noqa: F401

# isort: split
from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler
from ray.tune.search import Searcher

from gitract_core.spec import TrialSpec
from orchestrator.execution.executor import Course, Jobs, TrialEvent, Waiting
from orchestrator.execution.out_of_memory import ToRunAlone
from orchestrator.execution.termination import asked


class InOrder(Searcher):
    """Gives Tune the next trial when it has room for one; never one that is not wanted.

    Tune asks ahead, so that processes start early; what waits is given to it, but nothing more is
    thought of before a slot is free.
    """

    def __init__(self, waiting: Waiting, jobs: Jobs) -> None:
        super().__init__()
        self.waiting, self.slots = waiting, jobs.slots
        self.to_run_alone, self.alone = ToRunAlone(jobs), deque[TrialSpec]()
        self.whole = jobs.slots.whole  # of the first trials, still to be given a GPU each
        self.open: dict[str, bool] = {}  # whether alone
        self.started: set[str] = set()

    def __getstate__(self) -> dict[str, Any]:
        """Tune saves its searcher; what decides in a race cannot be saved, and need not be."""
        return {}

    def set_search_properties(self, *_: Any, **__: Any) -> bool:
        return True

    def suggest(self, trial_id: str) -> Any:
        found = self._next()
        if found is None:
            return None if self.open or self.alone else str(Searcher.FINISHED)
        spec, alone = found
        self.open[trial_id] = alone
        alone = alone or self.whole > 0
        self.whole = max(self.whole - 1, 0)
        return {"key": spec.key, "spec": json.dumps(spec.to_json()), "alone": alone}

    def _next(self) -> tuple[TrialSpec, bool] | None:
        """What starts next, and whether on a whole GPU."""
        while True:
            if asked():
                return None
            if self.alone and sum(self.open.values()) < self._gpus:
                return self.alone.popleft(), True
            further = len(self.open) < self.slots.count
            spec = self.waiting.next(further=further) if self._has_room() else None
            if spec is None:
                return None
            if spec.key not in self.to_run_alone:
                return spec, False
            self.alone.append(spec)

    def _has_room(self) -> bool:
        """Whether another trial may be asked for; one more than there are slots uses new nodes.

        For a trial that needs a whole GPU as many slots fall free as share one. Ray fills the
        fullest GPU first, and so one of them empties.
        """
        alone = sum(self.open.values())
        shared = len(self.open) - alone
        if alone:
            return shared < self.slots.count - alone * self.slots.per_gpu
        return shared < self.slots.count or self.started >= self.open.keys()

    @property
    def _gpus(self) -> int:
        return max(1, self.slots.count // max(self.slots.per_gpu, 1))

    def again_alone(self, event: TrialEvent, spec: TrialSpec) -> None:
        """Another attempt at a trial that ran out of memory beside others."""
        self.to_run_alone.note(event)
        self.waiting.again(spec)

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        self.started.add(trial_id)

    def on_trial_complete(self, trial_id: str, *_: Any, **__: Any) -> None:
        self.open.pop(trial_id, None)
        self.started.discard(trial_id)

    def save(self, checkpoint_path: str) -> None:
        """Nothing: what is left to run is read from the trials' files."""

    def save_to_dir(self, *_: Any, **__: Any) -> None:
        """Nothing, as above."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing, as above."""


class Stopping(FIFOScheduler):
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
