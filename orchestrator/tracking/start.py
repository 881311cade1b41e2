"""Starts the trackers that a sweep asks for."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from gitract_core.optional_packages import require
from gitract_core.spec import TrialSpec
from orchestrator.sweeps.events import SweepEvent
from orchestrator.tracking.background import Background
from orchestrator.tracking.mlflow_runs import MlflowRuns
from orchestrator.tracking.tracker import TrackedRun, Tracker

EVENT_FILES = "TensorBoard"


def check_trackers(mlflow: str | None) -> None:
    """Refuse what cannot work, before anything is written.

    Raises:
        GitractError: MLflow is asked for and its client is not installed.
    """
    if mlflow is not None:
        require("mlflow", "--mlflow", "mlflow")


@dataclass(frozen=True)
class Trackers:
    """All trackers of a sweep, told everything together."""

    run: TrackedRun
    each: Sequence[Background]

    def __call__(self, event: SweepEvent) -> None:
        """Take note of an event; returns at once."""
        if event.kind == "proposed":
            self._add(event.specs)
        elif event.trial:
            for tracker in self.each:
                tracker(event)

    def lacks_files(self) -> bool:
        """Whether the run's disk refused event files; asked when all trackers are closed."""
        return any(t.name == EVENT_FILES and isinstance(t.fault, OSError) for t in self.each)

    def _add(self, specs: Sequence[TrialSpec]) -> None:
        """Further trials of the sweep."""
        self.run.add(specs)
        for tracker in self.each:
            tracker.add(specs)


def begin_tracking(
    stack: ExitStack, run: TrackedRun, *, tensorboard: bool, mlflow: str | None
) -> Trackers:
    """Start the trackers that were asked for; they are closed with the stack."""
    trackers = []
    if tensorboard:
        trackers.append(Background(EVENT_FILES, lambda: _event_files(run), run.specs, _warn))
    if mlflow is not None:
        trackers.append(Background("MLflow", lambda: MlflowRuns(run, mlflow), run.specs, _warn))
    for tracker in trackers:
        stack.callback(tracker.close)
    return Trackers(run, trackers)


def _event_files(run: TrackedRun) -> Tracker:
    from orchestrator.tracking.tensorboard import TensorBoardFiles  # loads torch

    return TensorBoardFiles(run)


def _warn(line: str) -> None:
    print(f"gitract-cv: {line}", file=sys.stderr)
