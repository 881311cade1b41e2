"""Scores finished trials again, by another score, from their out-of-fold probabilities."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np

from gitract_core.data.slices import SliceIndex, case_of_scan
from gitract_core.data.volumes import scan_masks, scan_spacing_mm
from gitract_core.errors import RunError
from gitract_core.metrics.scan_score import ScanScore
from gitract_core.metrics.scan_truth import ScanTruth
from gitract_core.metrics.score import Mixture
from gitract_core.metrics.surfaces.distances import InMillimeters
from gitract_core.prediction.postprocess import NativeGrid, organ_mask
from gitract_core.prediction.probabilities import OofStore, Origin
from gitract_core.processors import usable_processors
from gitract_core.progress import Progress, silent
from gitract_core.results.score_table import per_case_sums
from gitract_core.results.trial_result import TrialResult
from gitract_core.spec import TrialSpec
from orchestrator.out_of_fold.added_masks import MaskStore
from orchestrator.results.scored_trials import ScoredTrials
from orchestrator.sweeps.added_candidate import is_added
from orchestrator.sweeps.added_files import MASKS

Masks = Callable[[str], Iterable[np.ndarray]]
"""Of a scan, a boolean (slices, height, width) an organ."""


def score_again(
    trials: ScoredTrials, specs: Sequence[TrialSpec], progress: Progress = silent
) -> int:
    """Make the sums that are missing, trial by trial, and keep them beside the run.

    Trials without out-of-fold probabilities, or with damaged ones, are left as they are:
    ``ScoredTrials.result`` says so.

    Args:
        trials: of the run, under the score.
        specs: those that are asked about.
        progress: called with (trials done, all of them).

    Returns:
        How many were scored.

    Raises:
        DataError: the data set is missing, faulty or another one.
    """
    missing = trials.missing(specs)
    missing = [r for r in missing if _predictions(trials, r).is_file()]
    if not missing:
        return 0
    scoring, scored = _Scoring.of(trials), 0
    for done, result in enumerate(missing, 1):
        try:
            trials.keep(result, scoring.per_case(result))
            scored += 1
        except RunError:
            pass  # damaged probabilities are as good as none
        progress(done, len(missing))
    return scored


def _predictions(trials: ScoredTrials, result: TrialResult) -> Path:
    files = trials.directory.trial(result.spec)
    return files.directory / MASKS if is_added(result.spec.candidate) else files.oof


class _Scoring:
    """Scores trials of one run; what is annotated is read once.

    Args:
        trials: of the run.
        index: of its data.
        score: what is summed.
    """

    def __init__(self, trials: ScoredTrials, index: SliceIndex, score: Mixture) -> None:
        self.trials, self.index, self.score = trials, index, score
        self._truths: dict[str, ScanTruth] = {}

    @classmethod
    def of(cls, trials: ScoredTrials) -> _Scoring:
        """With the data's index from this machine's cache."""
        record = trials.directory.record()
        view = record.candidates[0].input.view
        return cls(trials, trials.directory.data(record).cache(view).index, trials.score)

    def per_case(self, result: TrialResult) -> dict[str, dict[str, list[float]]]:
        """The sums of a trial.

        Raises:
            RunError: its probabilities are damaged, or another trial's.
        """
        files, case_of = self.trials.directory.trial(result.spec), case_of_scan(self.index)
        masks: Masks
        if is_added(result.spec.candidate):
            scans = [scan for scan, case in case_of.items() if case in result.per_case]
            masks = MaskStore(files, result, self.index).masks
        else:
            store = OofStore(files.oof, Origin.of(files, result))
            scans, masks = list(store), partial(self._thresholded, store, result)
        with ThreadPoolExecutor(usable_processors()) as pool:
            scores = list(pool.map(partial(self._scan, masks), scans))
        return per_case_sums(dict(zip(scans, scores, strict=True)), case_of, score=self.score)

    def _thresholded(self, store: OofStore, result: TrialResult, scan: str) -> Iterator[np.ndarray]:
        candidate = result.spec.candidate
        grid = NativeGrid.of_scan(self.index.rows_of_scan(scan), candidate.input.view)
        return (organ_mask(p, grid, candidate.postprocess) for p in store[scan])

    def _scan(self, masks: Masks, scan: str) -> ScanScore:
        rows = self.index.rows_of_scan(scan)
        truth = self._truths.get(scan)
        if truth is None:
            drawn = scan_masks(rows, organs=self.index.organs)
            truth = ScanTruth.of(drawn, self.index.known_in(rows.index))
            self._truths[scan] = truth
        needs, found = self.score.needs, masks(scan)
        return truth.score(found, InMillimeters(scan_spacing_mm(rows), needs) if needs else None)
