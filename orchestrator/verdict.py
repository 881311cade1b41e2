"""What a ranking is worth: the statistics of a leaderboard's candidates, found again by label."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from orchestrator.leaderboard import CandidateScores, Leaderboard
from orchestrator.statistics import CandidateStatistics, CaseSums, Statistics, analyse
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
    """The verdict on a board; None where nothing is ranked."""
    lines = board.ranked[:MOST_COMPARED]
    if not lines:
        return None
    folds = {case: result.spec.fold for result in lines[0].finished for case in result.per_case}
    given = {line.label: per_case(line) for line in lines}
    sums = CaseSums.from_results(given, folds, [line.networks for line in lines])
    varying = varying_knobs(tuple(line.candidate for line in lines))
    settings = [line.candidate.knobs() for line in lines]
    statistics = analyse(
        sums,
        costs=[line.seconds for line in lines],
        knobs={name: [setting[name] for setting in settings] for name in varying},
    )
    return Verdict(statistics, len(lines), len(board.ranked))


def per_case(line: CandidateScores) -> dict[str, Any]:
    """A candidate's sums by case, all folds together."""
    return {str(case): sums for r in line.finished for case, sums in r.per_case.items()}
