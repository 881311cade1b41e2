"""Ways to part candidates in steady ones and others, by their scores; see ``plausible``.

A training fails downwards. If a share p of a candidate's trainings fails by d, it scores p d lower
and varies by sd d sqrt(p (1 - p)): it is lower by about one sd where half of them fail, by half an
sd where a fifth does, and by two where four of five do. A split counts the more, the farther the
others are below the best in units of their own spread. Equally good candidates, which chance alone
puts above or below others, are hardly ever so far apart.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from orchestrator.statistics.case_sums import Floats
from orchestrator.statistics.variance.plausible import Split

_WEIGHT, _MOST, _POWER = 40.0, 200.0, 4  # chosen by simulation, in units of ``plausible``


def splits_by_score(
    centered: Floats, means: Floats, df: int, effective: float
) -> tuple[Split, ...]:
    """The splits of a table in which the best vary less than the others.

    Args:
        centered: fold scores less each candidate's mean in its fold plan, (candidates, folds).
        means: scores, (candidates,).
        df: degrees of freedom of a row: folds less plans.
        effective: share of the degrees of freedom that counts, for candidates are correlated.
    """
    return tuple(_splits(centered, means, df, effective))


def log_constant(weights: Floats, df: float) -> float:
    """Constant of the likelihood of mean squares about a weighted mean.

    What candidates share in a fold costs a degree of freedom, and the likelihood the log of the sum
    of all precisions (restricted likelihood: Patterson and Thompson, Biometrika 58, 1971). That sum
    is taken apart as it is at these weights, which makes the likelihood a product over candidates.

    Args:
        weights: of the candidates, with sum 1.
        df: of each.
    """
    some = weights[weights > 0]
    return float(df / 2 * (some * np.log(some)).sum())


def _splits(centered: Floats, means: Floats, df: int, effective: float) -> Iterator[Split]:
    n = len(centered)
    order = np.argsort(-means, kind="stable")
    for size in range(2, n):
        best, rest = order[:size], order[size:]
        away = np.square(centered - centered[best].mean(axis=0)).sum(axis=1)
        inside = float(away[best].sum() / ((size - 1) * df))
        outside = float(away[rest].sum() / ((n - size) * df))
        if not 0 < inside < outside:
            continue
        lower = float(means[best].mean() - means[rest].mean()) / math.sqrt(outside)
        prior = min(_MOST, _WEIGHT * lower**_POWER) / (n - 2)
        if prior <= 0:
            continue
        weights = np.full(n, 1 / outside)
        weights[best] = 1 / inside
        weights /= weights.sum()
        own_df = df * (1 - weights)
        square = np.square(centered - weights @ centered).sum(axis=1) / own_df
        steady = np.isin(np.arange(n), best)
        yield Split(
            tuple(steady.tolist()),
            tuple(square.tolist()),
            tuple((own_df * effective).tolist()),
            math.log(prior) + log_constant(weights, df * effective),
        )
