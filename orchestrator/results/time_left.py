"""The time that a sweep still takes: one estimate for ``sweep`` and ``status``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gitract_core.spec import Candidate, TrialSpec


@dataclass(frozen=True, slots=True)
class TrialPace:
    """How far a trial is and how long that took.

    Attributes:
        spec: which.
        to_run: whether it still has to run, or go on running.
        finished: whether it has its result.
        epoch: epochs done.
        seconds: of all of them.
    """

    spec: TrialSpec
    to_run: bool
    finished: bool
    epoch: int
    seconds: float

    @property
    def epochs(self) -> int:
        """The most epochs it may run."""
        return self.spec.candidate.training.epochs

    @property
    def training(self) -> tuple[Candidate, str, int]:
        """What it trains; trials that share a training differ in post-processing alone."""
        return self.spec.candidate.trained, self.spec.folds_fingerprint, self.spec.fold


def seconds_left(trials: Sequence[TrialPace], *, at_once: int, to_come: int = 0) -> float:
    """Estimated time to the end; NaN if it is not known.

    Epochs to go, times the mean seconds of an epoch of the same candidate (of all where it has none
    yet). Trials are taken to stop as early as the finished ones did. Trials that share one training
    are counted once. Candidates to come are taken to be like the others. Scoring and start-up are
    not counted.

    Args:
        trials: of the run; those that are not to run any more tell how long epochs take.
        at_once: trials that run at a time.
        to_come: candidates that a search has yet to propose.
    """
    seen = [trial for trial in trials if trial.epoch and trial.seconds > 0]
    if not at_once or not seen:
        return float("nan")
    share = _share_of_epochs([trial for trial in seen if trial.finished])
    pace = _seconds_an_epoch(seen)
    done = {trial.training for trial in trials if trial.finished}
    left: dict[object, float] = {}
    for trial in trials:
        if trial.to_run and (training := trial.training) not in done:
            epochs = max(share * trial.epochs - trial.epoch, 0)
            seconds = epochs * pace.get(trial.spec.candidate, pace[None])
            left[training] = min(seconds, left.get(training, seconds))
    candidates = len({trial.spec.candidate for trial in trials})
    a_candidate = share * sum(trial.epochs for trial in trials) / candidates
    later = to_come * a_candidate * pace[None]
    return max((sum(left.values()) + later) / at_once, max(left.values(), default=0.0))


def _share_of_epochs(finished: Sequence[TrialPace]) -> float:
    """How many of its epochs a finished trial ran; 1 where none is finished."""
    if not finished:
        return 1.0
    return sum(trial.epoch / trial.epochs for trial in finished) / len(finished)


def _seconds_an_epoch(trials: Sequence[TrialPace]) -> dict[Candidate | None, float]:
    """Mean seconds of an epoch of each candidate, and of all under None."""
    groups: dict[Candidate | None, list[TrialPace]] = {None: list(trials)}
    for trial in trials:
        groups.setdefault(trial.spec.candidate, []).append(trial)
    return {c: sum(t.seconds for t in g) / sum(t.epoch for t in g) for c, g in groups.items()}
