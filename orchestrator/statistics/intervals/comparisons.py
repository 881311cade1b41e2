"""Which candidates cannot be told from the first: the tie group.

The rule: a candidate is tied with the first unless its simultaneous interval of being behind the
first (``simultaneous``) lies above 0. Intervals and tie group agree by construction, and the chance
that any of equally good candidates is put out is 5 % at most
(``benchmarks/studies/leaderboard_statistics.py``).

Beside it stands Wilcoxon's signed-rank test of the per-case scores against the first, corrected by
Holm (Scand. J. Statist. 6, 1979) over these comparisons. It takes no part in the rule: it takes the
luck of a training, which all cases of a fold share, for a difference, and forgets that the first
was chosen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from orchestrator.statistics.case_sums import CaseSums, Floats
from orchestrator.statistics.intervals.bootstrap import Bootstrap
from orchestrator.statistics.intervals.signed_rank import signed_rank_p
from orchestrator.statistics.intervals.simultaneous import Behind, behind_first

ALPHA = 0.05
_NOTHING = 1e-12  # a difference that is rounding alone


@dataclass(frozen=True, eq=False)
class Comparisons:
    """Every candidate against the first; 1 for the first itself.

    Attributes:
        first: place of the candidate with the best mean score over folds.
        wilcoxon_p: two-sided, uncorrected, (candidates,).
        holm_p: the same with Holm's correction.
        behind: intervals of how far each is behind the first, with their p values.
        tied: whether it belongs to the tie group, bool (candidates,).
    """

    first: int
    wilcoxon_p: Floats
    holm_p: Floats
    behind: Behind
    tied: NDArray[np.bool_]

    @property
    def simultaneous_p(self) -> Floats:
        """P values of being behind the first, corrected for all pairs, (candidates,)."""
        return self.behind.p


def compare_with_first(sums: CaseSums, drawn: Bootstrap, alpha: float = ALPHA) -> Comparisons:
    """Test every candidate against the first and form the tie group by the module's rule.

    Args:
        sums: the table.
        drawn: ``bootstrap`` of it. Where there are no intervals, everybody is in the tie group.
        alpha: family-wise error.
    """
    first = int(np.argmax(drawn.estimate))
    p = wilcoxon_against(sums.case_scores(), first)
    others = np.arange(len(p)) != first
    corrected = np.ones(len(p))
    corrected[others] = holm(p[others])
    behind = behind_first(drawn, first, 1 - alpha)
    return Comparisons(first, p, corrected, behind, ~(behind.low > 0))


def wilcoxon_against(scores: Floats, first: int) -> Floats:
    """P values of the signed-rank test of each candidate's cases against the first's.

    Args:
        scores: (candidates, cases); a case with NaN in either is left out of the pair.
        first: place of the candidate to compare with.

    Returns:
        (candidates,), two-sided; 1 where no case differs.
    """
    return np.array([_signed_rank_p(scores[first] - row) for row in scores])


def _signed_rank_p(differences: Floats) -> float:
    known = differences[np.isfinite(differences)]
    moved = known[np.abs(known) > _NOTHING]  # ties are left out, as usual
    return signed_rank_p(moved)


def holm(p_values: Sequence[float] | Floats) -> Floats:
    """Holm's step-down correction of p values, (n,), in the order given.

    >>> holm([0.01, 0.04, 0.03]).round(4).tolist()
    [0.03, 0.06, 0.06]
    """
    p = np.asarray(p_values, np.float64)
    order = np.argsort(p, kind="stable")
    factors = len(p) - np.arange(len(p))
    corrected = np.empty(len(p))
    corrected[order] = np.minimum(np.maximum.accumulate(p[order] * factors), 1)
    return corrected
