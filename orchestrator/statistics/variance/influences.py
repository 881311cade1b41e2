"""What each case does to a score."""

from __future__ import annotations

import numpy as np

from orchestrator.statistics.case_sums import CaseSums, Floats


def linearized_scores(sums: CaseSums) -> Floats:
    """Each case's share in its fold's pooled score, (candidates, cases).

    The mean over a fold's cases is exactly the fold's score, and their variance over their number
    estimates its sampling variance (``Score.shares``). A case with more slices and scans weighs
    more, as in the score itself.
    """
    shares = np.empty(sums.pooled.shape[:2])
    for fold in sums.fold_labels:
        members = sums.folds == fold
        shares[:, members] = sums.score.shares(sums.pooled[:, members])
    return shares


def within_folds(sums: CaseSums) -> Floats:
    """Each case's share less its fold's score, (candidates, cases), zero mean in each fold."""
    of_fold = np.searchsorted(sums.fold_labels, sums.folds)
    return np.asarray(linearized_scores(sums) - sums.fold_scores()[:, of_fold])


def case_influences(sums: CaseSums) -> Floats:
    """What each case does to the mean score of one fold plan, (candidates, cases).

    Its share less the mean share of the others of its fold, over folds and the fold's cases.
    Products of two plans' influences, summed over cases, estimate their covariance without bias;
    squares inside a plan are too large by size / (size - 1).
    """
    sizes = dict(zip(sums.fold_labels, sums.fold_sizes.tolist(), strict=True))
    size = np.array([sizes[fold] for fold in sums.folds.tolist()])
    return np.asarray(within_folds(sums) / np.maximum(size - 1, 1) / len(sizes))
