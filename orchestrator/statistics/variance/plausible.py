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
_STEP = float(_LUCK[1] - _LUCK[0])
_LARGEST = 5.0  # level of luck
_WEIGHT_OF_ONE = 2.0
_SPREADS = {0.3: 1.0, 0.6: 1.0, 0.9: 0.5}  # of log sd about its level -> weight
_NARROW, _WEIGHT_OF_TWO = 0.15, 40.0
_UNSTEADY_SHARES = (0.25, 0.5, 0.75)
_FEWEST_FOR_TWO = 4
_DECAY = 0.05  # of the log weight, by unit of the level
_FACTORS = np.exp(np.linspace(-0.8, 0.8, 17))  # of ``sampling``
_NOTHING = 1e-24


@dataclass(frozen=True)
class LuckUnits:
    """What is known of the luck of training: of each candidate, or one value for all.

    Attributes:
        mean_square: of fold scores, what candidates share in a fold taken out.
        df: degrees of freedom of each.
        sampling: the part of ``mean_square`` that cases explain.
        sampling_df: degrees of freedom behind all of ``sampling``.
        least: the smallest level of luck held possible, as log of its sd over the sd that cases
            give. The lower it is, the more a sweep without much luck gains, and the more often
            intervals of a sweep with some luck are too short.
    """

    mean_square: tuple[float, ...]
    df: tuple[float, ...]
    sampling: tuple[float, ...]
    sampling_df: float
    least: float = -2.5

    def draw(self, draws: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
        """Draws from the posterior distribution.

        Returns:
            the factor on ``sampling``, (draws,), and the luck's variance, (draws, units).
        """
        square, own = np.array(self.mean_square), np.array(self.sampling)
        unit = max(float(own.mean()), 1e-2 * float(square.mean()))
        if unit <= _NOTHING:
            return np.ones(draws), np.zeros((draws, len(own)))
        guess = float(square.mean() - own.mean())
        if guess > 0:  # a point of the grid lies on it, which matters where much is known
            steps = math.log(guess / unit) / 2 / _STEP
            unit *= math.exp(2 * _STEP * (steps - round(steps)))
        prior, weight = _prior(len(own), self.least)
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
        width = 2 * _STEP  # of a cell of the grid, in log variance
        luck *= np.exp(width * (rng.random(luck.shape) - 0.5))
        order = rng.permutation(draws)
        return factors[order], luck[order]


def _places(weights: Floats, draws: int, rng: np.random.Generator) -> np.ndarray:
    """Columns drawn by their weight in each row, (draws, rows)."""
    upto = np.cumsum(weights, axis=1)
    drawn = rng.random((draws, len(weights))) * upto[:, -1]
    return np.asarray((upto < drawn[..., None]).sum(axis=-1))


@cache
def _prior(units: int, least: float) -> tuple[Floats, Floats]:
    """Distributions of log luck, (rows, luck), and the log weight of each, (rows,)."""
    rows, weights = [], []
    for place in np.flatnonzero((least <= _LUCK) & (_LUCK <= _LARGEST)):  # one level for all
        rows.append(np.eye(len(_LUCK))[place])
        weights.append(math.log(_WEIGHT_OF_ONE * _STEP) - _DECAY * _LUCK[place])
    levels = np.linspace(least, _LARGEST, 29)
    step = levels[1] - levels[0]
    for width, weight in _SPREADS.items() if units > 1 else ():
        for level in levels:
            rows.append(_bell(level, width))
            weights.append(math.log(weight * step) - _DECAY * level)
    if units >= _FEWEST_FOR_TWO:
        pairs = list(itertools.combinations(np.linspace(least, _LARGEST, 13), 2))
        each = _WEIGHT_OF_TWO * (_LARGEST - least) / (len(pairs) * len(_UNSTEADY_SHARES))
        for (low, high), share in itertools.product(pairs, _UNSTEADY_SHARES):
            rows.append((1 - share) * _bell(low, _NARROW) + share * _bell(high, _NARROW))
            weights.append(math.log(each) - _DECAY * ((1 - share) * low + share * high))
    return np.array(rows), np.array(weights)


def _bell(level: float, width: float) -> Floats:
    density = np.exp(-np.square((_LUCK - level) / width) / 2)
    return np.asarray(density / density.sum())
