"""One scan as networks see it that have not learned from its patient."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from gitract_core.errors import RunError
from gitract_core.prediction.postprocess import native_masks
from orchestrator.out_of_fold.masks import OofAverage

if TYPE_CHECKING:
    from orchestrator.results.candidate_scores import CandidateScores
    from orchestrator.sweeps.run_directory import SweepDirectory


@dataclass(frozen=True, eq=False)
class OutOfFold:
    """Out-of-fold masks and probabilities of one scan.

    Attributes:
        scan: its name.
        fold: in which its patient was held out, in the first fold plan.
        masks: boolean (organs, slices, height, width), by the candidate's own post-processing.
        truth: annotated masks, of the same shape.
        probabilities: float32 (organs, slices, size, size) in 0..1, at network size.
    """

    scan: str
    fold: int
    masks: np.ndarray
    truth: np.ndarray
    probabilities: np.ndarray


def read_out_of_fold(directory: SweepDirectory, line: CandidateScores, scan: str) -> OutOfFold:
    """See ``Run.out_of_fold``."""
    if line.added:
        remedy = "name a candidate of the run; the masks are in RUN/added"
        where, expected = f"candidate {line.label}", "one that this run trained"
        raise RunError(where, expected, "an added one", remedy)
    found = OofAverage(directory, [line]).scan(scan)
    masks = native_masks(found.probabilities, found.grid, line.candidate.postprocess)
    shares = np.asarray(found.probabilities, np.float32) / np.float32(255)
    return OutOfFold(scan, found.fold, masks, found.truth, shares)
