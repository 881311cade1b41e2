"""Who is dropped after a fold, and for what reason: worse, failed trainings, or nothing segmented.

The rule's probability (``race_rule.decide``) knows scores alone. A training that failed by the luck
of its seed looks to it like a candidate that is much worse. So before somebody is dropped, his
trainings are looked at (``results.steadiness``):

- A candidate that segments nothing on any of two or more folds is dropped for that reason, as far
  as at least as many candidates stay as shall be found.
- A candidate with a single training that looks failed, or that segments nothing, is judged by its
  other folds, on which all candidates are compared again. After one fold there are none, so that it
  goes on.
- A candidate with two or more such trainings is judged by all folds, and the reason counts them.

Then the best of a level that would disappear is kept, where levels are to be kept.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from gitract_core.metrics.score import COMPETITION, Score
from gitract_core.results.trial_result import TrialResult
from gitract_core.spec import Candidate
from orchestrator.results.steadiness import failed_trainings, segments_nothing
from orchestrator.statistics import pooled_folds
from orchestrator.steering.race_rule import RacingRule, decide, table
from search_spaces.loader import varying_knobs

Results = Mapping[Candidate, Sequence[TrialResult]]
_NOTHING = "segments nothing"
_ENOUGH_FOLDS = 2  # without anything segmented, to be dropped for it


@dataclass(frozen=True, slots=True)
class Judgement:
    """What is decided on one candidate.

    Attributes:
        probability: of being among the best, NaN where it cannot be said.
        dropped: whether its next folds are left out.
        reason: in words.
    """

    probability: float
    dropped: bool
    reason: str


def judge(
    results: Results, rule: RacingRule, n_folds: int, *, score: Score = COMPETITION
) -> dict[Candidate, Judgement]:
    """Judge candidates that have finished the same folds; see the module.

    Args:
        results: of each candidate, a trial a fold.
        rule: of the race.
        n_folds: of the plan.
        score: what the results' figures are of.
    """
    words = f"probability of being among the best {rule.keep}"
    chance = chances(results, rule, n_folds, score=score)
    trainings = _Trainings.of(results)
    found: dict[Candidate, Judgement] = {}
    without: dict[int, np.ndarray] = {}  # chances on the other folds
    for place, candidate in enumerate(results):
        failed = np.flatnonzero(trainings.failed[place])
        judgement = Judgement(float(chance[place]), bool(chance[place] < rule.threshold), words)
        if trainings.segments_nothing[place]:
            judgement = Judgement(float("nan"), True, _NOTHING)
        elif judgement.dropped and len(failed) > 1:
            reason = f"{len(failed)} of {trainings.n_folds} trainings failed; {words}"
            judgement = replace(judgement, reason=reason)
        elif judgement.dropped and len(failed) == 1:
            fold = int(failed[0])
            if fold not in without:
                left = _without_fold(results, fold)
                without[fold] = chances(left, rule, n_folds, score=score)
            judgement = _without_failure(float(without[fold][place]), rule, words)
        found[candidate] = judgement
    return _enough(found, dict(zip(results, chance.tolist(), strict=True)), rule, words)


def _enough(
    found: Mapping[Candidate, Judgement],
    chance: Mapping[Candidate, float],
    rule: RacingRule,
    words: str,
) -> dict[Candidate, Judgement]:
    """Keep as many as shall be found: of those that segment nothing the ones with most chance."""
    missing = rule.keep - sum(not judgement.dropped for judgement in found.values())
    nothing = [c for c, judgement in found.items() if judgement.reason == _NOTHING]
    nothing.sort(key=lambda c: chance[c] if chance[c] == chance[c] else 1.0, reverse=True)
    spared = {c: Judgement(chance[c], False, words) for c in nothing[: max(missing, 0)]}
    return {**found, **spared}


def keep_levels(
    judged: Mapping[Candidate, Judgement], racing: Collection[Candidate], rule: RacingRule
) -> dict[Candidate, Judgement]:
    """Of each level that would disappear from the race, keep the candidate with the best chance.

    Args:
        judged: some candidates.
        racing: these and all others that are still in the race.
        rule: names the knobs.
    """
    found = dict(judged)
    varying = varying_knobs(tuple(racing)) if rule.levels else ()
    for knob in (name for name in varying if name in rule.levels or "all" in rule.levels):
        level = {candidate: candidate.knobs()[knob] for candidate in racing}
        stays = {level[c] for c in racing if c not in found or not found[c].dropped}
        for value in dict.fromkeys(level.values()):
            if value in stays:
                continue
            best = max((c for c in found if level[c] == value), key=lambda c: _rank(found[c]))
            reason = f"kept as the best with {knob} = {value}; {found[best].reason}"
            found[best] = replace(found[best], dropped=False, reason=reason)
    return found


def chances(
    results: Results, rule: RacingRule, n_folds: int, *, score: Score = COMPETITION
) -> np.ndarray:
    """As ``race_rule.decide``; NaN where no fold gives every candidate a score."""
    scored = [[r.scores["score"] is not None for r in folds] for folds in results.values()]
    if not next(iter(scored)) or pooled_folds(scored) is None:
        return np.full(len(results), np.nan)
    return decide(table(results, score=score), rule, n_folds)


@dataclass(frozen=True, eq=False)
class _Trainings:
    """How trainings went.

    Attributes:
        failed: whether each looks failed or segments nothing, (candidates, folds).
        segments_nothing: whether a candidate is to be dropped for that, (candidates,).
    """

    failed: NDArray[np.bool_]
    segments_nothing: NDArray[np.bool_]

    @property
    def n_folds(self) -> int:
        return int(self.failed.shape[1])

    @classmethod
    def of(cls, results: Results) -> _Trainings:
        rows = list(results.values())
        given = [[r.scores["score"] for r in row] for row in rows]
        scores = np.array([[np.nan if v is None else v for v in row] for row in given], np.float64)
        nothing = np.array([[segments_nothing(r) for r in row] for row in rows], np.bool_)
        empty = (nothing | np.isnan(scores)).all(axis=1) & (nothing.sum(axis=1) >= _ENOUGH_FOLDS)
        return cls(failed_trainings(scores, nothing) | nothing, empty)


def _without_fold(results: Results, fold: int) -> Results:
    return {c: [r for n, r in enumerate(rows) if n != fold] for c, rows in results.items()}


def _without_failure(chance: float, rule: RacingRule, words: str) -> Judgement:
    dropped = bool(chance < rule.threshold)
    if np.isnan(chance):
        return Judgement(chance, dropped, "a single training, which looks failed")
    return Judgement(chance, dropped, f"a training that looks failed set aside, {words}")


def _rank(judgement: Judgement) -> float:
    """The better chance first; who segments nothing last."""
    return -1.0 if np.isnan(judgement.probability) else judgement.probability
