"""The statistics of a run, as values for its page."""

from __future__ import annotations

from typing import Any

from orchestrator.results.epoch_words import epochs_in_words
from orchestrator.results.leaderboard import Leaderboard
from orchestrator.results.verdict import Verdict


def statistics_section(board: Leaderboard, verdict: Verdict | None) -> dict[str, Any] | None:
    """The verdict on the ranking.

    Returns:
        ``words`` (paragraphs of plain English), and by key of the compared candidates the 95 %
        interval of the score, the chance of being the best, the distance to the first with its
        interval, and whether it differs from the first (``tied``: it does not). None where
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
            }
    words = [verdict.in_words, epochs_in_words(board)]
    return {"words": [text for text in words if text], "candidates": candidates}
