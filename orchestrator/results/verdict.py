"""The statistics of a leaderboard's candidates, by label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from gitract_core.results.trial_result import TrialResult
from orchestrator.results.candidate_scores import CandidateScores
from orchestrator.results.costs import training_costs
from orchestrator.results.leaderboard import Leaderboard
from orchestrator.results.steadiness import Trainings
from orchestrator.statistics import (
    CandidateStatistics,
    CaseSums,
    Statistics,
    analyse,
    repeated,
)
from orchestrator.statistics.questions.margin import MARGIN
from search_spaces.loader import varying_knobs

MOST_COMPARED = 60
"""Candidates compared with one another, best first; the cost grows with the square."""


@dataclass(frozen=True)
class Verdict:
    """The statistics of a board's best candidates.

    Attributes:
        statistics: of the compared candidates.
        compared, ranked: how many candidates were compared, and how many are ranked.
        trainings: which candidates of the whole run segment nothing or are unsteady.
        registered: what was registered and what deviates from it, in words; empty for nothing.
    """

    statistics: Statistics
    compared: int
    ranked: int
    trainings: Trainings
    registered: str = ""

    @cached_property
    def _by_label(self) -> dict[str, CandidateStatistics]:
        return {one.name: one for one in self.statistics.candidates}

    def of(self, line: CandidateScores) -> CandidateStatistics | None:
        """One candidate's statistics, None if it was not compared."""
        return self._by_label.get(line.label)

    @property
    def in_words(self) -> str:
        """One paragraph of plain English."""
        return " ".join(filter(None, (self.trainings.nothing_in_words, self.after_nothing)))

    @property
    def after_nothing(self) -> str:
        """The paragraph but for its first sentence on candidates that segment nothing."""
        parts = [self.statistics.in_words]
        if self.compared < self.ranked:
            parts += [f"Only the best {self.compared} of {self.ranked} candidates were compared."]
        parts += [self.trainings.unsteady_in_words, self.registered]
        return " ".join(part for part in parts if part)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        trainings = {
            "segment_nothing": list(self.trainings.nothing),
            "unsteady": list(self.trainings.unsteady),
        }
        return {**self.statistics.to_json(), **trainings, "in_words": self.in_words}

    def row(self, line: CandidateScores) -> dict[str, Any]:
        """A candidate's figures for a table; of one that was not compared, how it trained alone."""
        trainings = {
            "segments_nothing": line.label in self.trainings.nothing,
            "unsteady": line.label in self.trainings.unsteady,
        }
        one = self.of(line)
        if one is None:
            return trainings
        return {
            "score_low": one.low,
            "score_high": one.high,
            "score_t_low": one.score_t.low,
            "score_t_high": one.score_t.high,
            "probability_first": one.probability_first,
            "behind_first": one.behind,
            "behind_first_low": one.behind_low,
            "behind_first_high": one.behind_high,
            "behind_first_t_low": 0.0 if one.rank == 1 else one.corrected_t.low,
            "behind_first_t_high": 0.0 if one.rank == 1 else one.corrected_t.high,
            "tied_with_first": one.tied,
            "cheapest_tied": one.name == self.statistics.cheapest,
            "no_worse": one.no_worse,
            **trainings,
        }


def judge(board: Leaderboard, margin: float = MARGIN, registered: str = "") -> Verdict | None:
    """The verdict on a board; None where nothing is ranked, or a single fold can be scored.

    Args:
        board: the ranking.
        margin: of score, for "no worse than the best by more than".
        registered: what was registered, in words.
    """
    lines = board.ranked[:MOST_COMPARED]
    if not lines or len(lines[0].counted()) < 2:
        return None
    sums = case_sums(lines, board.record.n_folds)
    settings = [line.candidate.knobs() for line in lines]
    varying = varying_knobs(tuple(line.candidate for line in lines if not line.added))
    statistics = analyse(
        sums,
        costs=training_costs(lines, board.lines),
        knobs={name: [setting.get(name) for setting in settings] for name in varying},
        margin=margin,
    )
    trainings = Trainings.of(board.lines)
    return Verdict(statistics, len(lines), len(board.ranked), trainings, registered)


def case_sums(
    lines: Sequence[CandidateScores], n_folds: int, networks: Sequence[object] = ()
) -> CaseSums:
    """The table of some complete candidates, of all fold plans.

    Args:
        lines: the candidates.
        n_folds: of one plan.
        networks: for each candidate what its networks are known by, where they are not those of one
            run; ``line.networks`` by default.

    Raises:
        RunError: a candidate lacks a case that another one has.
    """
    networks, plans = networks or [line.networks for line in lines], []
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
        plans.append(CaseSums.from_results(given, folds, networks, score=lines[0].score))
    return repeated(plans)


def _by_case(results: Sequence[TrialResult | None]) -> dict[str, Any]:
    return {str(case): sums for r in results if r for case, sums in r.per_case.items()}
