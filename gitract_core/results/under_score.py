"""A trial's result as another score than the contest's sees it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gitract_core.errors import RunError
from gitract_core.metrics.score import COMPETITION, Mixture
from gitract_core.organs import Organs
from gitract_core.results.trial_result import TrialResult

CaseSums = Mapping[str, Mapping[str, Sequence[float]]]


def figures(total: np.ndarray, organs: Organs, score: Mixture) -> dict[str, Any]:
    """Each mean and the score of sums (organs, columns), and by organ under ``per_class``."""

    def of(sums: np.ndarray) -> dict[str, float | None]:
        means: Mapping[str, Any] = score.by_mean(sums)
        named = {**means, "score": score.mix(means)}
        return {name: float(v) if np.isfinite(v) else None for name, v in named.items()}

    per_class = {organ: of(one) for organ, one in zip(organs, total, strict=True)}
    return {**of(total.sum(axis=0)), "per_class": per_class}


def under_score(result: TrialResult, per_case: CaseSums, score: Mixture) -> TrialResult:
    """The result with the figures of a score in the place of the contest's.

    The contest's are left under ``scores["contest"]``.

    Args:
        result: as the trial left it.
        per_case: the sums of the score, as ``per_case_sums`` gives them.
        score: what they are of.

    Raises:
        RunError: sums of other cases, other columns or another number of organs.
    """
    if set(per_case) != set(result.per_case):
        where, expected = f"trial {result.spec.key}", f"sums of its cases by {score.text!r}"
        raise RunError(where, expected, "those of other cases", "remove the file")
    total = np.zeros((len(result.organs), len(score.columns)))
    for case, sums in per_case.items():
        try:
            table = np.array([sums[column] for column in score.columns], np.float64).T
            total += table.reshape(total.shape)
        except (KeyError, ValueError):
            where = f"trial {result.spec.key}, case {case}"
            expected = f"{len(result.organs)} sums in each of {', '.join(score.columns)}"
            raise RunError(where, expected, f"{sums!r:.80}", "remove the file") from None
    scores = {**figures(total, result.organs, score), "contest": result.scores}
    return dataclasses.replace(result, scores=scores, per_case=per_case)


def own_sums_of(result: TrialResult, score: Mixture) -> CaseSums | None:
    """The sums of a score that the trial left; None where it left none."""
    if score is COMPETITION:
        return result.per_case
    return result.own["per_case"] if result.own.get("score") == score.text else None
