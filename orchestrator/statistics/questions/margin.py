"""Which candidates are no worse than the best by more than a margin: a claim, unlike a tie.

"Cannot be told from the first" is the absence of a claim: few cases leave everybody tied.
Non-inferiority is one (Wellek, Testing Statistical Hypotheses of Equivalence and Noninferiority,
2010): the whole interval of the distance to the best lies below the margin. The intervals are those
of the report (``behind_low`` to ``behind_high``), so that table and claim agree.
"""

from __future__ import annotations

from typing import Literal

from gitract_core.errors import GitractError

MARGIN = 0.005
"""Of score: what a person gives up for a cheaper network without regret."""

NoWorse = Literal["yes", "no", "cannot say"]


def no_worse(low: float, high: float, margin: float) -> NoWorse:
    """Whether a candidate is no worse than the best by more than a margin.

    Args:
        low: lower end of the interval of its distance to the best; NaN where there is none.
        high: the upper end.
        margin: of score.

    >>> no_worse(-0.01, 0.004, 0.005), no_worse(0.006, 0.02, 0.005), no_worse(-0.01, 0.02, 0.005)
    ('yes', 'no', 'cannot say')
    """
    if high <= margin:
        return "yes"
    return "no" if low > margin else "cannot say"


def checked_margin(margin: float) -> float:
    """The margin, if it is one.

    Raises:
        GitractError: not a number from 0 to under 1.
    """
    if not 0 <= margin < 1:
        raise GitractError("margin", "0 to under 1, of score", margin, "pass .005, for example")
    return float(margin)
