"""Which trackers a sweep has."""

from __future__ import annotations

import sys
from contextlib import ExitStack

from orchestrator.tracking.background import Background
from orchestrator.tracking.mlflow_runs import MlflowRuns, check_client
from orchestrator.tracking.tracker import TrackedRun, Tracker


def check_trackers(mlflow: str | None) -> None:
    """Refuse what cannot work, before anything is written.

    Raises:
        GitractError: MLflow is asked for and its client is not installed.
    """
    if mlflow is not None:
        check_client()


def begin_tracking(
    stack: ExitStack, run: TrackedRun, *, tensorboard: bool, mlflow: str | None
) -> list[Background]:
    """Start the trackers that were asked for; they are closed with the stack."""
    trackers = []
    if tensorboard:
        trackers.append(Background("TensorBoard", lambda: _event_files(run), run.specs, _warn))
    if mlflow is not None:
        trackers.append(Background("MLflow", lambda: MlflowRuns(run, mlflow), run.specs, _warn))
    for tracker in trackers:
        stack.callback(tracker.close)
    return trackers


def _event_files(run: TrackedRun) -> Tracker:
    from orchestrator.tracking.tensorboard import TensorBoardFiles  # loads torch

    return TensorBoardFiles(run)


def _warn(line: str) -> None:
    print(f"gitract-cv: {line}", file=sys.stderr)
