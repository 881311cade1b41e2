"""Scores another tool's predictions fold by fold, as a trial's are scored, and keeps the masks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gitract_core.data.annotation import State
from gitract_core.data.slices import SliceIndex, case_of_scan, known_shares
from gitract_core.data.volumes import scan_masks, scan_spacing_mm
from gitract_core.files.atomic import write_json
from gitract_core.metrics import pool_scores
from gitract_core.metrics.scan_score import ScanScore
from gitract_core.metrics.scan_truth import ScanTruth
from gitract_core.metrics.score import COMPETITION, Mixture
from gitract_core.metrics.surfaces.distances import InMillimeters
from gitract_core.prediction.probabilities import write_oof
from gitract_core.prediction.rivals.predicted import Predicted
from gitract_core.processors import usable_processors
from gitract_core.progress import Progress, silent
from gitract_core.results.score_table import per_case_sums, write_scores
from gitract_core.results.trial_result import TrialFiles, TrialResult
from gitract_core.spec import TrialSpec
from orchestrator.out_of_fold.added_folds import PlacedFolds
from orchestrator.out_of_fold.added_masks import mask_rows, write_masks
from orchestrator.sweeps.added_candidate import AddedCandidate
from orchestrator.sweeps.added_files import MASKS, write_scored
from orchestrator.sweeps.fold_plans import NamedFolds
from orchestrator.sweeps.run_directory import SweepRecord

_MOST_NAMED = 3


@dataclass(frozen=True)
class FoldScorer:
    """Scores the folds of a candidate of another tool.

    Attributes:
        record: of the run.
        index: of its data.
        folds: of the run.
        placed: the predictions.
        progress: called with (folds done, all folds).
        keep_oof: keep the predictions at network size too, for ensembles.
    """

    record: SweepRecord
    index: SliceIndex
    folds: NamedFolds
    placed: PlacedFolds
    progress: Progress = silent
    keep_oof: bool = False

    def lacking(self, fold: int) -> str:
        """Why a fold cannot be scored; empty if it can."""
        predicted = self.placed.by_fold.get(fold)
        if predicted is None:
            return "no predictions"
        missing = [s for s in self.index.scans if s in self.folds.splits[fold].val]
        missing = [scan for scan in missing if scan not in predicted.scans]
        some = ", ".join(missing[:_MOST_NAMED])
        more = len(missing) - _MOST_NAMED
        return f"no prediction of {some}{f' and {more} more' * (more > 0)}" if missing else ""

    def write(self, folder: Path, candidate: AddedCandidate) -> None:
        """Score every fold that is whole, and write its files into ``folder/KEY``.

        Raises:
            DataError: a faulty prediction.
        """
        specs = self.record.specs([candidate])
        for fold, spec in enumerate(specs):
            files = TrialFiles(folder / spec.key)
            files.directory.mkdir()
            why = self.lacking(fold)
            if why:
                write_json(files.failure, {"key": spec.key, "message": why}, seal=True)
            else:
                self._score(fold, spec, files)
            self.progress(fold + 1, len(specs))

    def _score(self, fold: int, spec: TrialSpec, files: TrialFiles) -> None:
        scans = [scan for scan in self.index.scans if scan in self.folds.splits[fold].val]
        with ThreadPoolExecutor(usable_processors()) as pool:
            found = list(pool.map(partial(self._scan, fold), scans))
        scores = {scan: score for scan, (score, _) in zip(scans, found, strict=True)}
        write_scores(files.scores, scores, self.index)
        write_masks(files.directory / MASKS, pd.concat([rows for _, rows in found]))
        if self.keep_oof:
            write_oof(files.oof, network_sized(self.placed.by_fold[fold], scans, self.record))
        write_scored(files, self._result(spec, scores))

    def _result(self, spec: TrialSpec, scores: Mapping[str, ScanScore]) -> TrialResult:
        organs, case_of, own = self.index.organs, case_of_scan(self.index), dict[str, Any]()
        measure = self.record.measure
        if measure is not COMPETITION:
            own = {
                "score": measure.text,
                "per_case": per_case_sums(scores, case_of, score=measure),
            }
        return TrialResult(
            spec,
            scores=pool_scores(list(scores.values()), organs=organs).to_json(),
            per_case=per_case_sums(scores, case_of),
            history={},
            known=self._known(scores),
            organs=organs,
            own=own,
        )

    def _known(self, scores: Mapping[str, ScanScore]) -> dict[str, float]:
        if self.index.known is None:
            return {}
        rows = np.flatnonzero(self.index.table["scan"].isin(list(scores)))
        shares = known_shares(self.index.states[rows], self.index.organs)
        return shares if (self.index.states[rows] == State.UNKNOWN).any() else {}

    def _scan(self, fold: int, scan: str) -> tuple[ScanScore, pd.DataFrame]:
        masks = self.placed.by_fold[fold].masks(scan)
        score = score_masks(self.index, scan, masks, self.record.measure)
        return score, mask_rows(self.index, scan, masks)


def network_sized(
    predicted: Predicted, scans: Sequence[str], record: SweepRecord
) -> dict[str, np.ndarray]:
    """Quantized probabilities by scan, at the largest size of the run's candidates."""
    size = max(candidate.input.size for candidate in record.candidates)
    return {scan: predicted.at_network_size(scan, size) for scan in scans}


def score_masks(index: SliceIndex, scan: str, masks: np.ndarray, score: Mixture) -> ScanScore:
    """Count the masks of a scan, with the distances that a score needs."""
    rows = index.rows_of_scan(scan)
    truth = ScanTruth.of(scan_masks(rows, organs=index.organs), index.known_in(rows.index))
    needs = score.needs
    return truth.score(masks, InMillimeters(scan_spacing_mm(rows), needs) if needs else None)
