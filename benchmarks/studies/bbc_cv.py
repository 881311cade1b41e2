"""The winner's score as published, for comparison with ``winners_score``.

BBC-CV (Tsamardinos, Greasidou and Borboudakis, Machine Learning 107, 2018, doi
10.1007/s10994-018-5714-4): draw cases, choose the winner on them, score it on the cases not drawn,
average. It chooses with a third of the cases left out and so corrects too much with few cases, and
its interval is that of a third of the cases. Given ``components`` the luck of training is corrected
too. No network is trained again.
"""

from __future__ import annotations

import math

import numpy as np

from orchestrator.statistics import CaseSums, Components, Optimism
from orchestrator.statistics.intervals.bootstrap import DRAWS, LEVEL


def bbc_cv(
    sums: CaseSums,
    components: Components | None = None,
    draws: int = DRAWS,
    seed: int = 0,
    level: float = LEVEL,
) -> Optimism:
    """The winner's score as published; see the module.

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
    low, high = np.clip(corrected + tails, 0, 1).tolist()
    return Optimism(winner, float(observed[winner]), optimism, corrected, low, high)
