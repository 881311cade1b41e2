"""Metrics on NumPy arrays and tables; ``metrics.epoch``, which needs torch, is apart."""

from gitract_core.metrics.competition import (
    CompetitionScore,
    competition_score,
    pool_scores,
)
from gitract_core.metrics.hausdorff import hausdorff_distance, normalized_hausdorff
from gitract_core.metrics.overlap import accuracy, dice, iou
from gitract_core.metrics.scan_score import ScanScore, score_scan
from gitract_core.metrics.score import COMPETITION, Score

__all__ = [
    "COMPETITION",
    "CompetitionScore",
    "ScanScore",
    "Score",
    "accuracy",
    "competition_score",
    "dice",
    "hausdorff_distance",
    "iou",
    "normalized_hausdorff",
    "pool_scores",
    "score_scan",
]
