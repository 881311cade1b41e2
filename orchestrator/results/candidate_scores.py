"""The results of one candidate: its figures over folds, and whose patients chose its epochs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from gitract_core.metrics.score import COMPETITION, Mixture
from gitract_core.results.trial_result import TrialResult
from gitract_core.spec import Candidate
from orchestrator.results.epoch_choice import EpochChoice, cross_fit
from orchestrator.sweeps.added_candidate import EPOCH_RULES, is_added

NOT_COMPARABLE = (
    "the scored patients chose its epochs, and by how much that flatters is not known; others "
    "chose theirs without, so they are not ranked together"
)


@dataclass(frozen=True)
class CandidateScores:
    """One candidate's line.

    Attributes:
        candidate, label: the setting, and the knobs by which it differs from the others.
        results: one result a fold, None where there is none; the folds of all plans, where they
            are repeated.
        reasons: why folds are missing, one line each.
        counted_with: for each fold the one that its cases are counted with; empty where each
            stands for itself (``statistics.pooled_folds``).
        epoch_files: ``epochs.npz`` of each fold, which need not be there.
        n_folds: folds of a plan.
        choice: whose patients chose the epochs, where ``results`` are cross-fitted already.
        score: what the results' figures are of.
    """

    candidate: Candidate
    label: str
    results: tuple[TrialResult | None, ...]
    reasons: tuple[str, ...] = ()
    counted_with: tuple[int, ...] = ()
    epoch_files: tuple[Path, ...] = ()
    n_folds: int = 0
    choice: EpochChoice | None = None
    score: Mixture = COMPETITION

    @cached_property
    def epoch_choice(self) -> EpochChoice:
        """Whose patients chose the epochs, and by how much that flatters."""
        if self.choice is not None:
            return self.choice
        rule, announced = self.candidate.epoch_rule, self.mean()
        if rule != "held_out":
            known = self.complete and rule in EPOCH_RULES
            return EpochChoice(rule, announced, announced if known else None)
        fitted = self._cross_fitted
        mean = float(np.mean([_number(r.scores["score"]) for r in fitted or ()] or [np.nan]))
        return EpochChoice(rule, announced, mean if np.isfinite(mean) else None)

    @cached_property
    def _cross_fitted(self) -> tuple[TrialResult, ...] | None:
        """The results at the epochs that the other folds choose; None where not known."""
        if not self.complete or not self.epoch_files or self.n_folds < 2 or self.added:
            return None
        if self.score is not COMPETITION:  # epochs are scored by the contest's alone
            return None
        return cross_fit(self.finished, self.epoch_files, self.n_folds)

    def unflattered(self) -> CandidateScores:
        """The line with figures of epochs that were chosen without the scored patients.

        If they are not known, a line without figures and with the reason.
        """
        if self.candidate.epoch_rule != "held_out" or not self.complete:
            return self
        choice, fitted = self.epoch_choice, self._cross_fitted
        if fitted is not None and choice.cross_fitted is not None:
            return replace(self, results=fitted, choice=choice)
        return replace(self, reasons=(NOT_COMPARABLE,), choice=choice)

    @property
    def added(self) -> bool:
        """Whether it was trained elsewhere: nothing is known but its predictions."""
        return is_added(self.candidate)

    @property
    def finished(self) -> list[TrialResult]:
        """The results that are there."""
        return [r for r in self.results if r]

    @property
    def numbered(self) -> list[tuple[int, TrialResult]]:
        """The results that are there, each with the number of its fold."""
        return [(number, r) for number, r in enumerate(self.results) if r]

    @property
    def per_case(self) -> dict[str, dict[str, list[float]]]:
        """The sums of each case, over all fold plans."""
        found: dict[str, dict[str, list[float]]] = {}
        for result in self.finished:
            for case, sums in result.per_case.items():
                before = found.get(case)
                found[case] = sums if before is None else _added(before, sums)
        return found

    @property
    def complete(self) -> bool:
        """Whether every fold has a result."""
        return all(self.results)

    @property
    def networks(self) -> tuple[Candidate, tuple[int, ...]]:
        """What the trained networks are known by; equal ones are the same networks.

        Candidates that differ in post-processing, epochs or patience alone share them, fold by
        fold, as far as they keep the weights of the same epoch.
        """
        epochs = tuple(int(r.history.get("best_epoch", 0)) for r in self.finished)
        return self.candidate.trajectory, epochs

    def folds(self, metric: str = "score") -> list[float]:
        """``score``, or one of its means by key, of each fold; NaN where there is none."""
        return [_number(r.scores[metric]) if r else float("nan") for r in self.results]

    def counted(self, metric: str = "score") -> list[float]:
        """The figures that ``mean`` is of: those of ``folds``, or of folds counted together."""
        if not self.counted_with or not self.complete:
            return self.folds(metric)
        groups: dict[int, list[TrialResult]] = {}
        for fold, result in zip(self.counted_with, self.finished, strict=True):
            groups.setdefault(fold, []).append(result)
        return [_together(results, metric, self.score) for results in groups.values()]

    def mean(self, metric: str = "score") -> float:
        """Mean over folds; NaN unless every fold has a result."""
        return float(np.mean(self.counted(metric)))

    def sd(self, metric: str = "score") -> float:
        """Standard deviation over folds (n - 1)."""
        values = self.counted(metric)
        return float(np.std(values, ddof=1)) if len(values) > 1 else float("nan")

    def organ_mean(self, organ: str, metric: str) -> float:
        """Mean over folds of one of the score's means, of one organ."""
        per_class = (r.scores.get("per_class", {}) for r in self.finished)
        return mean_of(organs[organ][metric] if organ in organs else None for organs in per_class)

    def at_best(self, metric: str) -> float:
        """Mean over folds of an epoch metric at the best epoch."""
        return mean_of(r.history.get("at_best", {}).get(metric) for r in self.finished)

    @property
    def best_epoch(self) -> float:
        """Mean over folds."""
        return mean_of(r.history.get("best_epoch") for r in self.finished)

    @property
    def seconds(self) -> float:
        """Training and validation time of all folds together; NaN where it is not known."""
        return float(sum(r.cost.get("seconds", float("nan")) for r in self.finished))

    @property
    def parameters(self) -> int:
        """Trainable parameters of the network; 0 where they are not known."""
        return max((int(r.environment.get("parameters", 0)) for r in self.finished), default=0)

    @property
    def peak_memory_bytes(self) -> int:
        """The largest of its folds; 0 where it is not known."""
        return max((int(r.cost.get("peak_memory_bytes", 0)) for r in self.finished), default=0)


def _together(results: Sequence[TrialResult], metric: str, score: Mixture) -> float:
    """A figure of several folds, as if their cases were one fold's."""
    if len(results) == 1:
        return _number(results[0].scores[metric])
    columns = score.columns
    cases = [sums for result in results for sums in result.per_case.values()]
    totals = np.array([sum(sum(sums[column]) for sums in cases) for column in columns])
    figures = {**score.by_mean(totals), "score": score.of(totals)}
    return float(figures[metric])


def _added(
    first: Mapping[str, Sequence[float]], second: Mapping[str, Sequence[float]]
) -> dict[str, list[float]]:
    return {n: [a + b for a, b in zip(first[n], second[n], strict=True)] for n in first}


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)


def mean_of(values: Any) -> float:
    """Mean of figures of which some may be None, which make it NaN; NaN of none."""
    numbers: Sequence[float] = [_number(v) for v in values]
    return float(np.mean(numbers)) if numbers else float("nan")
