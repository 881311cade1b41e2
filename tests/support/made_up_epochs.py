"""Results of made-up curves, with the sums of every epoch beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from gitract_core.results.epoch_sums import EpochSums
from gitract_core.results.trial_result import TrialFiles, TrialResult
from gitract_core.spec import TrialSpec
from orchestrator.results.epoch_choice import at_epoch


def epoch_sums(
    cases: Sequence[str], scores: np.ndarray, monitored: np.ndarray, *, organs: int = 3
) -> EpochSums:
    """Sums of which every epoch's score is a given one.

    Args:
        cases: of the fold, each with 30 slices and 2 scans an organ.
        scores: float (epochs,), or (epochs, cases).
        monitored: float (epochs,).
        organs: how many.
    """
    each = np.asarray(scores, float)
    each = np.repeat(each[:, None], len(cases), axis=1) if each.ndim == 1 else each
    columns = np.stack([30 * each, 30 + 0 * each, 2 * each, 2 + 0 * each], axis=-1)
    sums = np.repeat(columns[:, :, None], organs, axis=2)
    return EpochSums(tuple(cases), np.asarray(monitored, float), sums)


def write_trial(
    files: TrialFiles, spec: TrialSpec, sums: EpochSums, *, keep_sums: bool = True
) -> TrialResult:
    """A result of the epoch that the trial's rule keeps, and ``epochs.npz`` if it has one."""
    epochs = len(sums.monitored)
    last = spec.candidate.training.keep != "held_out"
    best = epochs if last else int(np.argmax(sums.monitored)) + 1
    history: Mapping[str, object] = {
        "best_epoch": best, "epochs": epochs, "at_best": {}, "best": {},
    }  # fmt: skip
    cost = {"seconds": 1.0, "peak_memory_bytes": 1}
    empty = TrialResult(spec, {}, sums.of(best), history, cost, {"parameters": 1})
    if keep_sums and not last:
        sums.save(files.epochs)
    at_epoch(empty, sums, best).save(files.result)
    return TrialResult.load(files.result)
