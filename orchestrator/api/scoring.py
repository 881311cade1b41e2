"""Scores again what lacks the sums of a run's score."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from gitract_core.errors import counted
from gitract_core.metrics.score import COMPETITION, Mixture
from gitract_core.progress import Progress, silent
from orchestrator.api.progress_bar import progress_bar

if TYPE_CHECKING:
    from rich.console import Console

    from gitract_core.spec import TrialSpec
    from orchestrator.sweeps.preparation import PreparedSweep
    from orchestrator.sweeps.run_directory import SweepDirectory


def score_finished(
    directory: SweepDirectory,
    specs: Sequence[TrialSpec],
    score: Mixture,
    progress: Progress = silent,
) -> int:
    """Score finished trials from their out-of-fold probabilities; how many lacked the score.

    Args:
        directory: of the run.
        specs: the trials that are asked about.
        score: all trials have the contest's.
        progress: called with (trials done, all of them).

    Raises:
        DataError: the data set is missing, faulty or another one.
    """
    if score is COMPETITION:
        return 0
    from orchestrator.out_of_fold.scoring_again import score_again
    from orchestrator.results.scored_trials import ScoredTrials

    return score_again(ScoredTrials(directory, score), specs, progress)


def score_before(prepared: PreparedSweep, *, say: Console, shown: Console) -> None:
    """Score what an earlier sweep finished by another score, before this one trains.

    Args:
        prepared: the sweep.
        say: takes a line about it.
        shown: where progress is drawn.
    """
    score = prepared.record.measure
    with progress_bar(shown, "scoring") as progress:
        scored = score_finished(prepared.directory, prepared.specs, score, progress)
    if scored:
        say.print(f"{counted(scored, 'finished trial')} scored again, from probabilities")
