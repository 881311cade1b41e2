"""Scores of a trial's held-out scans at native size: the contest's, and the sweep's own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from gitract_core.data.cache import SliceCache
from gitract_core.data.slices import case_of_scan
from gitract_core.data.volumes import scan_spacing_mm
from gitract_core.knobs import PostprocessKnobs
from gitract_core.metrics.scan_score import ScanScore
from gitract_core.metrics.scan_truth import ScanTruth
from gitract_core.metrics.score import CONTEST_SCORE
from gitract_core.metrics.score_expression import parse_score
from gitract_core.metrics.surfaces.distances import InMillimeters
from gitract_core.prediction.postprocess import NativeGrid, organ_mask
from gitract_core.results.score_table import per_case_sums
from gitract_core.training.epoch_scorer import scan_truth


def held_out_scores(
    rule: PostprocessKnobs,
    cache: SliceCache,
    predictions: Mapping[str, np.ndarray],
    truths: Mapping[str, ScanTruth] | None = None,
    *,
    score: str = CONTEST_SCORE,
) -> dict[str, ScanScore]:
    """Counts of each scan at native size.

    Args:
        rule: from probabilities to masks.
        cache: of the data set.
        predictions: probabilities by scan.
        truths: annotations that are at hand.
        score: distances that it needs are measured.
    """
    needs = parse_score(score, cache.organs).needs
    scores = {}
    for scan in predictions:
        rows = cache.index.rows_of_scan(scan)
        truth = (truths or {}).get(scan) or scan_truth(cache.index, scan)
        grid = NativeGrid.of_scan(rows, cache.view)
        masks = (organ_mask(p, grid, rule) for p in predictions[scan])
        in_mm = InMillimeters(scan_spacing_mm(rows), needs) if needs else None
        scores[scan] = truth.score(masks, in_mm)
    return scores


def own_sums(scores: Mapping[str, ScanScore], cache: SliceCache, score: str) -> dict[str, Any]:
    """The sums of a score that is not the contest's, as ``TrialResult.own``; empty for that."""
    measure = parse_score(score, cache.organs)
    if measure.text == CONTEST_SCORE:
        return {}
    return {
        "score": measure.text,
        "per_case": per_case_sums(scores, case_of_scan(cache.index), score=measure),
    }
