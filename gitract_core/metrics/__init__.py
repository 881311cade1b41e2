"""Metrics on NumPy arrays and tables; ``metrics.epoch``, which needs torch, is apart."""

from gitract_core.metrics.competition import (
    CompetitionScore,
    ScanScore,
    competition_score,
    pool_scores,
    score_scan,
)
from gitract_core.metrics.hausdorff import hausdorff_distance, normalized_hausdorff
from gitract_core.metrics.overlap import accuracy, dice, iou

__all__ = [
    "CompetitionScore",
    "ScanScore",
    "accuracy",
    "competition_score",
    "dice",
    "hausdorff_distance",
    "iou",
    "normalized_hausdorff",
    "pool_scores",
    "score_scan",
]
