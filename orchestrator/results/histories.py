"""The histories of a run's finished trials, candidate by candidate. Loads neither torch nor Ray."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gitract_core.errors import RunError
from gitract_core.results.trial_result import EpochRecord, read_history
from orchestrator.results.candidate_scores import CandidateScores
from orchestrator.results.leaderboard import build_leaderboard
from orchestrator.sweeps.run_directory import SweepDirectory, SweepRecord

METRICS = {
    "dice": "Dice, pooled",
    "iou": "IoU, pooled",
    "row_dice": "Dice by slice",
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "paper_dice": "Dice, the paper's",
    "paper_iou": "IoU, the paper's",
    "paper_accuracy": "accuracy, the paper's",
}
"""Fields of ``EpochRecord`` and their names for people."""


@dataclass(frozen=True)
class TrialHistory:
    """The epochs of one finished trial."""

    fold: int
    records: tuple[EpochRecord, ...]

    def __post_init__(self) -> None:
        if not self.records:
            raise RunError("history", "at least one epoch", "none", "run the trial again")

    def values(self, metric: str) -> np.ndarray:
        """A field of ``EpochRecord`` over the epochs, float (epochs,)."""
        return np.array([getattr(record, metric) for record in self.records], dtype=float)


@dataclass(frozen=True)
class CandidateHistories:
    """One candidate's finished trials, at least one of them.

    Attributes:
        scores: the candidate's line of the leaderboard.
        trials: in the order of folds.
    """

    scores: CandidateScores
    trials: tuple[TrialHistory, ...]

    @property
    def label(self) -> str:
        """The knobs by which the candidate differs from the others."""
        return self.scores.label

    def mean(self, metric: str) -> np.ndarray:
        """Mean over folds at each epoch that all of them reached, float (epochs,).

        Beyond that a mean would be one of the folds that happened to train longer.
        """
        epochs = min(len(trial.records) for trial in self.trials)
        return np.asarray(np.mean([t.values(metric)[:epochs] for t in self.trials], axis=0))


@dataclass(frozen=True)
class RunHistories:
    """What a run can show of its training.

    Attributes:
        record: what the run was asked for.
        candidates: those with a finished trial; ranked ones first, then by finished folds.
        left_out: trials without a history, and why, one line each.
    """

    record: SweepRecord
    candidates: tuple[CandidateHistories, ...]
    left_out: tuple[str, ...]

    @property
    def best(self) -> CandidateHistories:
        """The first of the ranking; in an unfinished run the one with the most finished folds."""
        return self.candidates[0]


def read_histories(directory: SweepDirectory) -> RunHistories:
    """The histories of all finished trials of a run.

    Raises:
        RunError: no trial is finished, or the run's record or a result is damaged.
    """
    board = build_leaderboard(directory)
    rest = sorted(board.unranked, key=lambda c: (-len(c.finished), -_finished_mean(c)))
    candidates: list[CandidateHistories] = []
    left_out: list[str] = []
    for line in (line for line in (*board.ranked, *rest) if not line.added):
        left_out += [f"{line.label}, {reason}" for reason in line.reasons]
        trials: list[TrialHistory] = []
        for number, result in line.numbered:
            try:
                file = directory.trial(result.spec).history
                records = read_history(file, result.stamp(file))
                trials.append(TrialHistory(number, tuple(records)))
            except RunError as error:
                left_out.append(f"{line.label}, fold {number}: {error}")
        if trials:
            candidates.append(CandidateHistories(line, tuple(trials)))
    if not candidates:
        total = len(board.record.candidates) * board.record.total_folds
        remedy = "let the sweep finish a trial first"
        raise RunError(directory.path, "a finished trial", f"none of {total}", remedy)
    return RunHistories(board.record, tuple(candidates), tuple(left_out))


def finite_mean(values: Sequence[float]) -> float:
    """Mean of the numbers among the values; NaN if there is none."""
    numbers = [v for v in values if np.isfinite(v)]
    return float(np.mean(numbers)) if numbers else float("nan")


def _finished_mean(line: CandidateScores) -> float:
    mean = finite_mean(line.folds())
    return mean if np.isfinite(mean) else -1.0
