"""How far the variance that cases give a difference may be pooled over pairs of candidates.

Few cases do not tell a pair's variance well, many pairs together do. Where the variances of pairs
differ no more than chance makes them, their mean stands for all; where they differ (candidates
that are alike, or one that fails on some patients), each pair keeps part of its own: linear
shrinkage of the covariance towards equal variances (Ledoit and Wolf, Journal of Multivariate
Analysis 88, 2004), its intensity from the spread of the pairs' variances.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from orchestrator.statistics.case_sums import Floats

_FEWEST = 3  # trainings; two make one pair, and there is nothing to pool


@dataclass(frozen=True)
class Pooling:
    """How much of a pair's variance is taken from all pairs.

    Attributes:
        share: from 0, each pair has its own variance, to 1, all have the mean.
        df: degrees of freedom behind a pair's variance.
    """

    share: float
    df: float


def pooling(residuals: Floats, own_df: int) -> Pooling:
    """The share for these candidates.

    Args:
        residuals: of each training on each case, the fold's mean taken out, (trainings, cases).
        own_df: degrees of freedom of one row: cases less folds.
    """
    n, n_cases = residuals.shape
    own_df = max(own_df, 1)
    if n < _FEWEST:
        return Pooling(0.0, own_df)
    places = np.triu_indices(n, 1)
    pairs = pair_variances(residuals @ residuals.T)[places]
    mean = float(pairs.mean())
    left = residuals - residuals.mean(axis=0)
    square = float(np.square(left).mean())
    if mean <= 0 or square <= 0:
        return Pooling(0.0, own_df)
    kurtosis = max(float((left**4).mean()) / square**2 - 3, 0.0) / 2  # of a difference
    shared = 0.5 * (n - 2) / max(len(pairs) - 1, 1)  # mean correlation of two pairs' variances
    by_chance = (2 / own_df + kurtosis / n_cases) * (1 - shared)
    spread = float(pairs.var()) / mean**2
    share = min(1.0, by_chance / spread) ** 2 if spread > 0 else 1.0
    return Pooling(share, min(own_df / max(1 - share, 1e-9), float((n - 1) * own_df)))


def pair_variances(covariance: Floats) -> Floats:
    """Variance of each difference, (n, n), of a covariance matrix (n, n)."""
    own = covariance.diagonal()
    return np.asarray(np.maximum(own[:, None] + own - 2 * covariance, 0))


def independent_rows(covariance: Floats, pooled: float, luck: float) -> float:
    """How many independent rows are as good as these, all of which vary about their mean.

    The square of the trace over the trace of the square.

    Args:
        covariance: of the rows as cases make it, (n, n).
        pooled: share of it that is pooled.
        luck: variance that each row has by itself, beside it.
    """
    n = len(covariance)
    centering = np.eye(n) - 1 / n
    equal = covariance.trace() / max(n - 1, 1) * centering
    mixed = (1 - pooled) * covariance + pooled * equal + luck * centering
    total = float(np.square(mixed).sum())
    return float(mixed.trace() ** 2 / total) if total > 0 else float(n - 1)


def first_of_each(training: NDArray[np.int64]) -> NDArray[np.int64]:
    """Places of the candidates that stand for a training of their own."""
    return np.unique(training)
