"""Repeated cross-validation: the same cases in several fold plans, each candidate trained on all.

The score is the mean over all folds of all plans. What is drawn by the bootstrap are cases, the
same in every plan: repeats make the luck of training smaller, never the number of patients larger.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

from gitract_core.errors import RunError
from orchestrator.statistics.case_sums import CaseSums, Floats


@dataclass(frozen=True, eq=False)
class RepeatedSums(CaseSums):
    """Tables of several fold plans as one; made by ``repeated``.

    ``values`` are the sums over plans, from which scores of sets of cases follow; ``folds`` are
    those of the first plan.

    Attributes:
        plans: the table of each plan, of the same candidates and cases.
    """

    plans: tuple[CaseSums, ...] = field(default=(), kw_only=True)

    def __post_init__(self) -> None:
        first = self.plans[0]
        for place, other in enumerate(self.plans[1:], 2):
            if (other.names, other.cases) != (first.names, first.cases):
                expected, got = "the candidates and cases of the first", "others"
                raise RunError(f"fold plan {place}", expected, got, "repeat every candidate")
        super().__post_init__()

    @property
    def tables(self) -> tuple[CaseSums, ...]:
        """One a plan."""
        return self.plans

    def fold_scores(self, weights: ArrayLike | None = None) -> Floats:
        """As the base's, the folds of all plans one after the other."""
        return np.concatenate([plan.fold_scores(weights) for plan in self.plans], axis=-1)

    def take(self, candidates: Sequence[int]) -> CaseSums:
        """As the base's, in every plan."""
        return repeated([plan.take(candidates) for plan in self.plans])


def repeated(plans: Sequence[CaseSums]) -> CaseSums:
    """The tables of several plans as one; a single one as it is.

    Raises:
        RunError: candidates or cases differ.
    """
    first = plans[0]
    if len(plans) == 1:
        return first
    same = all(plan.values.shape == first.values.shape for plan in plans)
    values = np.sum([plan.values for plan in plans], axis=0) if same else first.values
    numbers = (values, first.training)
    kept = (first.names, first.cases, first.folds)
    return RepeatedSums(*kept, *numbers, score=first.score, plans=tuple(plans))
