"""How far each candidate may be behind the best of the others: multiple comparisons with the best.

The quantity is, for each candidate, the true score of the best of all others less its own: above 0
it is behind, below 0 it is the best. True scores are those of training anew on other cases like
these. The intervals of all candidates hold together in 95 % of sweeps, however many candidates
there are and whichever looks best (Hsu, Annals of Statistics 12, 1984, "unconstrained" form): all
pairs get simultaneous intervals, and a candidate's interval runs from the largest low end of
"other less own" to the largest high end.

Pairs differ in how well they are known, and get critical values of their own: in each draw of the
bootstrap the distance of a pair from its estimate is turned into a normal deviate by the pair's own
t distribution (Wallace, Annals of Mathematical Statistics 30, 1959), so that all pairs miss equally
often (balanced as in Beran, JASA 83, 1988); the 95 % quantile of the largest deviate of any pair
is what all intervals have in common.

Under ``FEWEST_CASES`` cases nothing is said: the data cannot show how far from normal they are.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import digamma, polygamma

from orchestrator.statistics.bootstrap import LEVEL, Bootstrap
from orchestrator.statistics.case_sums import Floats

FEWEST_CASES = 10
_NOTHING = 1e-12  # a difference, or its error, that is rounding alone
_SURE = 1e4  # degrees of freedom that are as good as infinite


@dataclass(frozen=True, eq=False)
class BehindBest:
    """Distances to the best of the others; NaN with too few cases, or a single candidate.

    Attributes:
        low, high: simultaneous intervals, (candidates,), -1 to 1.
        p: the smallest share of sweeps allowed to err at which the candidate is still shown to be
            behind one of the others; 1 for the first.
    """

    low: Floats
    high: Floats
    p: Floats


@dataclass(frozen=True, eq=False)
class _Pairs:
    """Every pair of candidates: places of both, and the t distribution of their difference."""

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    scale: Floats
    df: Floats

    def deviates(self, distances: Floats) -> Floats:
        """Normal deviates as improbable as these distances, (..., pairs)."""
        certain = np.where(np.abs(distances) > _NOTHING, np.inf, 0.0)
        known = self.scale > _NOTHING
        t = np.divide(distances, self.scale, out=certain, where=known)
        return np.asarray(_slope(self.df) * np.sqrt(self.df * np.log1p(np.square(t) / self.df)))

    def distances(self, deviate: float) -> Floats:
        """The distances that are as improbable as a normal deviate, (pairs,)."""
        powers = np.square(deviate / _slope(self.df)) / self.df
        half = self.scale * np.sqrt(self.df * np.expm1(powers))
        return np.asarray(np.where(self.scale > _NOTHING, half, 0.0))


def behind_best(drawn: Bootstrap, level: float = LEVEL) -> BehindBest:
    """Simultaneous intervals of how far each candidate is behind the best of the others.

    Args:
        drawn: ``bootstrap`` of the candidates' table.
        level: nominal chance that all intervals hold.
    """
    n = len(drawn.estimate)
    if n < 2 or not drawn.possible or drawn.n_cases < FEWEST_CASES:
        nothing = np.full(n, np.nan)
        return BehindBest(nothing, nothing, nothing)
    pairs = _pairs(drawn)
    errors = drawn.draws - drawn.estimate
    largest = pairs.deviates(errors[:, pairs.first] - errors[:, pairs.second]).max(axis=1)
    half = pairs.distances(float(np.quantile(largest, level)))
    ahead = drawn.estimate[pairs.first] - drawn.estimate[pairs.second]
    low, high = np.full((2, n, n), -np.inf)  # of one less the other, (one, other)
    for one, other, sign in ((pairs.first, pairs.second, 1), (pairs.second, pairs.first, -1)):
        low[one, other], high[one, other] = sign * ahead - half, sign * ahead + half
    seen = np.zeros((n, n))
    seen[pairs.first, pairs.second] = seen[pairs.second, pairs.first] = pairs.deviates(ahead)
    seen = np.where(drawn.estimate[:, None] > drawn.estimate, seen, -1.0)  # better than the other
    beyond = np.searchsorted(np.sort(largest), seen.max(axis=0)) / len(largest)
    ends = np.clip([low.max(axis=0), high.max(axis=0)], -1, 1)
    return BehindBest(ends[0], ends[1], 1 - beyond)


def _pairs(drawn: Bootstrap) -> _Pairs:
    """The t distribution of every difference, from the mean and spread of its log variance."""
    first, second = np.triu_indices(len(drawn.estimate), 1)
    own = drawn.pooled_draws - drawn.estimate
    of_cases = np.mean(np.square(own[:, first] - own[:, second]), axis=0)
    luck = drawn.luck_variance[:, first] + drawn.luck_variance[:, second]
    luck = np.where(drawn.training[first] == drawn.training[second], 0.0, luck)
    variance = np.maximum(drawn.case_factor[:, None] * of_cases + luck, _NOTHING**2)
    logs = np.log(variance)
    df = 2 * _inverse_trigamma(np.maximum(logs.var(axis=0), 2 / _SURE))
    scale = np.exp((logs.mean(axis=0) - np.log(df / 2) + digamma(df / 2)) / 2)
    return _Pairs(first, second, scale, df)


def _inverse_trigamma(values: Floats) -> Floats:
    """x of ``trigamma(x) = value``, by Newton's method (Smyth 2004, appendix)."""
    x = 0.5 + 1 / values
    for _ in range(5):
        trigamma = polygamma(1, x)
        x = x + trigamma * (1 - trigamma / values) / polygamma(2, x)
    return np.asarray(x)


def _slope(df: Floats) -> Floats:
    return np.asarray((8 * df + 1) / (8 * df + 3))
