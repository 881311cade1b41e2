"""Which candidates are no worse than the best by more than a margin: a claim, unlike a tie.

"Cannot be told from the first" is the absence of a claim: few cases leave everybody tied.
Non-inferiority is one (Wellek, Testing Statistical Hypotheses of Equivalence and Noninferiority,
2010). The best is the truly best one, which need not be the first; of the first itself, too, it can
often not be said. The claims hold for all candidates at once:

- *yes* by multiple comparisons with the best (Hsu, Annals of Statistics 9, 1981; Hsu, Multiple
  Comparisons, 1996, section 4.2): a candidate can be the best if no other is certainly better; its
  distance to each of those is bounded from above with the one-sided critical value of that one's
  comparisons (as Dunnett's, from the draws);
- *no* if some other is better by more than the margin in the intervals of all pairs
  (``simultaneous``), by which candidates are told from the first, too.

In 95 % of sweeps no *yes* is wrong, and in 95 % no *no*.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from gitract_core.errors import GitractError
from orchestrator.statistics.case_sums import Floats
from orchestrator.statistics.intervals.bootstrap import LEVEL, Bootstrap
from orchestrator.statistics.intervals.simultaneous import half_widths

MARGIN = 0.005
"""Of score: what a person gives up for a cheaper network without regret."""
NoWorse = Literal["yes", "no", "cannot say"]
_NOTHING = 1e-12


def no_worse(drawn: Bootstrap, margin: float = MARGIN) -> list[NoWorse]:
    """Whether each candidate is no worse than the best by more than a margin, by the module's rule.

    Args:
        drawn: ``bootstrap`` of the candidates' table.
        margin: of score.
    """
    n = len(drawn.estimate)
    if n == 1:
        return ["yes"]
    if not drawn.possible:
        return ["cannot say"] * n
    yes = behind_best_at_most(drawn) <= margin
    no = (_ahead(drawn.estimate) - half_widths(drawn)).max(axis=0) > margin
    said = zip(yes.tolist(), no.tolist(), strict=True)
    return ["yes" if near else "no" if far else "cannot say" for near, far in said]


def behind_best_at_most(drawn: Bootstrap, level: float = LEVEL) -> Floats:
    """Upper limits of each candidate's distance to the truly best one, (candidates,).

    0 for a candidate that is certainly the best; all together hold with probability ``level``.
    """
    error, ahead = _errors(drawn), _ahead(drawn.estimate)
    moved = drawn.draws - drawn.draws.mean(axis=0)
    reach = np.array([_reach_of(moved, error, place, level) for place in range(len(error))])
    most = ahead + reach[:, None] * error  # of how much row is ahead of column, at most
    others = ~np.eye(len(error), dtype=bool)
    may_be_best = np.where(others, most, np.inf).min(axis=1) >= 0
    rivals = may_be_best[:, None] & others
    return np.asarray(np.where(rivals, most, 0.0).max(axis=0).clip(0))


def _reach_of(moved: Floats, error: Floats, place: int, level: float) -> float:
    return float(np.quantile(_ratios(moved, error, place).max(axis=1), level))


def _ratios(moved: Floats, error: Floats, place: int) -> Floats:
    """By how many errors a candidate falls behind each other one in each draw, (draws, others)."""
    apart = error[place] > _NOTHING
    if not apart.any():
        return np.zeros((len(moved), 1))
    return np.asarray((moved[:, apart] - moved[:, [place]]) / error[place, apart])


def _errors(drawn: Bootstrap) -> Floats:
    """Standard errors of the differences of all pairs over the draws, (candidates, candidates)."""
    products: NDArray[np.float64] = np.cov(drawn.draws, rowvar=False)
    own = products.diagonal()
    return np.asarray(np.sqrt(np.maximum(own[:, None] + own - 2 * products, 0)))


def _ahead(scores: Floats) -> Floats:
    """How much the row's candidate is ahead of the column's."""
    return np.asarray(scores[:, None] - scores)


def checked_margin(margin: float) -> float:
    """The margin, if it is one.

    Raises:
        GitractError: not a number from 0 to under 1.
    """
    if not 0 <= margin < 1:
        raise GitractError("margin", "0 to under 1, of score", margin, "pass .005, for example")
    return float(margin)
