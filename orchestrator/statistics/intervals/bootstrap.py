"""Intervals by redrawing the cases, whole and paired, inside each fold.

A draw takes the same cases for every candidate, so that what cases do to all of them alike cancels
in differences (cluster bootstrap: Davison and Hinkley, Bootstrap Methods, 1997, section 3.8).
Three corrections, without which intervals of few cases are too short (the measurements are made
by ``benchmarks/studies/leaderboard_statistics.py``):

- a fold of n cases gives n - 1 draws, each counted n / (n - 1) times, since n draws would give
  (n - 1) / n of the variance (Rao and Wu, JASA 83, 1988): a quarter less with four cases a fold;
- few cases do not tell their own spread well: what candidates share of a draw's distance from the
  estimate is divided by the root of a chi-square over its degrees of freedom (cases less folds), as
  in Student's t, so that the draws have its tails (Hesterberg, The American Statistician 69, 2015,
  stretches the percentiles to the same end). What a case holds for one candidate alone is known
  better where many candidates tell of it (``pooling``): part of it is drawn from a normal
  distribution with the variance that all pairs have in common, and its tails are shorter;
- the luck of each training, shared by all cases of its fold so that no drawing of cases shows it,
  is drawn from a normal distribution with a plausible variance (``plausible``). A single training
  shows it only in the spread of its fold scores, which holds easy and hard folds too.

With the third, an interval is about the candidate trained anew; without it, about these very
networks on new cases.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from orchestrator.statistics.case_sums import CaseSums, Floats
from orchestrator.statistics.variance.components import Components
from orchestrator.statistics.variance.influences import case_influences
from orchestrator.statistics.variance.luck_units import case_pooling
from orchestrator.statistics.variance.plausible import LuckUnits
from orchestrator.statistics.variance.pooling import first_of_each

DRAWS = 2000
LEVEL = 0.95
_DIGITS = 12  # of bounds that are sums of weights


@dataclass(frozen=True, eq=False)
class Spread:
    """The parts of a bootstrap's draws.

    Attributes:
        case_draws: of the cases alone, what candidates differ by pooled over them, without tails,
            (draws, candidates).
        case_factor: on their variance, in each draw, (draws,).
        luck_variance: the luck's part of each score's variance, in each draw, (draws, candidates).
        n_cases: how many cases were drawn from.
    """

    case_draws: Floats
    case_factor: Floats
    luck_variance: Floats
    n_cases: int

    def only(self, places: NDArray[np.int64]) -> Spread:
        """The parts for some candidates, in the order of their places."""
        case_draws, luck = self.case_draws[:, places], self.luck_variance[:, places]
        return replace(self, case_draws=case_draws, luck_variance=luck)


@dataclass(frozen=True, eq=False)
class Bootstrap:
    """Draws of every candidate's mean score over folds.

    Attributes:
        estimate: the scores as observed, (candidates,).
        draws: with the luck of training and the tails of few cases, (draws, candidates).
        case_draws: of the cases alone, without either, (draws, candidates).
        training_variance: what the luck of training adds to each candidate's variance,
            (candidates,).
        training: which candidates share their networks, and so their luck; see ``CaseSums``.
        possible: False with a fold of a single case: it shows no spread, and so there is no
            interval (NaN).
        spread: what ``draws`` are made of; None where they were not made by ``bootstrap``.
    """

    estimate: Floats
    draws: Floats
    case_draws: Floats
    training_variance: Floats
    training: NDArray[np.int64]
    possible: bool
    spread: Spread | None = None

    def only(self, places: NDArray[np.int64]) -> Bootstrap:
        """The draws of some candidates, in the order of their places."""
        _, first, group = np.unique(self.training[places], return_index=True, return_inverse=True)
        return Bootstrap(
            self.estimate[places],
            self.draws[:, places],
            self.case_draws[:, places],
            self.training_variance[places],
            first[group],
            self.possible,
            self.spread and self.spread.only(places),
        )

    def intervals(self, contrasts: Floats | None = None, level: float = LEVEL) -> Floats:
        """Intervals of weighted sums of candidates' scores.

        Args:
            contrasts: (sums, candidates), for example +1 and -1 for a difference; each
                candidate's own score by default.
            level: nominal coverage.

        Returns:
            (sums, 2), low and high ends; NaN where there is no interval.
        """
        rows = np.eye(len(self.estimate)) if contrasts is None else np.atleast_2d(contrasts)
        if not self.possible:
            return np.full((len(rows), 2), np.nan)
        tails = ((1 - level) / 2, (1 + level) / 2)
        return np.asarray(np.quantile(self.draws @ rows.T, tails, axis=0).T)

    def differences(self, place: int, level: float = LEVEL) -> Floats:
        """Intervals of one candidate's score less every other's, (candidates, 2)."""
        return self.intervals(self._against(place), level)

    def pairwise(self, level: float = LEVEL) -> Floats:
        """Intervals of every candidate's score less every other's, (candidates, candidates, 2)."""
        return np.stack([self.differences(i, level) for i in range(len(self.estimate))])

    def probability_among_best(self, count: int) -> Floats:
        """Share of draws in which fewer than ``count`` others are better, (candidates,).

        Candidates equal in a draw share a place, so that twins do not lose to each other.
        """
        ranked = np.sort(self.draws, axis=1)[:, ::-1]
        last = ranked[:, min(count, ranked.shape[1]) - 1]
        return np.asarray((self.draws >= last[:, None]).mean(axis=0))

    def _against(self, place: int) -> Floats:
        rows = -np.eye(len(self.estimate))
        rows[:, place] += 1
        return rows


def case_weights(folds: np.ndarray, draws: int, rng: np.random.Generator) -> Floats:
    """How often each case counts in each draw, (draws, cases); every fold keeps its size.

    A fold of a single case always counts once.
    """
    weights = np.ones((draws, len(folds)))
    for fold in np.unique(folds):
        members = np.flatnonzero(folds == fold)
        n = len(members)
        if n > 1:
            counts = rng.multinomial(n - 1, np.full(n, 1 / n), size=draws)
            weights[:, members] = counts * (n / (n - 1))
    return weights


def bootstrap(
    sums: CaseSums,
    components: Components | None = None,
    draws: int = DRAWS,
    seed: int = 0,
) -> Bootstrap:
    """Draw cases, and the luck of training where ``components`` says how large it is.

    Args:
        sums: the table.
        components: ``variance_components`` of the same table; None for these very networks.
        draws: number of draws.
        seed: equal seeds give equal draws.
    """
    rng = np.random.default_rng(seed)
    observed = sums.fold_scores()  # (candidates, folds)
    scores = _drawn_scores(sums, observed, draws, rng)  # (draws, candidates)
    estimate, df = observed.mean(axis=1), max(sums.n_cases - len(sums.fold_labels), 1)
    tails = np.sqrt(df / rng.chisquare(df, draws))[:, None]
    found = Bootstrap(
        estimate=estimate,
        draws=estimate + (scores - estimate) * tails,
        case_draws=scores,
        training_variance=np.zeros(len(observed)),
        training=sums.training,
        possible=min(int(table.fold_sizes.min()) for table in sums.tables) > 1,
        spread=Spread(scores, np.square(tails[:, 0]), np.zeros_like(scores), sums.n_cases),
    )
    luck = components.plausible_luck(len(first_of_each(sums.training))) if components else None
    if components is None or luck is None:
        return found
    return _with_luck(sums, luck, components.common_training, found, rng)


def _with_luck(
    sums: CaseSums,
    luck: LuckUnits,
    common: float,
    plain: Bootstrap,
    rng: np.random.Generator,
) -> Bootstrap:
    """The same with the luck of training, and with what candidates differ by pooled.

    ``common`` is the variance of the luck of all, where ``luck`` does not tell it of each.
    """
    draws, places = len(plain.draws), first_of_each(sums.training)
    factor, variances = luck.draw(draws, rng)
    group = np.searchsorted(places, sums.training)  # of each candidate
    variance = np.broadcast_to(variances, (draws, len(places)))[:, group] / len(sums.fold_labels)
    shift = np.sqrt(variance) * rng.standard_normal((draws, len(places)))[:, group]
    apart = plain.case_draws - plain.estimate
    assert plain.spread
    spread = replace(plain.spread, case_factor=factor, luck_variance=variance)
    typical = np.full(len(group), common / len(sums.fold_labels))
    if len(luck.df) > 1:
        typical = np.median(variance, axis=0)
    found = replace(plain, training_variance=typical, spread=spread)
    if len(group) == 1:  # nothing to compare with: all of it is this candidate's own
        return replace(found, draws=plain.estimate + apart * np.sqrt(factor)[:, None] + shift)
    shared = apart[:, places].mean(axis=1, keepdims=True)
    own = _pooled(apart - shared, places, group, case_pooling(sums).share, rng)
    tails = np.sqrt(plain.spread.case_factor)[:, None]
    return replace(
        found,
        draws=plain.estimate + shared * tails + own * np.sqrt(factor)[:, None] + shift,
        spread=replace(spread, case_draws=plain.estimate + shared + own),
    )


def _pooled(
    own: Floats,
    places: NDArray[np.int64],
    group: NDArray[np.int64],
    share: float,
    rng: np.random.Generator,
) -> Floats:
    """Part of what candidates differ by, drawn anew with the variance that all have in common.

    Candidates of one training keep what they differ by among themselves.
    """
    if share == 0 or len(places) < 2:
        return own
    of_training = own[:, places]
    noise = rng.standard_normal(of_training.shape)
    noise -= noise.mean(axis=1, keepdims=True)
    variance = float(np.square(of_training).sum(axis=1).mean()) / (len(places) - 1)
    drawn = np.sqrt(1 - share) * of_training + np.sqrt(share * variance) * noise
    return np.asarray(drawn[:, group] + own - of_training[:, group])


def _drawn_scores(sums: CaseSums, observed: Floats, draws: int, rng: np.random.Generator) -> Floats:
    """The scores of draws of cases, (draws, candidates).

    Repeated folds have no strata in common: cases of one fold are apart in the next plan. There a
    case is drawn with its influence on the score, the mean over plans of what it does in its folds
    (``case_influences``), as many of them as there are cases.
    """
    if len(sums.tables) == 1:
        drawn = sums.fold_scores(case_weights(sums.folds, draws, rng))
        drawn = np.where(np.isfinite(drawn), drawn, observed)  # a draw with nothing to count
        return np.asarray(drawn.mean(axis=-1))
    influence = np.mean([case_influences(table) for table in sums.tables], axis=0)
    n = sums.n_cases
    counts = rng.multinomial(n, np.full(n, 1 / n), size=draws)
    return np.asarray(observed.mean(axis=1) + (counts - 1) @ influence.T)


def within_scores(ends: Floats, contrasts: Floats) -> Floats:
    """Intervals of weighted sums of scores, cut to what scores from 0 to 1 can give.

    Args:
        ends: low and high, (sums, 2); NaN stays.
        contrasts: the weights, (sums, candidates).

    >>> within_scores(np.array([[-1.5, 0.2]]), np.array([[1.0, -1.0]]))
    array([[-1. ,  0.2]])
    """
    rows = np.atleast_2d(contrasts)
    least, most = (part.sum(axis=1) for part in (np.minimum(rows, 0), np.maximum(rows, 0)))
    least, most = np.round(least, _DIGITS), np.round(most, _DIGITS)
    return np.asarray(np.clip(ends, least[:, None], most[:, None]))
