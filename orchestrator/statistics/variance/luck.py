"""The luck of training, candidate by candidate: some settings train alike each time, some do not.

A candidate that fails on every other fold must not widen the intervals of one that never does, nor
hide behind them. Each candidate has a variance of its own, estimated from few numbers (one a fold)
and therefore drawn towards what is common to all, the more the more alike the candidates are:
*moderated* variances (Smyth, Statistical Applications in Genetics and Molecular Biology 3, 2004,
"Linear models and empirical Bayes methods"). Where they differ no more than chance makes them,
the common variance stands for all.

What all candidates share in a fold, or in a case, is taken out as their mean weighted by how
reliable each is, so that a failed training does not spoil the others' remainder.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import digamma, polygamma

from orchestrator.statistics.case_sums import Floats

_FEWEST = 4  # candidates; with fewer nobody can say which of them is the unreliable one
_ROUNDS = 5  # of weighing; it settles in two or three
_LARGEST_WEIGHT = 4.0  # in units of the median's: no candidate alone decides what is common
_ALIKE = 1e3  # prior degrees of freedom, above which variances are equal


@dataclass(frozen=True)
class Moderated:
    """Variances of rows of a table, what the columns share taken out.

    Attributes:
        values: one a row.
        df: degrees of freedom behind each, its own and those it takes from the others; infinite
            where all are alike.
    """

    values: tuple[float, ...]
    df: tuple[float, ...]

    @property
    def alike(self) -> bool:
        """Whether one value stands for all."""
        return all(math.isinf(df) for df in self.df)


def moderated_variances(table: Floats, df: int) -> Moderated | None:
    """Moderated variances of the rows.

    Args:
        table: (rows, columns), every row with mean 0, or mean 0 in each group of columns.
        df: degrees of freedom of a row: columns less groups.

    Returns:
        None where rows or degrees of freedom are too few, or a row does not vary at all: then the
        common variance has to do.
    """
    n_rows = len(table)
    found = own_variances(table, df) if n_rows >= _FEWEST else None
    return found[1] if found else None


def own_variances(table: Floats, df: int) -> tuple[Moderated, Moderated] | None:
    """Variances of the rows, each by itself and moderated.

    Args:
        table: as in ``moderated_variances``; 2 rows or more.
        df: likewise.

    Returns:
        None where degrees of freedom are too few, or a row does not vary at all.
    """
    n_rows = len(table)
    if df < 2:
        return None
    weights = np.full(n_rows, 1 / n_rows)
    for _ in range(_ROUNDS):
        left = table - weights @ table
        own_df = df * (1 - weights)
        squares = np.square(left).sum(axis=1) / own_df
        if squares.min() <= 1e-9 * squares.max():
            return None
        prior, prior_df = _prior(squares, own_df)
        if prior_df > _ALIKE:
            common = float(np.average(squares, weights=own_df))
            alike = Moderated((common,) * n_rows, (math.inf,) * n_rows)
            return Moderated(tuple(squares.tolist()), tuple(own_df.tolist())), alike
        values = (prior_df * prior + own_df * squares) / (prior_df + own_df)
        weights = np.minimum(1 / values, _LARGEST_WEIGHT / np.median(values))
        weights /= weights.sum()
    own = Moderated(tuple(squares.tolist()), tuple(own_df.tolist()))
    return own, Moderated(tuple(values.tolist()), tuple((prior_df + own_df).tolist()))


def _prior(squares: Floats, df: Floats) -> tuple[float, float]:
    """What mean squares have in common: a variance, and how many degrees of freedom it is worth.

    Moments of log F (Smyth 2004, section 6.2).
    """
    logs = np.log(squares) - digamma(df / 2) + np.log(df / 2)
    beyond = float(np.var(logs, ddof=1) - polygamma(1, df / 2).mean())
    if beyond <= float(polygamma(1, _ALIKE / 2)):
        return float(np.exp(logs.mean())), math.inf
    from scipy.optimize import brentq  # takes longer to load than all else here, and rarely used

    prior_df = 2 * float(brentq(lambda x: polygamma(1, x) - beyond, 1e-3, _ALIKE))
    return float(np.exp(logs.mean() + digamma(prior_df / 2) - np.log(prior_df / 2))), prior_df
