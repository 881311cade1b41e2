"""Finished trials with made-up probabilities in place of a training's."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import ndimage

from gitract_core.data.slices import case_of_scan
from gitract_core.data.volumes import scan_masks
from gitract_core.metrics import pool_scores
from gitract_core.prediction.probabilities import write_oof
from gitract_core.results.score_table import per_case_sums, write_scores
from gitract_core.results.trial_result import TrialResult
from gitract_core.spec import TrialSpec
from gitract_core.trial.held_out_prediction import held_out_scans
from gitract_core.trial.held_out_scores import held_out_scores, own_sums
from orchestrator.sweeps.preparation import PreparedSweep

Change = Callable[[np.ndarray], np.ndarray]
"""From annotated masks to predicted ones, boolean (organs, slices, size, size)."""


def shrunk(masks: np.ndarray) -> np.ndarray:
    """Two pixels less all around: a poor Dice, small distances."""
    within = ndimage.generate_binary_structure(2, 1)[None, None]
    return np.asarray(ndimage.binary_erosion(masks, within, iterations=2))


def with_blob(masks: np.ndarray) -> np.ndarray:
    """Right but for a block in a far corner of a slice: a good Dice, a large distance."""
    found = masks.copy()
    found[:, 2, -5:, :5] = True
    return found


def finish_with_masks(
    sweep: PreparedSweep, spec: TrialSpec, change: Change, *, keep_oof: bool = True
) -> None:
    """Leave what a trial leaves whose networks predict the changed annotation.

    Args:
        sweep: the prepared sweep.
        spec: of the trial.
        change: from the annotation to what is predicted.
        keep_oof: whether probabilities stay.
    """
    cache = sweep.data.cache(spec.candidate.input.size)
    cases = cache.index.table["case"].to_numpy()
    rows = sweep.data.plan_of(spec).rows(cases, spec.fold, held_out=True)
    predictions = {}
    for scan in held_out_scans(cache, rows):
        truth = scan_masks(cache.index.rows_of_scan(scan), organs=cache.organs)
        size = np.array([1, 1, *(spec.candidate.input.size / n for n in truth.shape[2:])])
        small = ndimage.zoom(truth.astype(np.uint8), size, order=0) > 0
        predictions[scan] = np.where(change(small), 255, 0).astype(np.uint8)
    files, score = sweep.directory.trial(spec), sweep.data.score
    found = held_out_scores(spec.candidate.postprocess, cache, predictions, score=score)
    if keep_oof:
        write_oof(files.oof, predictions)
    files.best.write_text(f"weights of {spec.key}")
    write_scores(files.scores, found, cache.index)
    TrialResult(
        spec,
        pool_scores(list(found.values()), organs=cache.organs).to_json(),
        per_case_sums(found, case_of_scan(cache.index)),
        {"best_epoch": 1, "epochs": 1, "at_best": {}, "best": {}},
        {"seconds": 1.0, "peak_memory_bytes": 1},
        {"parameters": 1},
        organs=cache.organs,
        own=own_sums(found, cache, score),
    ).save(files.result)
