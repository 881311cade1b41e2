"""Scores of single cases: hard cases, and pairs of candidates that complement each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from gitract_core.data.folds import FoldPlan
from gitract_core.organs import Organs
from orchestrator.results.candidate_scores import CandidateScores

LEAST_CASES = 3
"""For a correlation."""


def case_values(plan: FoldPlan, shown: Sequence[CandidateScores], organs: Organs) -> dict[str, Any]:
    """Out-of-fold scores of every case, hardest case first.

    Returns:
        ``cases``, their ``folds``, the candidates' ``labels``, ``score``: one row a candidate, and
        ``dice``: such a table an organ of the score's first mean, in the organs' order; None where
        there is nothing to count. ``measure`` names that mean.
    """
    if not shown:
        return {"cases": [], "folds": [], "labels": [], "score": [], "dice": [], "measure": ""}
    measure = shown[0].score
    fold_of = {str(case): fold for case, fold in plan.fold_of_case.items()}
    names = list(fold_of)
    sums = np.stack([case_sums(line, names, organs) for line in shown])
    scores = measure.of(sums.sum(axis=2))  # (candidates, cases)
    means = _column_means(scores)
    order = np.argsort(np.where(np.isnan(means), np.inf, means), kind="stable")
    dice = measure.by_mean(sums)[measure.means[0].key]  # (candidates, cases, organs)
    return {
        "cases": [names[place] for place in order],
        "folds": [fold_of[names[place]] for place in order],
        "labels": [line.label for line in shown],
        "measure": measure.means[0].header,
        "score": scores[:, order].round(4).tolist(),
        "dice": [dice[:, order, place].round(3).tolist() for place in range(len(organs))],
    }


def case_sums(line: CandidateScores, cases: Sequence[str], organs: Organs) -> np.ndarray:
    """A candidate's sums, float (cases, organs, columns); zero where a fold is missing."""
    sums_by_case = line.per_case
    table = np.zeros((len(cases), len(organs), len(line.score.columns)))
    for place, case in enumerate(cases):
        if case in sums_by_case:
            sums = sums_by_case[case]
            table[place] = np.array([sums[column] for column in line.score.columns]).T
    return table


@dataclass(frozen=True)
class Pairs:
    """How well two candidates complement each other; the diagonals are NaN.

    Attributes:
        correlation: of two candidates' residuals (a case's score less the candidate's mean) over
            cases, (candidates, candidates). Low: they fail on different cases.
        gain: mean over cases of the better of the two, less the best single candidate's mean.
        best: the pair with the largest gain; None with fewer than two candidates.
    """

    correlation: np.ndarray
    gain: np.ndarray
    best: tuple[int, int] | None


def complement(scores: np.ndarray) -> Pairs:
    """Correlation and joint gain of each pair of candidates.

    Args:
        scores: (candidates, cases); cases with a NaN are left out.
    """
    known = scores[:, np.isfinite(scores).all(axis=0)]
    n, cases = known.shape
    correlation, gain = (np.full((n, n), np.nan) for _ in range(2))
    if cases:
        residuals = known - known.mean(axis=1, keepdims=True)
        best_single = known.mean(axis=1).max(initial=-np.inf)
        for a, b in combinations(range(n), 2):
            gain[a, b] = gain[b, a] = np.maximum(known[a], known[b]).mean() - best_single
            length = np.linalg.norm(residuals[a]) * np.linalg.norm(residuals[b])
            if cases >= LEAST_CASES and length > 1e-12:
                correlation[a, b] = correlation[b, a] = residuals[a] @ residuals[b] / length
    if n < 2 or not cases:
        return Pairs(correlation, gain, None)
    a, b = divmod(int(np.nanargmax(gain)), n)
    return Pairs(correlation, gain, (a, b))


def pair_values(ranked: Sequence[CandidateScores], organs: Organs) -> dict[str, Any] | None:
    """Tables of the complete candidates and the pair of largest gain; None for one candidate."""
    if len(ranked) < 2:
        return None
    names = list(ranked[0].per_case)
    scores = np.stack(
        [line.score.of(case_sums(line, names, organs).sum(axis=1)) for line in ranked]
    )
    pairs = complement(scores)
    known = scores[:, np.isfinite(scores).all(axis=0)]
    return {
        "labels": [line.label for line in ranked],
        "cases": known.shape[1],
        "correlation": pairs.correlation.round(4).tolist(),
        "gain": pairs.gain.round(5).tolist(),
        "single": int(known.mean(axis=1).argmax()) if known.size else None,
        "best": list(pairs.best) if pairs.best else None,
    }


def _column_means(table: np.ndarray) -> np.ndarray:
    """Means over the first axis without NaN; NaN where all values are."""
    known = np.isfinite(table)
    counts = known.sum(axis=0)
    totals = np.where(known, table, 0).sum(axis=0)
    means = np.full(len(counts), np.nan)
    np.divide(totals, counts, out=means, where=counts > 0)
    return means
