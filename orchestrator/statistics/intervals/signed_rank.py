"""Wilcoxon's signed-rank test (Biometrics Bulletin 1, 1945), two-sided.

Written out because importing ``scipy.stats`` costs every ``report`` half a second or more.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.special import ndtr

from orchestrator.statistics.case_sums import Floats

_MOST_EXACT = 50  # differences, as in SciPy; above, the normal distribution is near enough


def signed_rank_p(differences: Floats) -> float:
    """P value of the hypothesis that differences, (n,), are symmetric about 0; 1 if n is 0.

    Up to 50 differences the distribution is exact, with ties too (which get the mean of their
    ranks). None may be 0.

    >>> signed_rank_p(np.array([0.3, 0.1, 0.4, 0.2, 0.5]))
    0.0625
    """
    if not len(differences):
        return 1.0
    _, place, count = np.unique(np.abs(differences), return_inverse=True, return_counts=True)
    twice = (2 * np.cumsum(count) - count + 1)[place]  # the ranks, doubled: whole numbers
    positive = int(twice[differences > 0].sum())
    if len(differences) > _MOST_EXACT:
        apart = abs(positive - twice.sum() / 2) / math.sqrt(np.square(twice).sum() / 4)
        return float(2 * ndtr(-apart))
    chances = np.ones(1)  # of each sum of positive ranks, doubled
    for rank in twice:
        without, with_it = np.pad(chances, (0, rank)), np.pad(chances, (rank, 0))
        chances = (without + with_it) / 2
    return float(min(2 * min(chances[: positive + 1].sum(), chances[positive:].sum()), 1))
