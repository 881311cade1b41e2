"""Measures what post-processing and scoring cost, on scans of the data set."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from gitract_core.data.volumes import scan_masks, scan_spacing_mm
from gitract_core.knobs import PostprocessKnobs
from gitract_core.metrics.scan_truth import ScanTruth
from gitract_core.metrics.score import CONTEST_SCORE
from gitract_core.metrics.score_expression import parse_score
from gitract_core.metrics.surfaces.distances import InMillimeters
from gitract_core.prediction.postprocess import NativeGrid, organ_mask
from gitract_core.trial.cost import SampleScan, soft_masks


@dataclass(frozen=True, slots=True)
class ScoringCost:
    """What scoring takes where it was measured, for each native pixel of what is scored.

    Attributes:
        truth_seconds: reading the annotation, once a trial.
        score_seconds: post-processing and score, each time.
    """

    truth_seconds: float
    score_seconds: float

    @property
    def once(self) -> float:
        """Seconds of scoring once."""
        return self.truth_seconds + self.score_seconds


def measure_scoring(
    rule: PostprocessKnobs, size: int, scans: Sequence[SampleScan], score: str = CONTEST_SCORE
) -> ScoringCost:
    """What post-processing and scoring take.

    The probabilities are the true masks with soft borders: those of a network that learned.

    Args:
        rule: from probabilities to masks.
        size: of the network's input.
        scans: that are scored.
        score: beside the contest's.
    """
    reading, scoring, needs = 0.0, 0.0, parse_score(score).needs
    for scan in scans:
        probabilities = soft_masks(scan, size)
        start = time.perf_counter()
        truth = ScanTruth.of(scan_masks(scan.rows, organs=scan.organs))
        read = time.perf_counter()
        grid = NativeGrid.of_scan(scan.rows)
        in_mm = InMillimeters(scan_spacing_mm(scan.rows), needs) if needs else None
        truth.score((organ_mask(plane, grid, rule) for plane in probabilities), in_mm)
        reading, scoring = reading + read - start, scoring + time.perf_counter() - read
    pixels = sum(scan.native_pixels for scan in scans)
    return ScoringCost(reading / pixels, scoring / pixels)
