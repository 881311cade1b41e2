"""The statistics of a leaderboard's candidates, by label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from gitract_core.results.trial_result import TrialResult
from orchestrator.results.leaderboard import CandidateScores, Leaderboard
from orchestrator.statistics import (
    CandidateStatistics,
    CaseSums,
    Statistics,
    analyse,
    repeated,
)
from search_spaces.loader import varying_knobs

MOST_COMPARED = 60
"""Candidates compared with one another, best first; the cost grows with the square."""


@dataclass(frozen=True)
class Verdict:
    """The statistics of a board's best candidates.

    Attributes:
        statistics: of the compared candidates.
        compared, ranked: how many candidates were compared, and how many are ranked.
    """

    statistics: Statistics
    compared: int
    ranked: int

    @cached_property
    def _by_label(self) -> dict[str, CandidateStatistics]:
        return {one.name: one for one in self.statistics.candidates}

    def of(self, line: CandidateScores) -> CandidateStatistics | None:
        """One candidate's statistics, None if it was not compared."""
        return self._by_label.get(line.label)

    @property
    def in_words(self) -> str:
        """One paragraph of plain English."""
        text = self.statistics.in_words
        if self.compared < self.ranked:
            text += f" Only the best {self.compared} of {self.ranked} candidates were compared."
        return text

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {**self.statistics.to_json(), "in_words": self.in_words}

    def row(self, line: CandidateScores) -> dict[str, Any]:
        """A candidate's figures for a table; empty if it was not compared."""
        one = self.of(line)
        if one is None:
            return {}
        return {
            "score_low": one.low,
            "score_high": one.high,
            "score_t_low": one.corrected_t.low,
            "score_t_high": one.corrected_t.high,
            "probability_first": one.probability_first,
            "behind_first": one.behind,
            "behind_first_low": one.behind_low,
            "behind_first_high": one.behind_high,
            "tied_with_first": one.tied,
            "cheapest_tied": one.name == self.statistics.cheapest,
        }


def judge(board: Leaderboard) -> Verdict | None:
    """The verdict on a board; None where nothing is ranked, or a single fold can be scored."""
    lines = board.ranked[:MOST_COMPARED]
    if not lines or len(lines[0].counted()) < 2:
        return None
    sums = case_sums(lines, board.record.n_folds)
    varying = varying_knobs(tuple(line.candidate for line in lines))
    settings = [line.candidate.knobs() for line in lines]
    statistics = analyse(
        sums,
        costs=[line.seconds for line in lines],
        knobs={name: [setting[name] for setting in settings] for name in varying},
    )
    return Verdict(statistics, len(lines), len(board.ranked))


def case_sums(lines: Sequence[CandidateScores], n_folds: int) -> CaseSums:
    """The table of some complete candidates, of all fold plans.

    Raises:
        RunError: a candidate lacks a case that another one has.
    """
    networks, plans = [line.networks for line in lines], []
    cases = list(lines[0].per_case)  # in one order in all plans
    for start in range(0, len(lines[0].results), n_folds):
        of_plan = {line.label: line.results[start : start + n_folds] for line in lines}
        first = of_plan[lines[0].label]
        counted_with = lines[0].counted_with or tuple(range(len(lines[0].results)))
        numbers = [fold - start for fold in counted_with[start : start + n_folds]]
        of_case = {
            case: fold for fold, r in zip(numbers, first, strict=True) if r for case in r.per_case
        }
        folds = {case: of_case[case] for case in cases if case in of_case}
        given = {name: _by_case(results) for name, results in of_plan.items()}
        plans.append(CaseSums.from_results(given, folds, networks))
    return repeated(plans)


def _by_case(results: Sequence[TrialResult | None]) -> dict[str, Any]:
    return {str(case): sums for r in results if r for case, sums in r.per_case.items()}
