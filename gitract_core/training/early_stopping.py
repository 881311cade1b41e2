"""When a training ends, and which epoch's weights it keeps, from its history alone.

``Training`` asks after each epoch; ``reuse`` asks of a finished training's history whether another
number of epochs, or another patience, would have ended it alike.
"""

from __future__ import annotations

from collections.abc import Sequence

from gitract_core.knobs import TrainingKnobs
from gitract_core.results.trial_result import EpochRecord


def is_better(record: EpochRecord, best: EpochRecord, monitor: str) -> bool:
    """Whether an epoch beats the best one so far; equal ones and NaN never do."""
    return monitored(record, monitor) > monitored(best, monitor)


def is_kept(record: EpochRecord, best: EpochRecord | None, knobs: TrainingKnobs) -> bool:
    """Whether an epoch's weights take the place of those kept so far, if there are any."""
    return best is None or knobs.keep == "last" or is_better(record, best, knobs.monitor)


def has_ended(epochs: int, best_epoch: int, knobs: TrainingKnobs) -> bool:
    """Whether the last epoch is done or patience, if there is any, has run out.

    Args:
        epochs: how many are done.
        best_epoch: the one kept of those, counted from 1; 0 before the first.
        knobs: the most epochs, and the patience.
    """
    if epochs >= knobs.epochs or knobs.keep == "last":
        return epochs >= knobs.epochs
    return epochs > 0 and epochs - best_epoch >= knobs.patience


def ending(records: Sequence[EpochRecord], knobs: TrainingKnobs) -> tuple[int, int] | None:
    """After how many of these epochs a training ends, and which of them is kept.

    Returns:
        None if it goes on beyond them.
    """
    best = 0
    for done, record in enumerate(records, 1):
        if is_kept(record, records[best - 1] if best else None, knobs):
            best = done
        if has_ended(done, best, knobs):
            return done, best
    return None


def monitored(record: EpochRecord, monitor: str) -> float:
    """What early stopping maximizes; minus infinity where there is nothing."""
    value = -record.loss if monitor == "loss" else record.dice
    return value if value == value else float("-inf")
