"""What training a candidate costs, without the noise of the machine. Loads neither torch nor Ray.

Trials share machines, so that their wall times say as much of their neighbors as of themselves: two
learning rates of one network, which do the same work, differ by tens of percent. Here a candidate
costs the steps that it ran, times the median time of a step over all trials of the run that do the
same work in a step: equal network, loss, input, augmentation, optimizer, batch size and precision.
The steps are its own: a setting that patience ends early does cost less.

A trial's time of a step is the median over its epochs, validation included, over the steps of an
epoch (``cost.epoch_seconds`` of its result, see ``gitract_core.trial.epoch_clock``: on a CPU the
processor's own time). Results from before this was kept give the mean wall time of their epochs,
and results that do not say how many slices they trained on count epochs in place of steps.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Sequence
from statistics import median
from typing import Protocol

from gitract_core.knobs import OptimizerKnobs, TrainingKnobs
from gitract_core.results.trial_result import TrialResult
from gitract_core.spec import Candidate

Work = tuple[Candidate, bool]


class Trained(Protocol):
    """A candidate with results: a line of the leaderboard."""

    @property
    def finished(self) -> list[TrialResult]:
        """The results that are there."""


def training_costs(lines: Sequence[Trained], field: Sequence[Trained] = ()) -> list[float]:
    """Seconds that the finished folds of each candidate take together, by the module's rule.

    Args:
        lines: the candidates whose costs are asked for.
        field: all candidates of the run, from which the time of a step is taken; ``lines`` by
            default.

    Returns:
        One number a candidate; NaN where it has no finished fold, or its times are unknown.
    """
    step_seconds = _step_seconds(field or lines)
    return [_cost(line, step_seconds) for line in lines]


def _cost(line: Trained, step_seconds: dict[Work, float]) -> float:
    known = [r for r in line.finished if r.history]
    if len(known) < len(line.finished):
        return float("nan")  # trained elsewhere
    parts = [_steps(r) * step_seconds.get(_work(r), float("nan")) for r in known]
    return float(sum(parts)) if parts else float("nan")


def _step_seconds(lines: Sequence[Trained]) -> dict[Work, float]:
    """The median over trials of each kind of work; kinds without a known time are left out."""
    times: dict[Work, list[float]] = defaultdict(list)
    for line in lines:
        for result in (r for r in line.finished if r.history):
            seconds = _epoch_seconds(result)
            if seconds > 0:
                times[_work(result)].append(seconds * _epochs(result) / _steps(result))
    return {work: median(found) for work, found in times.items()}


def _work(result: TrialResult) -> Work:
    """What decides how long a step takes, and whether steps are known or epochs stand for them."""
    candidate, default = result.spec.candidate.trained, OptimizerKnobs()
    optimizer = dataclasses.replace(
        candidate.optimizer,
        learning_rate=default.learning_rate,
        schedule=default.schedule,
        weight_decay=default.weight_decay,
    )
    length = TrainingKnobs()
    training = dataclasses.replace(
        candidate.training,
        epochs=length.epochs,
        patience=length.patience,
        monitor=length.monitor,
    )
    same = dataclasses.replace(candidate, optimizer=optimizer, training=training)
    return same, _slices(result) is None


def _steps(result: TrialResult) -> float:
    """Training steps of a trial; a part of a batch counts as its part."""
    slices = _slices(result)
    batch_size = result.spec.candidate.optimizer.batch_size
    return _epochs(result) * (1.0 if slices is None else slices / batch_size)


def _slices(result: TrialResult) -> float | None:
    """Training slices of an epoch; None where the result does not say it."""
    value = result.environment.get("training_slices")
    return float(value) if isinstance(value, int | float) and value > 0 else None


def _epochs(result: TrialResult) -> int:
    return int(result.history["epochs"])


def _epoch_seconds(result: TrialResult) -> float:
    value = result.cost.get("epoch_seconds")
    if isinstance(value, int | float) and value > 0:
        return float(value)
    return float(result.cost["seconds"]) / _epochs(result)
