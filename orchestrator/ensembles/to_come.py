"""What an ensemble's score may be on patients to come, from its ``oof_score.json``."""

from __future__ import annotations

import math

import numpy as np

from gitract_core.metrics.score import CONTEST_SCORE
from gitract_core.metrics.score_expression import parse_score
from gitract_core.prediction.announced_scores import AnnouncedScores
from orchestrator.statistics.case_sums import CaseSums, organ_rows
from orchestrator.statistics.intervals.to_come import score_to_come
from orchestrator.statistics.pooled_folds import folds_to_score


def interval_to_come(announced: AnnouncedScores, patients: int) -> tuple[float, float]:
    """Interval of the score of a set of patients like those of training.

    Args:
        announced: what ``read_announced`` gives; of files without folds the luck of training is
            taken to be part of how much patients differ.
        patients: of the set.

    Returns:
        both ends; NaN where nothing is known of single patients, or there are too few.
    """
    per_case = announced.get("per_case") or {}
    if not per_case or announced["score"] is None or patients < 1:
        return math.nan, math.nan
    folds = announced.get("fold_of_case") or {}
    score = parse_score(announced.get("measure", CONTEST_SCORE))
    rows = [organ_rows(case, sums, score.columns) for case, sums in per_case.items()]
    values = np.array([rows], np.float64)
    of_case = np.array([folds.get(case, 0) for case in per_case], np.int64)
    of_case = folds_to_score(values, of_case, score)
    sums = CaseSums(("ensemble",), tuple(per_case), of_case, values, score=score)
    return score_to_come(sums, patients)
