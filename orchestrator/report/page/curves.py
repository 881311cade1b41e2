"""Learning curves, epoch by epoch, as values for the page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gitract_core.errors import RunError
from gitract_core.results.trial_result import EpochRecord, read_history
from orchestrator.results.candidate_scores import CandidateScores
from orchestrator.results.histories import METRICS
from orchestrator.sweeps.run_directory import SweepDirectory

CHOICES = {
    "loss": "validation loss",
    "train_loss": "training loss",
    **METRICS,
    "learning_rate": "learning rate",
}
"""Fields of ``EpochRecord`` in the order of choice."""

MOST_EPOCHS = 120
"""Points of a curve; longer trainings are shown at epochs evenly apart, the last among them."""


def curve_values(
    directory: SweepDirectory, shown: Sequence[CandidateScores], left_out: list[str]
) -> dict[str, Any]:
    """Metrics, and of each candidate the epochs and values of every finished fold.

    Args:
        directory: the run.
        shown: candidates, in the order of the page.
        left_out: gets a line for each history that cannot be read.
    """
    candidates = []
    for place, line in enumerate(shown):
        if line.added:
            continue
        folds = []
        for number, result in line.numbered:
            file = directory.trial(result.spec).history
            try:
                records = read_history(file, result.stamp(file))
                if not records:
                    raise RunError(file, "at least one epoch", "none", "run the trial again")
            except RunError as error:
                left_out.append(str(error))
                continue
            folds.append({"fold": number, **_curve(records)})
        if folds:
            candidates.append({"place": place, "label": line.label, "folds": folds})
    names = [{"key": key, "name": name} for key, name in CHOICES.items()]
    return {"metrics": names, "candidates": candidates}


def _curve(records: list[EpochRecord]) -> dict[str, Any]:
    places = np.linspace(0, len(records) - 1, min(len(records), MOST_EPOCHS)).round()
    kept = [records[int(place)] for place in places]
    values = {key: [_digits(getattr(r, key)) for r in kept] for key in CHOICES}
    return {"epochs": [r.epoch for r in kept], "values": values}


def _digits(value: float) -> float:
    """Five significant digits."""
    return float(f"{value:.5g}")
