"""The score of scans to come: what another set of patients may give, not what the mean one does.

An announced score is a mean over the patients of a run. The score of a test set differs from it for
two reasons: the run's own patients and trainings do not tell the mean exactly, and the few patients
of the set are not the mean patient. An interval for the mean knows only the first and is far too
short for a set of two patients. Here both are drawn (a predictive distribution: Davison and
Hinkley, Bootstrap Methods, 1997, section 6.3.3): the first by ``bootstrap``, the second by drawing
as many of the run's patients as the set has, with the tails of few cases.

Nothing is said of patients who are unlike those of the run: another scanner, another disease. That
several networks are averaged on a test set, and one was scored on each fold, is not allowed for:
the score is rather higher than the middle of the interval.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from orchestrator.statistics.case_sums import CaseSums
from orchestrator.statistics.intervals.bootstrap import DRAWS, LEVEL, bootstrap
from orchestrator.statistics.variance.components import variance_components

_FEWEST = 3  # cases of the run; two show next to nothing of how much patients differ


def score_to_come(
    sums: CaseSums, n_cases: int, *, draws: int = DRAWS, seed: int = 0, level: float = LEVEL
) -> tuple[float, float]:
    """Interval of the score of a set of patients to come, of the same kind.

    Args:
        sums: the table of one candidate, or of an ensemble, out of fold.
        n_cases: patients of the set, 1 or more.
        draws: number of draws.
        seed: equal seeds give equal figures.
        level: nominal coverage.

    Returns:
        both ends, 0 to 1; NaN with fewer than three cases.
    """
    n = sums.n_cases
    if n < _FEWEST:
        return np.nan, np.nan
    if n - len(sums.fold_labels) < 2:  # folds of single cases: all cases as one
        sums = dataclasses.replace(sums, folds=np.zeros(n, np.int64))
    rng = np.random.default_rng(seed)
    drawn = bootstrap(sums, variance_components(sums), draws, seed)
    of_mean = drawn.draws[:, 0] - drawn.estimate[0]
    counts = rng.multinomial(n_cases, np.full(n, 1 / n), size=draws)
    of_set = sums.scores(counts)[:, 0] - sums.scores()[0]
    of_set = np.nan_to_num(of_set)  # nothing to count in the draw
    tails = np.sqrt(n / rng.chisquare(n - 1, draws))  # n / (n - 1) for the variance, and those of t
    apart = of_set * tails - of_mean
    ends = np.quantile(float(sums.fold_scores().mean()) + apart, [(1 - level) / 2, (1 + level) / 2])
    low, high = np.clip(ends, 0, 1).tolist()
    return low, high
