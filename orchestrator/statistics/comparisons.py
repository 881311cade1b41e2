"""Which candidates cannot be told from the first: the tie group.

The rule: a candidate leaves the tie group when two witnesses agree at 5 %.

1. *Pooled score, all trainings considered*: its difference to the first, over its standard error,
   is beyond what the largest such ratio among all pairs reaches by chance in the bootstrap. Pairs,
   because the first was chosen by its score, so that any two could have been compared (max-T with
   step-down: Westfall and Young 1993; Romano and Wolf, Econometrica 73, 2005): the candidates
   that leave are taken out and the rest is judged again until nobody leaves.
2. *Case by case*: Wilcoxon's signed-rank test of the per-case scores against the first, corrected
   by Holm (Scand. J. Statist. 6, 1979) over these comparisons. It cannot be swayed by a few cases.

The first witness alone holds the family-wise error, the chance that any of equally good candidates
is put out, at 5 % (``benchmarks/studies/leaderboard_statistics.py``). Wilcoxon with Holm alone
does not: it takes the luck of a training, which all cases of a fold share, for a difference, and
forgets that the first was chosen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from orchestrator.statistics.bootstrap import Bootstrap
from orchestrator.statistics.case_sums import CaseSums, Floats
from orchestrator.statistics.signed_rank import signed_rank_p

ALPHA = 0.05
_NOTHING = 1e-12  # a difference or an error that is rounding alone


@dataclass(frozen=True, eq=False)
class Comparisons:
    """Every candidate against the first; 1 for the first itself.

    Attributes:
        first: place of the candidate with the best mean score over folds.
        wilcoxon_p: two-sided, uncorrected, (candidates,).
        holm_p: the same with Holm's correction.
        simultaneous_p: of the pooled score, corrected for all pairs; NaN without a bootstrap.
        tied: whether it belongs to the tie group, bool (candidates,).
    """

    first: int
    wilcoxon_p: Floats
    holm_p: Floats
    simultaneous_p: Floats
    tied: NDArray[np.bool_]


def compare_with_first(sums: CaseSums, drawn: Bootstrap, alpha: float = ALPHA) -> Comparisons:
    """Test every candidate against the first and form the tie group by the module's rule.

    Args:
        sums: the table.
        drawn: ``bootstrap`` of it. Where that was not possible, everybody is in the tie group.
        alpha: family-wise error.
    """
    first = int(np.argmax(drawn.estimate))
    p = wilcoxon_against(sums.case_scores(), first)
    others = np.arange(len(p)) != first
    corrected = np.ones(len(p))
    corrected[others] = holm(p[others])
    simultaneous = simultaneous_p(drawn, first, alpha)
    told_apart = (simultaneous <= alpha) & (corrected <= alpha)
    return Comparisons(first, p, corrected, simultaneous, ~told_apart)


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


def simultaneous_p(drawn: Bootstrap, first: int, alpha: float = ALPHA) -> Floats:
    """P values of the differences to the first, corrected for all pairs, (candidates,).

    Step-down: those at or under ``alpha`` are taken out and the rest is judged among itself.
    """
    n = len(drawn.estimate)
    if not drawn.possible:
        return np.full(n, np.nan)
    rows = np.eye(n)[first] - np.eye(n)
    error, apart = drawn.standard_errors(rows), rows @ drawn.estimate
    certain = np.where(apart > _NOTHING, np.inf, 0.0)  # a difference without any spread
    ratio = np.divide(apart, error, out=certain, where=error > _NOTHING)
    p, floor, staying = np.ones(n), 0.0, np.arange(n)
    while len(staying) > 1:
        largest = np.sort(_largest_ratios(drawn, staying))
        beyond = 1 - np.searchsorted(largest, ratio[staying]) / len(largest)
        p[staying] = np.maximum(beyond, floor)  # never below one that left before
        floor = max(floor, *p[staying][p[staying] <= alpha], 0.0)
        p[first] = 1.0
        leaving = (p[staying] <= alpha) & (staying != first)
        if not leaving.any():
            break
        staying = staying[~leaving]
    return p


def _largest_ratios(drawn: Bootstrap, staying: NDArray[np.int64]) -> Floats:
    """In each draw, the largest difference of a pair over its standard error, (draws,)."""
    draws, cases = drawn.draws[:, staying], drawn.case_draws[:, staying]
    centered, cases = draws - draws.mean(axis=0), cases - cases.mean(axis=0)
    squares = cases.T @ cases / len(cases)  # covariances
    spread = squares.diagonal()[:, None] + squares.diagonal() - 2 * squares
    luck, training = drawn.training_variance[staying], drawn.training[staying]
    apart = training[:, None] != training  # the same networks share their luck
    error = np.sqrt(np.maximum(spread, 0) + (luck[:, None] + luck) * apart)
    largest = np.zeros(len(centered))
    for place in range(1, len(staying)):
        lead = np.abs(centered[:, place, None] - centered[:, :place])
        scale = np.where(error[place, :place] > _NOTHING, error[place, :place], np.inf)
        np.maximum(largest, (lead / scale).max(axis=1), out=largest)
    return largest
