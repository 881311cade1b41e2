"""What a table shows of the luck of training, for ``plausible`` to draw from."""

from __future__ import annotations

import math

import numpy as np

from orchestrator.statistics.case_sums import CaseSums
from orchestrator.statistics.variance.influences import case_influences, within_folds
from orchestrator.statistics.variance.luck import moderated_variances, own_variances
from orchestrator.statistics.variance.plausible import LuckUnits
from orchestrator.statistics.variance.pooling import (
    Pooling,
    first_of_each,
    independent_rows,
    pooling,
)
from orchestrator.statistics.variance.splits import log_constant, splits_by_score

_LEAST_OF_ONE, _LEAST_OF_TWO, _LEAST_OF_MORE = -0.5, -3.2, -1.8  # chosen by simulation


def case_pooling(sums: CaseSums) -> Pooling:
    """How far the cases' part of differences may be pooled over the trainings of a table."""
    places, tables = first_of_each(sums.training), sums.tables
    own_df = sums.n_cases - len(sums.fold_labels)
    if len(tables) == 1:
        return pooling(within_folds(sums)[places], own_df)
    influence = np.mean([case_influences(table)[places] for table in tables], axis=0)
    return pooling(influence, own_df)


def luck_units(sums: CaseSums, mean_square: float, sampling: float) -> LuckUnits | None:
    """Luck of each training by itself where there are three or more, else of both.

    Args:
        sums: the table.
        mean_square: of all candidates together, see ``Components``.
        sampling: likewise.
    """
    places, n = first_of_each(sums.training), len(sums.tables)
    if len(places) == 1:
        return _luck_of_one(sums)
    if math.isnan(mean_square) or math.isnan(sampling):
        return None
    pooled = case_pooling(sums)
    tables = [table.take(places.tolist()) for table in sums.tables]
    scores = [table.fold_scores() for table in tables]
    centered = np.hstack([s - s.mean(axis=1, keepdims=True) for s in scores])
    own_df = n * (len(sums.fold_labels) - 1)
    own = own_variances(centered, own_df) if len(places) > 2 else None
    if own is None:
        both = float((len(sums.names) - 1) * own_df)
        return LuckUnits((mean_square,), (both,), (sampling,), pooled.df, _LEAST_OF_TWO)
    within = np.hstack([within_folds(table) for table in tables]) / math.sqrt(n)
    case_df = sums.n_cases - len(sums.fold_labels)
    of_cases = moderated_variances(within, case_df)
    inverse = float(np.mean(np.concatenate([1 / t.fold_sizes for t in tables]))) / n
    square = np.array(own[0].values) / n
    left = (within - within.mean(axis=0)) * math.sqrt(inverse / case_df)
    explained = np.full(len(places), sampling)
    if of_cases is not None:
        explained = np.array(of_cases.values) * inverse
    luck = max(float(np.mean(square - explained)), 0.0)
    rows = independent_rows(left @ left.T, math.sqrt(pooled.share), luck)
    effective = min(1.0, math.sqrt(rows / (len(places) - 1)))
    dfs, means = np.array(own[0].df), np.mean([s.mean(axis=1) for s in scores], axis=0)
    return LuckUnits(
        tuple(square.tolist()),
        tuple((dfs * effective).tolist()),
        tuple(explained.tolist()),
        pooled.df,
        _LEAST_OF_MORE,
        log_constant(1 - dfs / own_df, own_df * effective),
        splits_by_score(centered / math.sqrt(n), means, own_df, effective),
    )


def _luck_of_one(sums: CaseSums) -> LuckUnits | None:
    """Of a single training: the spread of its own fold scores, easy and hard folds included."""
    n, df = len(sums.tables), len(sums.fold_labels) - 1
    case_df = sums.n_cases - len(sums.fold_labels)
    if df < 1 or case_df < 1:
        return None
    scores = [table.fold_scores()[0] for table in sums.tables]
    square = float(np.mean([np.var(one, ddof=1) for one in scores])) / n
    within = [np.square(within_folds(table)[0]).sum() / case_df for table in sums.tables]
    inverse = float(np.mean(np.concatenate([1 / t.fold_sizes for t in sums.tables])))
    sampling = float(np.mean(within)) * inverse / n
    return LuckUnits((square,), (float(n * df),), (sampling,), float(case_df), _LEAST_OF_ONE)
