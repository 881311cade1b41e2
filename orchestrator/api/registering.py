"""What a run registered before it trained, and the margin that its report uses."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.statistics.questions.margin import MARGIN, checked_margin
from orchestrator.sweeps.registration import Registration, deviations, in_words, register

if TYPE_CHECKING:
    from gitract_core.metrics.score import Mixture
    from orchestrator.sweeps.preparation import PreparedSweep
    from orchestrator.sweeps.run_directory import SweepRecord


def register_sweep(prepared: PreparedSweep, margin: float | None) -> Registration:
    """Write down what a sweep decides, before it trains.

    Args:
        prepared: the sweep.
        margin: of score; .005 if left out.

    Raises:
        RunError: something else is registered, or trials are finished that nobody registered.
    """
    candidates = list(dict.fromkeys(spec.candidate for spec in prepared.specs))
    asked = Registration.of(prepared.record, candidates, MARGIN if margin is None else margin)
    return register(prepared.directory, asked)


def margin_of(registered: Registration | None, asked: float | None) -> float:
    """The margin of a report: as asked, or as registered, or .005.

    Raises:
        GitractError: not a number from 0 to under 1.
    """
    if asked is not None:
        return checked_margin(asked)
    return registered.margin if registered else MARGIN


def registered_in_words(
    registered: Registration | None, record: SweepRecord, margin: float, score: Mixture
) -> str:
    """What was registered and what deviates from it; empty where nothing was.

    Args:
        registered: what was decided.
        record: of the run as it is.
        margin: of the report.
        score: of the report.
    """
    if not registered:
        return ""
    return in_words(registered, deviations(registered, record, margin, score.name))
