"""How many patients and repeats it takes to find a difference between two candidates.

The standard error of the difference of two candidates has a part of the cases, which shrinks with
their number, and a part of the trainings, which shrinks with repeats (``components``):

    variance = 2 interaction / cases + 2 training / (folds x repeats)

A difference is found with a chance of 80 % by a two-sided test at 5 % if it is ``t(.975) + t(.8)``
standard errors large, with Student's quantiles for the degrees of freedom of the cases, cases less
folds (Chow, Shao and Wang, Sample Size Calculations in Clinical Research, 2008, section 3.1: an
approximation of the noncentral t that is a little on the safe side). One pair is meant that was
chosen beforehand; to pick the best of many takes more. New patients are taken to be like those that
there are, and the luck of training not to depend on their number.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from gitract_core.errors import counted
from orchestrator.statistics.case_sums import CaseSums, Floats
from orchestrator.statistics.variance.components import Components

LEVEL, POWER = 0.05, 0.8
MOST_CASES, MOST_REPEATS = 100_000, 1000
"""More is "no number": nobody has them, and the assumptions do not reach so far."""
REPEATS = (1, 2, 3, 5, 10)


@dataclass(frozen=True)
class Noise:
    """What blurs the difference of two candidates, in squared score.

    Attributes:
        interaction: variance of a candidate's score on one case, beyond what all have in common.
        training: variance of one training's fold score: the luck of its seed.
        folds: of one fold plan.
        cases: that there are.
        repeats: fold plans that there are.
        source: where the figures come from, in words.
    """

    interaction: float
    training: float
    folds: int
    cases: int
    repeats: int
    source: str

    def variance(self, cases: int, repeats: int) -> float:
        """Of the difference of two candidates' mean scores."""
        of_trainings = self.training / (self.folds * repeats)
        return 2 * (self.interaction / cases + of_trainings)

    def detectable(self, cases: int, repeats: int) -> float:
        """The smallest difference found with a chance of 80 %; infinite with a case a fold."""
        df = cases - self.folds
        if df < 1:
            return math.inf
        reach = stdtrit(df, 1 - LEVEL / 2) + stdtrit(df, POWER)
        return float(reach * math.sqrt(self.variance(cases, repeats)))

    def cases_needed(self, difference: float, repeats: int) -> int | None:
        """The fewest cases that find a difference; None where no number does."""
        if self.detectable(MOST_CASES, repeats) > difference:
            return None
        low, high = self.folds, MOST_CASES  # too few, and enough
        while high - low > 1:
            middle = (low + high) // 2
            if self.detectable(middle, repeats) <= difference:
                high = middle
            else:
                low = middle
        return high

    def repeats_needed(self, difference: float, cases: int) -> int | None:
        """The fewest repeats that find a difference on so many cases; None where none do."""
        numbers = range(1, MOST_REPEATS + 1)
        return next((n for n in numbers if self.detectable(cases, n) <= difference), None)


TYPICAL = Noise(0.03**2, 0.006**2, 5, 85, 1, "typical of small networks on the contest's 85 cases")
"""As seen in sweeps of the paper's networks; a training that can fail has far more luck."""


def noise_of(sums: CaseSums, components: Components) -> Noise | None:
    """The noise of a finished run: of its median candidate, where candidates differ by much.

    Candidates that fail on every other fold say nothing of two that do not; where half of them
    fail, the steadier of the two in the middle is taken.

    Args:
        sums: the table.
        components: of that table.

    Returns:
        None where it is unknown: with one candidate, or a case a fold.
    """
    plans, folds = len(sums.tables), len(sums.fold_labels)
    smallest = min(int(table.fold_sizes.min()) for table in sums.tables)
    if smallest < 2 or math.isnan(components.training):
        return None
    sampling = components.sampling
    if components.luck and len(components.luck.df) > 1:
        sampling = _lower_median(components.luck.sampling)
    return Noise(
        interaction=sampling * plans / folds * sums.n_cases,
        training=_lower_median(components.known_training) * plans,
        folds=folds,
        cases=sums.n_cases,
        repeats=plans,
        source=f"as in this run of {counted(sums.n_cases, 'case')}",
    )


def _lower_median(values: Sequence[float] | Floats) -> float:
    return float(np.quantile(values, 0.5, method="lower"))


@dataclass(frozen=True)
class Detection:
    """What it takes to find a difference.

    Attributes:
        difference: of score.
        noise: what it must stand out from.
        detectable: the smallest difference that the present cases and repeats find.
        repeats_needed: with the present cases; None where none suffice.
        cases_needed: for each number of ``REPEATS``; None where none suffice.
    """

    difference: float
    noise: Noise
    detectable: float
    repeats_needed: int | None
    cases_needed: tuple[tuple[int, int | None], ...]


def detection(difference: float, noise: Noise = TYPICAL) -> Detection:
    """Patients and repeats that find a difference with a chance of 80 %."""
    return Detection(
        difference=difference,
        noise=noise,
        detectable=noise.detectable(noise.cases, noise.repeats),
        repeats_needed=noise.repeats_needed(difference, noise.cases),
        cases_needed=tuple((n, noise.cases_needed(difference, n)) for n in REPEATS),
    )
