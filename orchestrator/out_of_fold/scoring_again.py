"""Scores finished trials again, by another score, from their out-of-fold probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from gitract_core.data.slices import SliceIndex
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
from orchestrator.results.scored_trials import ScoredTrials


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
    missing = [r for r in missing if trials.directory.trial(r.spec).oof.is_file()]
    if not missing:
        return 0
    scoring, scored = _Scoring.of(trials, missing[0].spec), 0
    for done, result in enumerate(missing, 1):
        try:
            trials.keep(result, scoring.per_case(result))
            scored += 1
        except RunError:
            pass  # damaged probabilities are as good as none
        progress(done, len(missing))
    return scored


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
    def of(cls, trials: ScoredTrials, spec: TrialSpec) -> _Scoring:
        """With the data's index from this machine's cache."""
        data = trials.directory.data(trials.directory.record())
        return cls(trials, data.cache(spec.candidate.input.view).index, trials.score)

    def per_case(self, result: TrialResult) -> dict[str, dict[str, list[float]]]:
        """The sums of a trial.

        Raises:
            RunError: its probabilities are damaged, or another trial's.
        """
        files = self.trials.directory.trial(result.spec)
        store = OofStore(files.oof, Origin.of(files, result))
        with ThreadPoolExecutor(usable_processors()) as pool:
            scores = list(pool.map(partial(self._scan, store, result), store))
        cases = {scan: str(self.index.rows_of_scan(scan)["case"].iloc[0]) for scan in store}
        by_scan = dict(zip(store, scores, strict=True))
        return per_case_sums(by_scan, cases, score=self.score)

    def _scan(self, store: OofStore, result: TrialResult, scan: str) -> ScanScore:
        rows = self.index.rows_of_scan(scan)
        truth = self._truths.get(scan)
        if truth is None:
            masks = scan_masks(rows, organs=self.index.organs)
            truth = ScanTruth.of(masks, self.index.known_in(rows.index))
            self._truths[scan] = truth
        candidate = result.spec.candidate
        grid, rule = NativeGrid.of_scan(rows, candidate.input.view), candidate.postprocess
        found = (organ_mask(p, grid, rule) for p in store[scan])
        needs = self.score.needs
        return truth.score(found, InMillimeters(scan_spacing_mm(rows), needs) if needs else None)
