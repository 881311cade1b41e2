"""The table that every statistic starts from: sums and counts by candidate and case.

A score (``gitract_core.metrics.score``) is made of ratios of sums, so the score of any set of
cases, and of any bootstrap draw of cases, follows from this table without opening a mask again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gitract_core.errors import RunError
from gitract_core.metrics.score import COMPETITION, Score
from orchestrator.statistics.pooled_folds import folds_to_score

Floats = NDArray[np.float64]
_REMEDY = "remove the trial's directory and run the sweep again"


@dataclass(frozen=True, eq=False)
class CaseSums:
    """Out-of-fold sums of every candidate on every case.

    Attributes:
        names: label of each candidate, all different.
        cases: id of each case, all different.
        folds: the fold in which each case was held out, int (cases,).
        values: float64 (candidates, cases, organs, columns), the last axis in the order of the
            score's columns: sums and counts by turns.
        training: for each candidate the place of the first one that has the same trained networks
            (candidates that differ in post-processing alone), int (candidates,); every candidate
            its own by default.
        score: what the sums are of.

    Raises:
        RunError: shapes that do not match, a name twice, a count below zero, a sum outside 0 to
            its count, a fold in which a candidate has nothing to count.
    """

    names: tuple[str, ...]
    cases: tuple[str, ...]
    folds: NDArray[np.int64]
    values: Floats
    training: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    score: Score = field(default=COMPETITION, kw_only=True)

    def __post_init__(self) -> None:
        object.__setattr__(self, "folds", np.array(self.folds, np.int64))
        object.__setattr__(self, "values", np.array(self.values, np.float64))
        own = np.arange(len(self.names)) if len(self.training) == 0 else self.training
        object.__setattr__(self, "training", np.array(own, np.int64))
        self._check_shapes()
        self._check_numbers()
        for array in (self.folds, self.values, self.training):
            array.setflags(write=False)

    def _check_shapes(self) -> None:
        for what, words in (("candidate", self.names), ("case", self.cases)):
            if len(set(words)) != len(words) or not words:
                twice = sorted({w for w in words if words.count(w) > 1})
                raise RunError("CaseSums", f"each {what} once", twice or "none", "name them apart")
        columns = len(self.score.columns)
        expected = (len(self.names), len(self.cases), columns)
        got = (*self.values.shape[:2], *self.values.shape[3:])
        if self.values.ndim != 4 or got != expected or self.folds.shape != (len(self.cases),):
            shapes = f"values {self.values.shape}, folds {self.folds.shape}"
            wanted = f"values ({expected[0]}, {expected[1]}, organs, {columns}), "
            wanted += f"folds ({expected[1]},)"
            raise RunError("CaseSums", wanted, shapes, "give one row a candidate and case")
        if self.training.shape != (len(self.names),):
            expected_length, got_length = f"{len(self.names)} places", len(self.training)
            remedy = "give one place a candidate"
            raise RunError("CaseSums.training", expected_length, got_length, remedy)

    def _check_numbers(self) -> None:
        sums, counts = self.values[..., ::2], self.values[..., 1::2]
        good = (sums >= -1e-9) & (sums <= counts + 1e-9 * (1 + counts)) & np.isfinite(counts)
        if not good.all():
            c, i, *place = np.argwhere(~good)[0]
            where = f"{self.names[c]}, case {self.cases[i]}"
            got = f"sum {sums[c, i, *place]:g} of {counts[c, i, *place]:g}"
            raise RunError(where, "a sum from 0 to its count", got, _REMEDY)
        empty = np.argwhere(~np.isfinite(self.fold_scores()))
        if len(empty):
            where = f"{self.names[empty[0, 0]]}, fold {self.fold_labels[empty[0, 1]]}"
            remedy = "leave this candidate out, or use fewer folds"
            raise RunError(where, "a slice and a scan to count", "none", remedy)

    @classmethod
    def from_results(
        cls,
        results: Mapping[str, Mapping[Any, Mapping[str, Sequence[float]]]],
        fold_of_case: Mapping[Any, int],
        trained: Sequence[object] = (),
        *,
        score: Score = COMPETITION,
    ) -> CaseSums:
        """The table of a run.

        A fold in which a candidate has nothing to score is counted with another (``pooled_folds``).

        Args:
            results: candidate -> case -> the sums by organ, as ``per_case`` of every fold's
                ``result.json`` says it, all folds of a candidate in one mapping.
            fold_of_case: the plan; its cases are the columns, in its order.
            trained: for each candidate what its networks are known by; equal ones are the same
                networks. All differ by default.
            score: what the sums are of.

        Raises:
            RunError: a candidate lacks a case of the plan, or has one that is not in it.
        """
        cases = tuple(str(case) for case in fold_of_case)
        rows = []
        for name, given in results.items():
            found = {str(case): sums for case, sums in given.items()}
            for case in sorted(set(found) ^ set(cases)):
                expected, got = ("none", "one") if case in found else ("its sums", "none")
                raise RunError(f"{name}, case {case}", expected, got, _REMEDY)
            rows.append(
                [organ_rows(f"{name}, case {case}", found[case], score.columns) for case in cases]
            )
        values = np.array(rows, np.float64)
        folds = folds_to_score(values, np.array(list(fold_of_case.values()), np.int64), score)
        training = np.array([trained.index(one) for one in trained], np.int64)
        return cls(tuple(results), cases, folds, values, training, score=score)

    @property
    def n_cases(self) -> int:
        """Number of cases."""
        return len(self.cases)

    @cached_property
    def fold_labels(self) -> tuple[int, ...]:
        """The folds that there are, in order."""
        return tuple(int(fold) for fold in np.unique(self.folds))

    @cached_property
    def fold_sizes(self) -> NDArray[np.int64]:
        """Cases of each fold, int (folds,)."""
        return np.unique(self.folds, return_counts=True)[1]

    @property
    def tables(self) -> tuple[CaseSums, ...]:
        """One for each fold plan: this one."""
        return (self,)

    @cached_property
    def pooled(self) -> Floats:
        """``values`` with the organs summed, (candidates, cases, columns)."""
        return np.asarray(self.values.sum(axis=2))

    def take(self, candidates: Sequence[int]) -> CaseSums:
        """The same table with these candidates alone, by their place, in this order."""
        places = list(candidates)
        names = tuple(self.names[place] for place in places)
        kept = self.training[places].tolist()
        training = np.array([kept.index(one) for one in kept])
        values = self.values[places]
        return CaseSums(names, self.cases, self.folds, values, training, score=self.score)

    def scores(self, weights: ArrayLike | None = None) -> Floats:
        """The score pooled over all cases, as ``gitract_core`` pools.

        Args:
            weights: how often each case counts, (cases,) or (draws, cases): whole numbers for a
                bootstrap draw, true and false for a subset; every case once by default.

        Returns:
            (candidates,), or (draws, candidates); NaN where nothing is left to count.
        """
        weight = np.ones(self.n_cases) if weights is None else np.asarray(weights, np.float64)
        return self.score.of(_weighted(weight, self.pooled))

    def fold_scores(self, weights: ArrayLike | None = None) -> Floats:
        """Each fold's pooled score; their mean is what the leaderboard ranks by.

        Args:
            weights: as in ``scores``.

        Returns:
            (candidates, folds), or (draws, candidates, folds).
        """
        weight = np.ones(self.n_cases) if weights is None else np.asarray(weights, np.float64)
        members = [np.flatnonzero(self.folds == fold) for fold in self.fold_labels]
        sums = [_weighted(weight[..., m], self.pooled[:, m]) for m in members]
        return np.stack([self.score.of(s) for s in sums], axis=-1)

    def case_scores(self) -> Floats:
        """The score of each case by itself, (candidates, cases).

        NaN where a case has nothing to count: no organ in truth or prediction.
        """
        return self.score.of(self.pooled)


def _weighted(weights: Floats, pooled: Floats) -> Floats:
    """Weighted sums over cases, (..., candidates, columns), of (candidates, cases, columns)."""
    candidates, cases, columns = pooled.shape
    flat = pooled.transpose(1, 0, 2).reshape(cases, -1)  # (cases, candidates * columns)
    return np.asarray((weights @ flat).reshape(*weights.shape[:-1], candidates, columns))


def organ_rows(
    where: str, sums: Mapping[str, Sequence[float]], columns: Sequence[str]
) -> list[list[float]]:
    """One case's sums, (organs, columns).

    Raises:
        RunError: a column is missing, or columns of different length; names ``where``.
    """
    try:
        return [list(row) for row in zip(*(sums[column] for column in columns), strict=True)]
    except (KeyError, TypeError, ValueError):
        expected = "one number an organ in each of " + ", ".join(columns)
        raise RunError(where, expected, f"{sums!r:.80}", _REMEDY) from None
