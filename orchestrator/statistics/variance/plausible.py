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

Few folds cannot tell by themselves which candidates are steady: three folds give each two degrees
of freedom at most. But a training fails downwards, so candidates that fail now and then score
lower. Beside the prior above, under which any candidate may be unsteady, stand the *splits*
(``splits``): the best so many are steady, all others are not. A mean does not depend on the spread
about it, so a split is not chosen for the spread that it finds, as a search for the steadiest
candidates would be.

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
from numpy.typing import NDArray

from orchestrator.statistics.case_sums import Floats

_LUCK = np.linspace(-4.0, 6.0, 81)  # log of luck's sd over the sd that cases give
_STEP = float(_LUCK[1] - _LUCK[0])
_LARGEST = 5.0  # level of luck
_WEIGHT_OF_ONE = 2.0
_SPREADS = {0.3: 1.0, 0.6: 1.0, 0.9: 0.5}  # of log sd about its level -> weight
_NARROW, _WEIGHT_OF_TWO = 0.15, 40.0
_UNSTEADY_SHARES = (0.25, 0.5, 0.75)
_FEWEST_FOR_TWO = 4
_OF_UNSTEADY, _LEAST_RATIO = 0.3, 0.7  # width of the second level, and its log over the first
_DECAY = 0.05  # of the log weight, by unit of the level
_FACTORS = np.exp(np.linspace(-0.8, 0.8, 17))  # of ``sampling``
_NOTHING = 1e-24
_DRAWS_OF_TYPICAL = 1000


@dataclass(frozen=True)
class Split:
    """The best candidates are steady, all others are not.

    Attributes:
        steady: whether each candidate is one of the best, with a luck like the other steady ones'.
        mean_square: as in ``LuckUnits``, what candidates share in a fold taken out by their mean
            weighted as the split has it.
        df: likewise.
        log_weight: how probable the split is before its mean squares are seen, and the constant of
            their likelihood; see ``LuckUnits.log_weight``.
    """

    steady: tuple[bool, ...]
    mean_square: tuple[float, ...]
    df: tuple[float, ...]
    log_weight: float


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
        log_weight: constant of the likelihood, which depends on how candidates were weighted.
        splits: ways to part the candidates in steady and unsteady ones.
    """

    mean_square: tuple[float, ...]
    df: tuple[float, ...]
    sampling: tuple[float, ...]
    sampling_df: float
    least: float = -2.5
    log_weight: float = 0.0
    splits: tuple[Split, ...] = ()

    def draw(self, draws: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
        """Draws from the posterior distribution.

        Returns:
            the factor on ``sampling``, (draws,), and the luck's variance, (draws, units).
        """
        own, unit = np.array(self.sampling), self._unit()
        if unit <= _NOTHING:
            return np.ones(draws), np.zeros((draws, len(own)))
        variance = unit * np.exp(2 * _LUCK)
        of_fold = own[:, None] * _FACTORS[:, None, None] + variance  # (factors, units, luck)
        views = [
            self._together(of_fold),
            *(_apart(one, self.least, of_fold) for one in self.splits),
        ]
        evidence = np.concatenate([view.evidence for view in views], axis=1)
        evidence -= (self.sampling_df / 2 * (np.log(_FACTORS) + 1 / _FACTORS))[:, None]
        ends = np.cumsum([view.evidence.shape[1] for view in views])
        chances = np.exp(evidence - evidence.max()).ravel()
        counts = rng.multinomial(draws, chances / chances.sum())
        factors, luck, start = np.empty(draws), np.empty((draws, len(own))), 0
        for place in np.flatnonzero(counts):
            factor, row = divmod(int(place), evidence.shape[1])
            view = int(np.searchsorted(ends, row, side="right"))
            weights = views[view].weights(factor, row - int(ends[view]))  # counted from the end
            part = slice(start, start := start + counts[place])
            factors[part] = _FACTORS[factor]
            luck[part] = variance[_places(weights, counts[place], rng)]
        width = 2 * _STEP  # of a cell of the grid, in log variance
        luck *= np.exp(width * (rng.random(luck.shape) - 0.5))
        order = rng.permutation(draws)
        return factors[order], luck[order]

    def typical(self) -> Floats:
        """Medians of the luck's variance, (units,)."""
        luck = self.draw(_DRAWS_OF_TYPICAL, np.random.default_rng(0))[1]
        return np.asarray(np.median(luck, axis=0))

    def _unit(self) -> float:
        """The variance that the grid of luck is counted from."""
        square, own = float(np.mean(self.mean_square)), float(np.mean(self.sampling))
        unit, guess = max(own, 1e-2 * square), square - own
        if guess > 0 and unit > _NOTHING:  # a point of the grid lies on it: much may be known
            steps = math.log(guess / unit) / 2 / _STEP
            unit *= math.exp(2 * _STEP * (steps - round(steps)))
        return unit

    def _together(self, of_fold: Floats) -> _View:
        prior, weight = _prior(len(self.sampling), self.least)
        likelihood, largest = _likelihood(self.mean_square, self.df, of_fold)
        evidence = _log(likelihood @ prior.T).sum(axis=1) + (largest + self.log_weight) + weight
        return _View(likelihood, evidence, prior, np.arange(len(prior))[:, None])


