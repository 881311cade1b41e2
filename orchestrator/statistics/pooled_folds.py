"""Folds in which a candidate has nothing to score.

An organ that neither truth nor prediction holds is not counted, and one that the prediction alone
holds counts 0. In a fold without annotation, a candidate that rightly predicts nothing so has no
figure at all, and one with false positives has the figure 0. A mean over folds can compare neither
the two with each other nor this fold with others. Such a fold is therefore not a fold of its own:
its cases are counted together with those of the next fold in which every candidate has something to
score, for all candidates alike. A false positive then lowers the figure of that fold, as it does in
the contest's pooled score, and a rightly empty prediction leaves it as it is.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gitract_core.metrics.score import Score


def pooled_folds(scored: ArrayLike) -> tuple[int, ...] | None:
    """For each fold, the place of the fold whose cases it is counted with: mostly its own.

    >>> pooled_folds([[True, True, True], [True, True, True]])
    (0, 1, 2)
    >>> pooled_folds([[False, True, True], [True, True, True]])
    (1, 1, 2)
    >>> pooled_folds([[False, True], [True, False]]) is None
    True

    Args:
        scored: boolean (candidates, folds), whether there is anything to score.

    Returns:
        None where no fold gives every candidate a figure: then nothing can be ranked.
    """
    table: NDArray[np.bool_] = np.asarray(scored, np.bool_)
    common: list[bool] = [bool(column.all()) for column in table.T]
    if not any(common):
        return None
    count = len(common)
    return tuple(
        next(place % count for place in range(fold, fold + count) if common[place % count])
        for fold in range(count)
    )


def folds_to_score(
    values: NDArray[np.float64], folds: NDArray[np.int64], score: Score
) -> NDArray[np.int64]:
    """The fold with which each case is counted: as given, where everybody has something to score.

    Args:
        values: sums and counts, (candidates, cases, organs, columns).
        folds: in which each case was held out, (cases,).
        score: what the sums are of.
    """
    labels = np.unique(folds)
    totals = np.stack([values[:, folds == fold].sum(axis=(1, 2)) for fold in labels], axis=1)
    places = pooled_folds(np.isfinite(score.of(totals)))
    if places is None:
        return folds
    return np.asarray(labels[list(places)][np.searchsorted(labels, folds)])
