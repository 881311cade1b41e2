"""The cheapest candidate that may be taken in the first's place.

A candidate that cannot be told from the first can still be far behind: few cases and unsteady
trainings tell little. So the one named must be *shown* to be near: in a share ``CERTAIN`` of the
bootstrap draws, with the luck of training in them, it is no worse than the first by more than a
margin. (Draws of the difference lie around the observed one, which flatters the first: it was
chosen for its score. The rule so errs on the side of the first.)

Costs that are less than 10 % apart count as equal, and of equally cheap candidates the one with the
higher score is named.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from orchestrator.statistics.case_sums import Floats
from orchestrator.statistics.intervals.bootstrap import Bootstrap
from orchestrator.statistics.questions.margin import MARGIN

CERTAIN = 0.9
"""The least probability of being no worse than the first by more than the margin."""
AS_CHEAP = 1.1
"""Costs up to this ratio count as equal."""


def chance_within(drawn: Bootstrap, first: int, margin: float = MARGIN) -> Floats:
    """Probability of being no worse than the first by more than a margin, (candidates,).

    NaN where there is no bootstrap; 1 for the first itself.
    """
    if not drawn.possible:
        return np.full(len(drawn.estimate), np.nan)
    behind = drawn.draws[:, first, None] - drawn.draws
    return np.asarray((behind <= margin).mean(axis=0))


def cheapest_within(
    chances: Floats, tied: NDArray[np.bool_], scores: Floats, costs: ArrayLike
) -> int | None:
    """Place of the candidate to name; None where no cost is known or no chance can be said.

    Args:
        chances: ``chance_within``.
        tied: which candidates cannot be told from the first; no other one is named.
        scores: of each candidate.
        costs: of each candidate, NaN where unknown.
    """
    near = tied & (np.nan_to_num(chances) >= CERTAIN)
    known = np.where(near, np.asarray(costs, np.float64), np.nan)
    if np.isnan(known).all():
        return None
    as_cheap = known < AS_CHEAP * np.nanmin(known)
    as_cheap |= known == np.nanmin(known)  # of costs of 0 too
    return int(np.argmax(np.where(as_cheap, scores, -np.inf)))
