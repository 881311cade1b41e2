"""By how much the winner's score is too high because it won.

Bootstrap bias corrected cross-validation (BBC-CV: Tsamardinos, Greasidou and Borboudakis, Machine
Learning 107, 2018, doi 10.1007/s10994-018-5714-4): draw cases, choose the winner on them, score it
on the cases not drawn, average. No network is trained again.

BBC-CV corrects for the luck of cases. The luck of a training is in drawn and left-out cases alike;
it is corrected by adding noise of its size to the scores that choose and taking the same noise off
the scores that judge, which makes the two independent (the "coupled bootstrap": Oliveira, Lei and
Tibshirani, arXiv 2111.09447).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from orchestrator.statistics.bootstrap import DRAWS, LEVEL
from orchestrator.statistics.case_sums import CaseSums
from orchestrator.statistics.components import Components


@dataclass(frozen=True)
class Optimism:
    """The winner's score, corrected; NaN where no draw left a case to judge by.

    Attributes:
        winner: place of the candidate with the best mean score over folds.
        score: that score, as the leaderboard shows it.
        optimism: what its choice added, in score.
        corrected: ``score - optimism``.
        low, high: interval of ``corrected``: percentiles over the draws, as in the paper.
    """

    winner: int
    score: float
    optimism: float
    corrected: float
    low: float
    high: float


def bbc_cv(
    sums: CaseSums,
    components: Components | None = None,
    draws: int = DRAWS,
    seed: int = 0,
    level: float = LEVEL,
) -> Optimism:
    """The winner's score without what its choice added.

    The optimism is measured against the mean of all candidates on the same cases, so that easy and
    hard left-out cases, which average out anyway, add no noise of the simulation.

    Args:
        sums: the table; with a single candidate there is no choice and no optimism.
        components: ``variance_components`` of the table, for the luck of training; None for the
            paper's procedure as it stands.
        draws: number of draws.
        seed: equal seeds give equal figures.
        level: nominal coverage of the interval.
    """
    observed = sums.fold_scores().mean(axis=1)
    winner = int(np.argmax(observed))
    rng = np.random.default_rng(seed)
    counts = rng.multinomial(sums.n_cases, np.full(sums.n_cases, 1 / sums.n_cases), size=draws)
    inside, outside = sums.scores(counts), sums.scores(counts == 0)  # (draws, candidates)
    usable = np.isfinite(inside).all(axis=1) & np.isfinite(outside).all(axis=1)
    if not usable.any():
        nan = math.nan
        return Optimism(winner, float(observed[winner]), nan, nan, nan, nan)
    inside, outside = inside[usable], outside[usable]
    if components:
        sd = np.sqrt(components.known_training / len(sums.fold_labels))  # (candidates or 1,)
        noise = (sd * rng.standard_normal(inside.shape))[:, sums.training]
        inside, outside = inside + noise, outside - noise
    chosen = np.argmax(inside, axis=1)
    judged = outside[np.arange(len(chosen)), chosen]
    gain = float(np.mean(judged - outside.mean(axis=1)))
    pooled = sums.scores()
    optimism = float(pooled[winner] - pooled.mean()) - gain if len(pooled) > 1 else 0.0
    corrected = float(observed[winner]) - optimism
    tails = np.quantile(judged - judged.mean(), [(1 - level) / 2, (1 + level) / 2])
    low, high = corrected + tails
    return Optimism(winner, float(observed[winner]), optimism, corrected, float(low), float(high))
