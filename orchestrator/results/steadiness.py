"""Trainings that failed, told apart from candidates that are worse. Loads neither torch nor Ray.

A training can end at a fraction of what the same setting reaches otherwise: all logits below the
threshold, a saddle that four epochs did not leave. That is luck of the seed, and it comes in two
kinds, not as a bell curve: the folds .14, .60, .22, .57, .59 are two failures and three successes.
A candidate that is worse is low on every fold.

The rule. A training *looks failed* if its score is under half of what could be expected of it, and
at least .1 below. Expected is

- the best of the candidate's other folds, where there are any; both as they are and as shares of
  each fold's level, so that neither a hard fold nor a fold on which others failed counts as a
  failure of this candidate;
- the fold's level, for a candidate with this one training.

A fold's *level* is the median over the candidates that segment anything there; of fewer than four
candidates there is none, and shares are not looked at. The half is wide on purpose: at a score of
.6, a luck of sd .06 makes five folds look so in under 1 of 1,000 candidates, one of sd .1 in 1 of
25. The .1 keeps candidates that are low throughout, .02 and .06, from counting as failures.

A candidate is *unsteady* if some of its trainings look failed and others do not. One that never
segments anything is not unsteady: it *segments nothing*.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from gitract_core.errors import counted

if TYPE_CHECKING:
    from gitract_core.results.trial_result import TrialResult
    from orchestrator.results.candidate_scores import CandidateScores

Floats = NDArray[np.float64]

NO_DICE = 0.005
"""A mean Dice below it is none: what a few pixels hit by chance, where nothing was learned."""
_SHARE = 0.5  # of what could be expected
_LEAST_GAP = 0.1  # of score, below what could be expected
_LEAST_FIELD = 4  # candidates on a fold, for its level
_MOST_NAMES = 5  # in a sentence


def segments_nothing(result: TrialResult) -> bool:
    """Whether a trial's masks hit no organ of its held-out fold.

    Masks may be empty or lie beside every organ; either way the mean Dice is below ``NO_DICE``.
    False where the fold has nothing to count: there nothing is the right answer.
    """
    of_contest = result.scores.get("contest", result.scores)
    return found_nothing(of_contest["dice"])


def found_nothing(dice: float | None) -> bool:
    """As ``segments_nothing``, of a fold's Dice; None or NaN where there was nothing to count.

    >>> found_nothing(0.0004), found_nothing(0.02), found_nothing(None)
    (True, False, False)
    """
    return dice is not None and dice < NO_DICE


def never_segments(results: Sequence[TrialResult]) -> bool:
    """Whether a candidate segments nothing on any fold that has a result; False without one."""
    return bool(results) and all(map(segments_nothing, results))


def failed_trainings(scores: Floats, nothing: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which trainings look failed, by the rule of this module.

    Args:
        scores: (candidates, folds); NaN where there is no result.
        nothing: whether the trial segments nothing, bool (candidates, folds).

    Returns:
        bool (candidates, folds).
    """
    level = _levels(np.where(nothing, np.nan, scores))
    share = scores / level
    own, own_share = _best_of_the_others(scores), _best_of_the_others(share)
    alone = np.isnan(own)
    expected = np.where(alone, level, own)
    low = (scores < _SHARE * expected) & (expected - scores >= _LEAST_GAP)
    by_share = np.isnan(own_share) | np.isnan(share) | (share < _SHARE * own_share)
    return np.asarray(low & (alone | by_share))


def failed_folds(lines: Sequence[CandidateScores]) -> NDArray[np.bool_]:
    """Which trainings of a run look failed, bool (candidates, folds of all plans)."""
    scores = np.array([line.folds() for line in lines], np.float64)
    results = [line.results for line in lines]
    nothing = [[r is not None and segments_nothing(r) for r in row] for row in results]
    return failed_trainings(scores, np.array(nothing, bool))


def unsteady(lines: Sequence[CandidateScores]) -> tuple[CandidateScores, ...]:
    """The candidates of a run that look like a mixture of success and failure.

    Args:
        lines: all candidates of the run, ranked or not, since folds are judged by all of them.
    """
    if not lines:
        return ()
    failed = failed_folds(lines)
    mixed = [0 < row.sum() < len(line.finished) for line, row in zip(lines, failed, strict=True)]
    return tuple(line for line, is_mixed in zip(lines, mixed, strict=True) if is_mixed)


@dataclass(frozen=True)
class Trainings:
    """How the trainings of a run went, candidate by candidate.

    Attributes:
        candidates: number with a result.
        nothing: labels of those that segment nothing on any fold.
        unsteady: labels of those that look like a mixture of success and failure.
    """

    candidates: int
    nothing: tuple[str, ...]
    unsteady: tuple[str, ...]

    @classmethod
    def of(cls, lines: Sequence[CandidateScores]) -> Trainings:
        """Of all candidates of a run, ranked or not."""
        begun = [line for line in lines if line.finished]
        nothing = tuple(line.label for line in begun if never_segments(line.finished))
        return cls(len(begun), nothing, tuple(line.label for line in unsteady(begun)))

    @property
    def nothing_in_words(self) -> str:
        """One sentence; empty if every candidate segments something."""
        return nothing_in_words(self.nothing, self.candidates)

    @property
    def unsteady_in_words(self) -> str:
        """One sentence; empty if no candidate is unsteady."""
        if not self.unsteady:
            return ""
        one = len(self.unsteady) == 1
        text = f"{counted(len(self.unsteady), 'candidate')} {'is' if one else 'are'} unsteady, "
        text += f"some of {'its' if one else 'their'} trainings failed and others did not, so that "
        text += f"{'its score says' if one else 'their scores say'} little"
        return f"{text}: {_names(self.unsteady)}."


def nothing_in_words(labels: Sequence[str], candidates: int) -> str:
    """One sentence on the candidates that segment nothing; empty if there are none.

    >>> nothing_in_words(["bce, depth 4"], 10)
    '1 of 10 candidates segments nothing: bce, depth 4.'
    """
    if not labels:
        return ""
    verb = "segments" if len(labels) == 1 else "segment"
    return f"{len(labels)} of {counted(candidates, 'candidate')} {verb} nothing: {_names(labels)}."


def _names(labels: Sequence[str]) -> str:
    """Labels hold commas."""
    more = len(labels) - _MOST_NAMES
    return "; ".join(labels[:_MOST_NAMES]) + (f"; and {more} more" if more > 0 else "")


def _levels(scores: Floats) -> Floats:
    """Median of each fold over candidates, (folds,); NaN where they are few."""
    levels = np.full(scores.shape[1], np.nan)
    for fold, column in enumerate(scores.T):
        there = column[np.isfinite(column)]
        if len(there) >= _LEAST_FIELD:
            levels[fold] = np.median(there)
    return np.where(levels > 0, levels, np.nan)


def _best_of_the_others(values: Floats) -> Floats:
    """For each entry the largest of the others in its row; NaN without others."""
    known = np.where(np.isfinite(values), values, -math.inf)
    if known.shape[1] < 2:
        return np.full(values.shape, np.nan)
    order = np.sort(known, axis=1)
    largest, second = order[:, -1:], order[:, -2:-1]
    first_place = np.argmax(known, axis=1)[:, None] == np.arange(known.shape[1])
    best = np.where(first_place, second, largest)
    return np.where(np.isfinite(best), best, np.nan)
