"""By how much the winner's score is too high because it won.

Errors like those of the scores are drawn from the bootstrap (cases and the luck of training
together); a part of each is added to the scores that choose, and a larger part taken off the scores
that judge, which makes the two independent: the coupled bootstrap (Oliveira, Lei and Tibshirani,
arXiv 2111.09447). What the chosen one has over the mean of all candidates on the judging scores, on
average, is what the winner has over it. The choice is made with a little more noise than in the
sweep, so the correction is rather too large than too small where candidates truly differ.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from orchestrator.statistics.intervals.bootstrap import LEVEL, Bootstrap

_SHARE = 0.6
"""Of the error's variance, added to the scores that choose; small shares make noisy figures."""


@dataclass(frozen=True)
class Optimism:
    """The winner's score, corrected; NaN where no draw left a case to judge by.

    Attributes:
        winner: place of the candidate with the best mean score over folds.
        score: that score, as the leaderboard shows it.
        optimism: what its choice added, in score.
        corrected: ``score - optimism``.
        low, high: interval of ``corrected``, 0 to 1.
    """

    winner: int
    score: float
    optimism: float
    corrected: float
    low: float
    high: float


def winners_score(drawn: Bootstrap, seed: int = 0, level: float = LEVEL) -> Optimism:
    """The winner's score without what its choice added.

    The interval is that of the winner's own score, moved by the correction.

    Args:
        drawn: ``bootstrap`` of the candidates' table; with a single candidate there is no choice.
        seed: equal seeds give equal figures.
        level: nominal coverage of the interval.
    """
    scores = drawn.estimate
    winner = int(np.argmax(scores))
    spread = drawn.spread
    if not drawn.possible or spread is None:
        return Optimism(winner, float(scores[winner]), *[math.nan] * 4)
    optimism = 0.0
    if len(scores) > 1:
        rng = np.random.default_rng(seed)
        errors = spread.case_draws - spread.case_draws.mean(axis=0)
        errors -= errors.mean(axis=1, keepdims=True)  # what all share decides nothing
        luck = rng.standard_normal(errors.shape)[:, drawn.training]
        errors += np.sqrt(drawn.training_variance) * luck
        chosen = np.argmax(scores + math.sqrt(_SHARE) * errors, axis=1)
        judging = scores - errors / math.sqrt(_SHARE)
        judged = judging[np.arange(len(chosen)), chosen] - judging.mean(axis=1)
        optimism = float(scores[winner] - scores.mean() - judged.mean())
    corrected = float(np.clip(scores[winner] - optimism, 0, 1))
    own = np.quantile(drawn.draws[:, winner], [(1 - level) / 2, (1 + level) / 2])
    low, high = np.clip(own - optimism, 0, 1).tolist()
    return Optimism(winner, float(scores[winner]), optimism, corrected, low, high)