@dataclass(frozen=True, eq=False)
class _View:
    """One way to see the candidates.

    Attributes:
        likelihood: (factors, units, luck).
        evidence: log, (factors, rows): of each combination of levels.
        levels: distributions of log luck, (levels, luck).
        of_unit: the level of each unit, or (rows, 1) of all alike, (rows, units).
    """

    likelihood: Floats
    evidence: Floats
    levels: Floats
    of_unit: NDArray[np.intp]

    def weights(self, factor: int, row: int) -> Floats:
        """Of each luck, given a row, (units, luck)."""
        return np.asarray(self.likelihood[factor] * self.levels[self.of_unit[row]])


def _apart(split: Split, least: float, of_fold: Floats) -> _View:
    levels, low, high, weight = _two_levels(least)
    steady = np.array(split.steady)
    likelihood, largest = _likelihood(split.mean_square, split.df, of_fold)
    each = _log(likelihood @ levels.T)  # (factors, units, levels)
    evidence = each[:, steady].sum(axis=1)[:, low] + each[:, ~steady].sum(axis=1)[:, high]
    evidence += largest + split.log_weight + weight
    return _View(likelihood, evidence, levels, np.where(steady, low[:, None], high[:, None]))


def _likelihood(
    mean_square: tuple[float, ...], df: tuple[float, ...], of_fold: Floats
) -> tuple[Floats, float]:
    """Of each unit's variance, shaped like ``of_fold``; and the log of what it was divided by."""
    square, half = np.array(mean_square)[:, None], np.array(df)[:, None] / 2
    logs = -half * (np.log(of_fold) + square / of_fold)
    largest = logs.max(axis=(0, 2), keepdims=True)
    return np.exp(logs - largest), float(largest.sum())


def _log(values: Floats) -> Floats:
    return np.asarray(np.log(np.maximum(values, 1e-300)))


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


@cache
def _two_levels(least: float) -> tuple[Floats, NDArray[np.intp], NDArray[np.intp], Floats]:
    """Distributions of log luck; of each pair the places of low and high, and the log weight."""
    middles = np.linspace(least, _LARGEST, 29)
    bells = [_bell(middle, _NARROW) for middle in middles]
    bells += [_bell(middle, _OF_UNSTEADY) for middle in middles]
    low, high = np.nonzero(middles[:, None] + _LEAST_RATIO < middles)
    weights = math.log((_LARGEST - least) / len(low)) - _DECAY * (middles[low] + middles[high]) / 2
    return np.array(bells), low, high + len(middles), np.asarray(weights)


def _bell(level: float, width: float) -> Floats:
    density = np.exp(-np.square((_LUCK - level) / width) / 2)
    return np.asarray(density / density.sum())
