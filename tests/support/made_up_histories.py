"""Candidates and histories of epochs, made up."""

from __future__ import annotations

from collections.abc import Sequence

from gitract_core.results.trial_result import EpochRecord
from gitract_core.spec import Candidate
from orchestrator.results.candidate_scores import CandidateScores
from orchestrator.results.histories import CandidateHistories, TrialHistory


def record(epoch: int, loss: float, **metrics: float) -> EpochRecord:
    names = "dice iou row_dice accuracy balanced_accuracy paper_dice paper_iou paper_accuracy"
    values = dict.fromkeys(names.split(), 0.1) | metrics
    return EpochRecord(epoch, 1.0, loss, **values, learning_rate=1e-3, seconds=1.0)


def history(fold: int, losses: Sequence[float], **metrics: Sequence[float]) -> TrialHistory:
    rows = [
        record(i + 1, loss, **{name: values[i] for name, values in metrics.items()})
        for i, loss in enumerate(losses)
    ]
    return TrialHistory(fold, tuple(rows))


def candidate(label: str, *trials: TrialHistory) -> CandidateHistories:
    return CandidateHistories(CandidateScores(Candidate(), label, ()), trials)
