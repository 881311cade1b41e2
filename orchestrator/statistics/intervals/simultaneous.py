"""How far each candidate is behind the first: intervals that hold together, whichever is first.

The quantity is the true score of the candidate that ranks first less that of another; true scores
are those of training anew on other cases like these. The first was chosen on the same data, and
there are many others, so an interval that is right for two candidates named beforehand is too
short. Here all pairs of candidates get simultaneous intervals (Tukey's method, which Hsu, Annals of
Statistics 12, 1984, builds multiple comparisons with the best upon): in 95 % of sweeps they all
hold, so those of the pairs with the first hold whichever it is. A candidate whose low end is above
0 is therefore not the best.

Pairs differ in how well they are known, and get critical values of their own: in each draw of the
bootstrap the distance of a pair from its estimate is turned into a normal deviate by the pair's own
t distribution (Wallace, Annals of Mathematical Statistics 30, 1959), so that all pairs miss equally
often (balanced as in Beran, JASA 83, 1988); the 95 % quantile of the largest deviate of any pair
is what all intervals have in common.

Under ``FEWEST_CASES`` cases nothing is said: too few to know their own spread.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import digamma, polygamma

from orchestrator.statistics.case_sums import Floats
from orchestrator.statistics.intervals.bootstrap import LEVEL, Bootstrap, Spread

FEWEST_CASES = 10
_NOTHING = 1e-12  # a difference, or its error, that is rounding alone
_SURE = 1e4  # degrees of freedom that are as good as infinite


@dataclass(frozen=True, eq=False)
class Behind:
    """Distances to the first; NaN with too few cases, 0 (and p 1) for the first itself.

    Attributes:
        low, high: simultaneous intervals of the first's true score less this one's,
            (candidates,), -1 to 1.
        p: the smallest share of sweeps allowed to err at which the interval excludes 0.
    """

    low: Floats
    high: Floats
    p: Floats


@dataclass(frozen=True, eq=False)
class _Pairs:
    """Every pair of candidates: places of both, and the t distribution of their difference."""

    one: NDArray[np.int64]
    other: NDArray[np.int64]
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


@dataclass(frozen=True, eq=False)
class _Together:
    """All pairs, and the largest deviate of any of them in each draw, (draws,)."""

    pairs: _Pairs
    largest: Floats

    def half_widths(self, level: float) -> Floats:
        """Of every pair's interval, (pairs,)."""
        return self.pairs.distances(float(np.quantile(self.largest, level)))


def behind_first(drawn: Bootstrap, first: int, level: float = LEVEL) -> Behind:
    """Simultaneous intervals of how far each candidate is behind the first.

    Args:
        drawn: ``bootstrap`` of the candidates' table.
        first: place of the candidate to compare with, chosen in any way.
        level: nominal chance that the intervals of all pairs hold.
    """
    n, together = len(drawn.estimate), _together(drawn)
    if together is None:
        return Behind(*np.full((3, n), np.nan))
    low, high, p = np.zeros(n), np.zeros(n), np.ones(n)
    if n > 1:
        pairs, largest = together.pairs, together.largest
        mine = (pairs.one == first) | (pairs.other == first)
        others = np.where(pairs.one == first, pairs.other, pairs.one)[mine]
        ahead = np.zeros(len(mine))
        ahead[mine] = drawn.estimate[first] - drawn.estimate[others]
        half = together.half_widths(level)[mine]
        low[others], high[others] = ahead[mine] - half, ahead[mine] + half
        seen = pairs.deviates(ahead)[mine]
        p[others] = 1 - np.searchsorted(np.sort(largest), seen) / len(largest)
    return Behind(np.clip(low, -1, 1), np.clip(high, -1, 1), p)


def half_widths(drawn: Bootstrap, level: float = LEVEL) -> Floats:
    """Half widths of the intervals of all pairs' differences, (candidates, candidates).

    0 of a candidate and itself; NaN with too few cases.

    Args:
        drawn: ``bootstrap`` of the candidates' table.
        level: nominal chance that the intervals of all pairs hold.
    """
    n, together = len(drawn.estimate), _together(drawn)
    if together is None:
        return np.full((n, n), np.nan)
    half = np.zeros((n, n))
    if n > 1:
        one, other = together.pairs.one, together.pairs.other
        half[one, other] = half[other, one] = together.half_widths(level)
    return half


def _together(drawn: Bootstrap) -> _Together | None:
    """None with too few cases to say anything."""
    n, spread = len(drawn.estimate), drawn.spread
    if not drawn.possible or spread is None or (n > 1 and spread.n_cases < FEWEST_CASES):
        return None
    pairs = _pairs(drawn, spread)
    errors = drawn.draws - drawn.estimate
    deviates = pairs.deviates(errors[:, pairs.one] - errors[:, pairs.other])
    return _Together(pairs, deviates.max(axis=1, initial=0.0))


def _pairs(drawn: Bootstrap, spread: Spread) -> _Pairs:
    """The t distribution of every difference, from the mean and spread of its log variance."""
    one, other = np.triu_indices(len(drawn.estimate), 1)
    own = spread.case_draws - drawn.estimate
    of_cases = np.mean(np.square(own[:, one] - own[:, other]), axis=0)
    luck = spread.luck_variance[:, one] + spread.luck_variance[:, other]
    luck = np.where(drawn.training[one] == drawn.training[other], 0.0, luck)
    variance = np.maximum(spread.case_factor[:, None] * of_cases + luck, _NOTHING**2)
    logs = np.log(variance)
    df = 2 * _inverse_trigamma(np.maximum(logs.var(axis=0), 2 / _SURE))
    scale = np.exp((logs.mean(axis=0) - np.log(df / 2) + digamma(df / 2)) / 2)
    return _Pairs(one, other, scale, df)


def _inverse_trigamma(values: Floats) -> Floats:
    """x of ``trigamma(x) = value``, by Newton's method (Smyth 2004, appendix)."""
    x = 0.5 + 1 / values
    for _ in range(5):
        trigamma = polygamma(1, x)
        x = x + trigamma * (1 - trigamma / values) / polygamma(2, x)
    return np.asarray(x)


def _slope(df: Floats) -> Floats:
    return np.asarray((8 * df + 1) / (8 * df + 3))
