"""What a board leaves out or counts otherwise, in words for terminal and page."""

from __future__ import annotations

from orchestrator.results.leaderboard import Leaderboard
from orchestrator.sweeps.added_candidate import AddedCandidate

MOST_OTHERS = 12
"""Candidates named that are not shown."""


def others_in_words(board: Leaderboard) -> str:
    """A line on the candidates that other sweeps into the run asked for; empty without any."""
    if not board.others:
        return ""
    named = "; ".join(board.others[:MOST_OTHERS])
    more = len(board.others) - MOST_OTHERS
    named += f"; and {more} more" if more > 0 else ""
    return f"not shown, of other sweeps into this run (report --all): {named}"


def added_in_words(board: Leaderboard) -> list[str]:
    """A line on each candidate of another tool: where it comes from, who chose its epochs."""
    found = []
    for line in board.added:
        candidate = line.candidate
        assert isinstance(candidate, AddedCandidate)
        found.append(
            f"{line.label}: added, {candidate.origin or 'of unknown origin'}; choice of its "
            f"epochs: {candidate.epoch_rule}; cost, parameters and knobs are not known"
        )
    return found


def fold_notes(board: Leaderboard) -> list[str]:
    """Lines on folds that do not stand for themselves; see ``statistics.pooled_folds``."""
    counted_with = board.ranked[0].counted_with if board.ranked else ()
    notes = [
        f"fold {fold} has nothing to score for some candidates: its scans count with fold {other}"
        for fold, other in enumerate(counted_with)
        if fold != other
    ]
    if notes and len(set(counted_with)) < 2:
        notes.append("no intervals: fewer than two folds have something to score")
    return notes
