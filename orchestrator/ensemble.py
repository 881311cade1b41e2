"""Ensembles: the best candidates' fold models together, their score measured out of fold."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gitract_core.device import Runtime
from gitract_core.files import write_json
from gitract_core.inference import native_masks
from gitract_core.members import Members, Predictor, at_size
from gitract_core.metrics.competition import CompetitionScore, ScanScore, pool_scores, score_scan
from gitract_core.oof import read_oof
from gitract_core.score_table import per_case_sums
from gitract_core.slices import SliceIndex
from gitract_core.submission import Fault, check_submission, write_submission
from gitract_core.volumes import scan_masks, scan_size
from orchestrator.leaderboard import CandidateScores, Leaderboard
from orchestrator.sweep_directory import SweepDirectory

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class EnsembleScore:
    """What an ensemble scores on slices that none of the models used on them has learned from.

    Attributes:
        folds: competition score of each fold.
        pooled: over all scans at once.
        per_case: sums and counts by case.
    """

    folds: tuple[CompetitionScore, ...]
    pooled: CompetitionScore
    per_case: dict[str, Any]

    @property
    def mean(self) -> float:
        """Mean over folds, comparable with the leaderboard."""
        return float(np.mean([f.score for f in self.folds]))

    @property
    def sd(self) -> float:
        """Standard deviation over folds (n - 1)."""
        return float(np.std([f.score for f in self.folds], ddof=1))


@dataclass(frozen=True)
class Ensemble:
    """A made ensemble.

    Attributes:
        directory: ``RUN/ensembles/<name>``, with ``members.json`` and ``oof_score.json``.
        members: the manifest.
        score: out of fold.
        chosen: the candidates in it.
    """

    directory: Path
    members: Members
    score: EnsembleScore
    chosen: tuple[CandidateScores, ...]


def make_ensemble(
    run: SweepDirectory, board: Leaderboard, top: int, progress: Progress | None = None
) -> Ensemble:
    """Average the best ``top`` candidates with equal weights and measure the result.

    The choice of candidates itself was made on the same folds; the ensemble's score says what the
    average earns, not what choosing costs.

    Raises:
        RunError: fewer candidates are complete, or a trial's file is damaged.
    """
    chosen = board.top(top)
    trials = [run.trial(result.spec) for line in chosen for result in line.finished]
    directory = run.path / "ensembles" / f"top{top}-equal"
    members = Members.of_trials(trials, directory)
    score = score_out_of_fold(run, chosen, members.threshold, progress)
    members.save(directory / "members.json")
    write_json(directory / "oof_score.json", _score_json(score, chosen))
    return Ensemble(directory, members, score, chosen)


def score_out_of_fold(
    run: SweepDirectory,
    chosen: Sequence[CandidateScores],
    threshold: float,
    progress: Progress | None = None,
) -> EnsembleScore:
    """Average the candidates' out-of-fold probabilities, scan by scan, and score the masks."""
    record = run.record()
    data = run.data(record)
    size = max(line.candidate.input.size for line in chosen)
    index = data.cache(size).index
    scores: dict[str, ScanScore] = {}
    folds: list[list[ScanScore]] = [[] for _ in range(record.n_folds)]
    for done, scan in enumerate(index.scans, 1):
        rows = index.rows_of_scan(scan)
        fold = data.plan.fold_of_case[int(rows["case"].iloc[0])]
        total = sum(_oof(run, line, fold, scan, size) for line in chosen)
        masks = native_masks(np.asarray(total) / len(chosen), *scan_size(rows), threshold)
        scores[scan] = score_scan(masks, scan_masks(rows), "diagonal")
        folds[fold].append(scores[scan])
        if progress:
            progress(done, len(index.scans))
    return EnsembleScore(
        tuple(pool_scores(f) for f in folds),
        pool_scores(list(scores.values())),
        per_case_sums(scores),
    )


def _oof(run: SweepDirectory, line: CandidateScores, fold: int, scan: str, size: int) -> np.ndarray:
    result = line.results[fold]
    assert result is not None  # only complete candidates are chosen
    return at_size(read_oof(run.trial(result.spec).oof, scan), size)


def _score_json(score: EnsembleScore, chosen: Sequence[CandidateScores]) -> dict[str, Any]:
    return {
        "score": score.mean,
        "score_sd": score.sd,
        "folds": [f.to_json() for f in score.folds],
        "pooled": score.pooled.to_json(),
        "per_case": score.per_case,
        "candidates": [
            {"candidate": c.label, "score": c.mean(), "score_sd": c.sd()} for c in chosen
        ],
    }


def write_predictions(
    members: Members,
    directory: Path,
    images: SliceIndex,
    out: Path,
    runtime: Runtime,
    progress: Progress | None = None,
) -> list[Fault]:
    """Predict every scan of ``images`` into a submission, and check it.

    Returns:
        The faults found in it; an empty list if it is in order.
    """
    predictor = Predictor(members, directory, runtime)
    write_submission(out, predictor.rows(images, progress))
    return check_submission(out, images.table[["id", "height", "width"]])
