"""The corrected resampled t test of Nadeau and Bengio (Machine Learning 52, 2003, section 3).

The folds' training sets overlap, so the folds' scores are not independent and the usual t test is
too sure. The correction adds the ratio of test to training size, here in cases, to 1/J.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import stdtr, stdtrit


@dataclass(frozen=True)
class CorrectedT:
    """A test of a mean against 0, and its interval; NaN where there are fewer than two values.

    Attributes:
        mean: of the values.
        t: statistic; infinite where all values are equal and not 0.
        p: two-sided.
        low, high: interval of the mean.
    """

    mean: float
    t: float
    p: float
    low: float
    high: float


def corrected_t(
    values: ArrayLike, test_to_train: float | None = None, level: float = 0.95
) -> CorrectedT:
    """Test whether the mean over folds is 0: of differences, or of scores for their interval.

    ``t = mean / sqrt((1/J + n_test/n_train) var)`` with J - 1 degrees of freedom.

    >>> result = corrected_t([0.010, 0.004, 0.012, 0.002, 0.009])
    >>> round(result.t, 2), round(result.p, 4)
    (2.61, 0.0591)

    Args:
        values: one a fold (and repeat), (J,).
        test_to_train: cases of a fold over cases it was trained on; 1 / (J - 1), as in one
            J-fold cross-validation, by default; 0 gives the usual t test.
        level: nominal coverage of the interval.
    """
    x = np.asarray(values, np.float64)
    count, mean = len(x), float(np.mean(x))
    if count < 2:
        return CorrectedT(mean, math.nan, math.nan, math.nan, math.nan)
    ratio = 1 / (count - 1) if test_to_train is None else test_to_train
    spread = float(np.std(x, ddof=1))
    if spread <= 1e-12 * max(1.0, abs(mean)):  # all equal, but for rounding
        zero = abs(mean) <= 1e-12
        return CorrectedT(
            mean, *((0.0, 1.0) if zero else (math.copysign(math.inf, mean), 0.0)), mean, mean
        )
    error = math.sqrt(1 / count + ratio) * spread
    p = 2 * float(stdtr(count - 1, -abs(mean) / error))
    half = float(stdtrit(count - 1, (1 + level) / 2)) * error
    return CorrectedT(mean, mean / error, p, mean - half, mean + half)
