"""How many patients and repeats find a difference, from a run or from typical figures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gitract_core.errors import GitractError, RunError
from orchestrator.results.verdict import MOST_COMPARED, case_sums
from orchestrator.statistics import variance_components
from orchestrator.statistics.questions.power import (
    LEVEL,
    POWER,
    Detection,
    detection,
    noise_of,
)

if TYPE_CHECKING:
    from orchestrator.results.leaderboard import Leaderboard


def detect(difference: float, board: Leaderboard | None = None) -> Detection:
    """Patients and repeats that find a difference between two candidates.

    Args:
        difference: of score, above 0, under 1.
        board: of a finished run, for its noise; typical figures if left out.

    Raises:
        GitractError: not such a difference.
        RunError: the run does not tell its noise.
    """
    if not 0 < difference < 1:
        expected = "a difference of score above 0, under 1"
        raise GitractError("--detect", expected, difference, "pass .01, for example")
    if board is None:
        return detection(difference)
    lines = board.ranked[:MOST_COMPARED]
    noise = None
    if len(lines) > 1:
        sums = case_sums(lines, board.record.n_folds)
        noise = noise_of(sums, variance_components(sums))
    if noise is None:
        expected = "two ranked candidates and two patients in every fold"
        remedy = "finish the sweep, or leave RUN out for typical figures"
        raise RunError("--detect", expected, f"{len(lines)} ranked", remedy)
    return detection(difference, noise)


def detection_to_json(found: Detection) -> dict[str, Any]:
    """Plain values."""
    return {
        "difference": found.difference,
        "power": POWER,
        "level": LEVEL,
        "source": found.noise.source,
        "patients": found.noise.cases,
        "repeats": found.noise.repeats,
        "detectable": found.detectable,
        "repeats_needed": found.repeats_needed,
        "needed": [
            {"repeats": repeats, "patients": cases} for repeats, cases in found.cases_needed
        ],
    }
