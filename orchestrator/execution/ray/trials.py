"""Trials under Ray Tune: the trainable in the worker, and the events in the driver."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Generator
from dataclasses import asdict
from typing import Any

import orchestrator.execution.ray.settings  # noqa: F401

# isort: split
from ray import tune
from ray.tune.experiment import Trial

from gitract_core.processors import allot
from gitract_core.results.trial_result import EpochRecord
from gitract_core.spec import TrialSpec
from gitract_core.training.stopping import Stopped, only_within, stop_on
from orchestrator.execution.executor import Jobs, OnEvent, TrialEvent, note_failure
from orchestrator.execution.ray.saving import TO_SAVE, Where, ask_to_save, here
from orchestrator.execution.ray.scheduling import InOrder
from orchestrator.execution.termination import Terminated, asked
from orchestrator.execution.trial_output import logged_attempt


class TrialActor(tune.Trainable):
    """One worker process; runs trial after trial, an epoch a step."""

    def setup(self, config: dict[str, Any], **parameters: Any) -> None:
        self.jobs: Jobs = parameters["jobs"]
        allot(self.jobs.slots.cpus)
        stop_on(TO_SAVE, when_idle=False)
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.events: Generator[TrialEvent] | None = None
        self.failed = False
        self.spec = _spec_of(new_config)
        self.now = self.jobs.alone() if new_config["alone"] else self.jobs
        return True

    def step(self) -> dict[str, Any]:
        if self.failed:
            raise RuntimeError("the attempt failed, as told; Tune tries again")
        if self.events is None:
            self.events = logged_attempt(self.spec, self.now)
            return {"event": None, "where": here()}  # time to say that it is no longer wanted
        event = self._next_event()
        self.failed = event.kind == "error" and event.may_pass and event.fault != "memory_shared"
        values = asdict(event)
        values["record"] = event.record and asdict(event.record)
        return {"event": values, "done": event.kind != "epoch" and not self.failed}

    def _next_event(self) -> TrialEvent:
        assert self.events is not None
        try:
            with only_within():
                return next(self.events)
        except Stopped:
            self.events.close()
            return TrialEvent(self.spec.key, "stopped")

    def cleanup(self) -> None:
        self.events = None  # closes the generator, which lets go of the trial's lock

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Nothing: the trial's own files are its checkpoint."""

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Nothing, as above."""


class Relay(tune.Callback):
    """From Tune's calls to our events, in the driver's process."""

    def __init__(self, jobs: Jobs, on_event: OnEvent, order: InOrder, stopped: set[str]) -> None:
        self.jobs, self.on_event, self.order, self.stopped = jobs, on_event, order, stopped
        self.attempts = Counter[str]()
        self.running: dict[str, Where] = {}
        self.to_save = set[str]()
        self.deadline: float | None = None
        self.told: dict[str, TrialEvent] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Tune saves its callbacks; a live display cannot be saved, and need not be."""
        return {}

    def on_step_begin(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        """Look between Tune's own steps whether the sweep is to end.

        Raises:
            Terminated: it is; running trials have saved their state if they could in time.
        """
        if not asked():
            return
        if self.deadline is None:
            self.deadline = time.monotonic() + self.jobs.grace_seconds
            self.to_save = set(self.running)
            ask_to_save(self.running.values())
        if not self.to_save & self.running.keys() or time.monotonic() > self.deadline:
            raise self.terminated()

    def terminated(self) -> Terminated:
        """How the sweep ended that was told to."""
        return Terminated(len(self.to_save - self.running.keys()), len(self.to_save))

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        if result["event"] is None:
            self.running[trial.trial_id] = Where(*result["where"])
            return
        values = dict(result["event"])
        record = values["record"]
        values["record"] = EpochRecord(**record) if record else None
        event = TrialEvent(**values)
        self.on_event(event)
        if event.fault == "memory_shared":
            self.order.again_alone(event, _spec_of(trial.config))
        elif event.kind == "error":
            self.attempts[event.key] += 1
            self.told[event.key] = event
            if not event.may_pass:
                self._give_up(event, trial)

    def on_trial_complete(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        key = trial.config["key"]
        self.running.pop(trial.trial_id, None)
        if key in self.stopped:
            self.on_event(TrialEvent(key, "stopped"))

    def on_trial_recover(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        self.running.pop(trial.trial_id, None)
        self._error(trial.config["key"])

    def on_trial_error(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        self.running.pop(trial.trial_id, None)
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


def _spec_of(config: dict[str, Any]) -> TrialSpec:
    return TrialSpec.from_json(json.loads(config["spec"]))
