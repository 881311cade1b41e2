"""The statistics of a run, as values for its page."""

from __future__ import annotations

from typing import Any

from orchestrator.report.answers import answer_tables
from orchestrator.results.epoch_words import epochs_in_words
from orchestrator.results.leaderboard import Leaderboard
from orchestrator.results.verdict import Verdict


def statistics_section(board: Leaderboard, verdict: Verdict | None) -> dict[str, Any] | None:
    """The verdict on the ranking.

    Returns:
        ``words`` (paragraphs of plain English); by key of the compared candidates the 95 %
        interval of the score, the chance of being the best, the distance to the first with its
        interval, whether it differs from the first (``tied``: it does not), whether it is no worse
        than the best by more than ``margin``, and whether it is unsteady; and ``knobs``. None where
        nothing is ranked.
    """
    if verdict is None:
        return None
    candidates = {}
    for line in board.ranked:
        one = verdict.of(line)
        if one is not None:
            candidates[line.candidate.key] = {
                "interval": [one.low, one.high],
                "probability_first": one.probability_first,
                "behind": one.behind,
                "behind_interval": [one.behind_low, one.behind_high],
                "tied": one.tied,
                "cheapest": one.name == verdict.statistics.cheapest,
                "no_worse": one.no_worse,
                "unsteady": line.label in verdict.trainings.unsteady,
            }
    words = [verdict.after_nothing, epochs_in_words(board)]
    return {
        "words": [text for text in words if text],
        "candidates": candidates,
        "margin": verdict.statistics.margin,
        "knobs": knob_values(verdict),
    }


def knob_values(verdict: Verdict) -> dict[str, Any] | None:
    """Every knob that varies, level by level, as tables of values; None where none does.

    Returns:
        ``tables`` (title, header, rows of values) for the page to draw, each with its ``notes``.
    """
    tables = answer_tables(verdict)
    if not tables:
        return None
    return {
        "tables": [
            {
                "title": table.title,
                "header": list(table.header),
                "rows": [list(row) for row in table.cells],
                "notes": list(table.notes),
            }
            for table in tables
        ]
    }
