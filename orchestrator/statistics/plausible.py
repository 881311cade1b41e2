"""Plausible sizes of the luck of training, drawn from what a sweep shows of it.

A candidate's fold scores vary with variance ``sampling + training``. Five folds tell neither part
well, and the estimate of ``training`` is 0 in many a sweep that has such luck. Instead of one value
there are draws from a posterior distribution, computed on a grid:

- the mean square of each candidate is chi-square about its variance;
- ``sampling`` is known up to a factor that all candidates share, with the degrees of freedom of the
  cases; where the luck is small, fold scores tell of this factor too;
- the standard deviations of candidates' luck are log-normal about a common level, spread little or
  much, or about two levels, a steady and an unsteady one; level and spread are drawn too, and
  small levels are held more probable than large ones. With a single candidate this is nearly
  Student's t with folds less one degrees of freedom.

Gelman, Bayesian Analysis 1, 2006, discusses such priors. The weights here were chosen so that
intervals of few candidates neither miss the truth nor are wider than they must be
(``benchmarks/studies/leaderboard_statistics.py``).
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from functools import cache

import numpy as np

from orchestrator.statistics.case_sums import Floats

_LUCK = np.linspace(-4.0, 6.0, 81)  # log of luck's sd over the sd that cases give
_LEVELS = np.linspace(-2.5, 5.0, 29)
_TWO_LEVELS = np.linspace(-2.5, 5.0, 13)
_SPREADS = {0.0: 2.0, 0.3: 1.0, 0.6: 1.0, 0.9: 0.5}  # of log sd about its level -> weight
_NARROW, _WEIGHT_OF_TWO = 0.15, 10.0
_UNSTEADY_SHARES = (0.25, 0.5, 0.75)
_FEWEST_FOR_TWO = 4
_DECAY = 0.1  # of the weight, by unit of the level
_FACTORS = np.exp(np.linspace(-1.6, 1.6, 17))  # of ``sampling``
_NOTHING = 1e-24


@dataclass(frozen=True)
class LuckUnits:
    """What is known of the luck of training: of each candidate, or one value for all.

    Attributes:
        mean_square: of fold scores, what candidates share in a fold taken out.
        df: degrees of freedom of each.
        sampling: the part of ``mean_square`` that cases explain.
        sampling_df: degrees of freedom behind all of ``sampling``.
    """

    mean_square: tuple[float, ...]
    df: tuple[float, ...]
    sampling: tuple[float, ...]
    sampling_df: float

    def draw(self, draws: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
        """Draws from the posterior distribution.

        Returns:
            the factor on ``sampling``, (draws,), and the luck's variance, (draws, units).
        """
        square, own = np.array(self.mean_square), np.array(self.sampling)
        unit = max(float(own.mean()), 1e-6 * float(square.mean()))
        if unit <= _NOTHING:
            return np.ones(draws), np.zeros((draws, len(own)))
        prior, weight = _prior(len(own) >= _FEWEST_FOR_TWO, len(own) > 1)
        variance = unit * np.exp(2 * _LUCK)
        of_fold = own[:, None] * _FACTORS[:, None, None] + variance  # (factors, units, luck)
        df = np.array(self.df)[:, None]
        logs = -df / 2 * (np.log(of_fold) + square[:, None] / of_fold)
        likelihood = np.exp(logs - logs.max(axis=(0, 2), keepdims=True))
        evidence = np.log(np.maximum(likelihood @ prior.T, 1e-300)).sum(axis=1)
        evidence += weight  # (factors, prior)
        evidence -= (self.sampling_df / 2 * (np.log(_FACTORS) + 1 / _FACTORS))[:, None]
        chances = np.exp(evidence - evidence.max()).ravel()
        counts = rng.multinomial(draws, chances / chances.sum())
        factors, luck, start = np.empty(draws), np.empty((draws, len(own))), 0
        for place in np.flatnonzero(counts):
            factor, row = divmod(int(place), len(prior))
            part = slice(start, start := start + counts[place])
            factors[part] = _FACTORS[factor]
            luck[part] = variance[_places(likelihood[factor] * prior[row], counts[place], rng)]
        order = rng.permutation(draws)
        return factors[order], luck[order]


def _places(weights: Floats, draws: int, rng: np.random.Generator) -> np.ndarray:
    """Columns drawn by their weight in each row, (draws, rows)."""
    upto = np.cumsum(weights, axis=1)
    drawn = rng.random((draws, len(weights))) * upto[:, -1]
    return np.asarray((upto < drawn[..., None]).sum(axis=-1))


@cache
def _prior(two_levels: bool, spread: bool) -> tuple[Floats, Floats]:
    """Distributions of log luck, (rows, luck), and the log weight of each, (rows,)."""
    rows, weights = [], []
    for width, weight in list(_SPREADS.items())[: None if spread else 1]:
        for level in _LEVELS:
            rows.append(_bell(level, width))
            weights.append(math.log(weight) - _DECAY * level)
    if two_levels:
        pairs = list(itertools.combinations(_TWO_LEVELS, 2))
        each = _WEIGHT_OF_TWO * len(_LEVELS) * len(_SPREADS)
        each /= len(pairs) * len(_UNSTEADY_SHARES)
        for (low, high), share in itertools.product(pairs, _UNSTEADY_SHARES):
            rows.append((1 - share) * _bell(low, _NARROW) + share * _bell(high, _NARROW))
            weights.append(math.log(each) - _DECAY * ((1 - share) * low + share * high))
    return np.array(rows), np.array(weights)


def _bell(level: float, width: float) -> Floats:
    if width == 0:
        return np.asarray(np.arange(len(_LUCK)) == np.abs(_LUCK - level).argmin(), np.float64)
    density = np.exp(-np.square((_LUCK - level) / width) / 2)
    return np.asarray(density / density.sum())
