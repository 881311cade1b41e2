"""Out-of-fold probabilities of candidates, scan by scan, beside the annotation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd

from gitract_core.data.slices import SliceIndex
from gitract_core.data.volumes import scan_masks
from gitract_core.data.windows import seen_through
from gitract_core.device import Runtime
from gitract_core.organs import Organs
from gitract_core.prediction.common_view import CommonView, Said
from gitract_core.prediction.postprocess import NativeGrid
from gitract_core.prediction.probabilities import OofStore, Origin
from gitract_core.processors import usable_processors
from gitract_core.results.trial_result import TrialResult
from gitract_core.trial.held_out_prediction import open_oof
from gitract_core.view import View
from orchestrator.results.candidate_scores import CandidateScores
from orchestrator.sweeps.added_candidate import is_added
from orchestrator.sweeps.run_directory import SweepDirectory


@dataclass(frozen=True)
class OofScan:
    """One scan as models saw it that had not learned from its case.

    Attributes:
        scan: its name.
        case, fold: where it belongs, in the first fold plan; the case as the index writes it.
        rows: its rows of the slice index.
        probabilities: averaged over candidates, float32 in units of 1/255, (organs, slices, size,
            size).
        index: of the data set.
        common: the plane of the probabilities; by default whole slices.
    """

    scan: str
    case: str
    fold: int
    rows: pd.DataFrame
    probabilities: np.ndarray
    index: SliceIndex
    common: CommonView | None = None

    @property
    def grid(self) -> NativeGrid:
        """The pixels of its masks."""
        window = self.common.window if self.common else None
        return replace(NativeGrid.of_scan(self.rows), window=window)

    @property
    def mixed(self) -> bool:
        """Whether the probabilities are of no candidate's view, and so of no cache."""
        return self.common is not None and self.common.mixed

    def on_its_plane(self, images: np.ndarray) -> np.ndarray:
        """Native images or masks as its probabilities lie, uint8 (..., height, width).

        Args:
            images: uint8 (..., height, width) of the scan's own pixels.
        """
        shape = (self.probabilities.shape[-2], self.probabilities.shape[-1])
        each = images.reshape(-1, *images.shape[-2:])
        seen = np.stack([seen_through(image, self.grid.seen, shape) for image in each])
        return seen.reshape(*images.shape[:-2], *shape)

    @cached_property
    def truth(self) -> np.ndarray:
        """Annotated masks, boolean (organs, slices, height, width)."""
        return scan_masks(self.rows, organs=self.index.organs)

    @cached_property
    def known(self) -> np.ndarray:
        """Where somebody looked for an organ, boolean (organs, slices)."""
        known = self.index.known_in(self.rows.index)
        if known is None:
            return np.ones((len(self.index.organs), len(self.rows)), bool)
        return known


@dataclass(frozen=True)
class OofParts:
    """As ``OofScan``, with the probabilities of ``each`` candidate, of its own view."""

    scan: str
    case: str
    fold: int
    rows: pd.DataFrame
    each: tuple[np.ndarray, ...]
    index: SliceIndex
    views: tuple[View, ...]

    def average(self, weights: Sequence[float] | np.ndarray) -> OofScan:
        """The scan under an average of them, as ``Predictor`` makes it.

        Args:
            weights: one a candidate, summing to 1; those of 0 take no part.
        """
        told = zip(self.each, self.views, weights, strict=True)
        there = [Said(part, view, weight) for part, view, weight in told if weight]
        common = CommonView.of((s.view for s in there), lambda: NativeGrid.of_scan(self.rows))
        total = common.average(there)
        return self.scan_of(total, common)

    def scan_of(self, probabilities: np.ndarray, common: CommonView | None = None) -> OofScan:
        """The scan under some average of them, on the plane of their common view."""
        found = (self.scan, self.case, self.fold, self.rows, probabilities, self.index)
        return OofScan(*found, common)


class OofAverage:
    """The weighted average of complete candidates' out-of-fold probabilities.

    Args:
        run: the sweep's directory.
        lines: the candidates, each with all folds.
        weights: one a candidate, summing to 1; equal if left out.
        flip: probabilities averaged with those of mirrored slices; see ``predict_scan``.
    """

    def __init__(
        self,
        run: SweepDirectory,
        lines: Sequence[CandidateScores],
        weights: Sequence[float] | None = None,
        *,
        flip: bool = False,
    ) -> None:
        self.run, self.lines, self.flip = run, lines, flip
        self._stores: dict[str, OofStore] = {}
        self.weights = weights or [1 / len(lines)] * len(lines)
        self.data = data = run.data(run.record())
        self.plan = data.plan
        self.plans = (data.plan, *data.repeats)
        own = [line.candidate for line in lines if not is_added(line.candidate)]
        largest = max(candidate.input.view for candidate in own)
        self.size = largest.size
        self.cache = data.cache(largest, checked=True)
        self.index: SliceIndex = self.cache.index

    @property
    def organs(self) -> Organs:
        """The organs of the data set."""
        return self.index.organs

    @property
    def scans(self) -> list[str]:
        """Names of all scans, in the index's order."""
        return list(self.index.scans)

    def scan(self, name: str) -> OofScan:
        """One scan's average.

        Raises:
            RunError: a trial's probabilities are missing or damaged.
        """
        return self.parts(name).average(self.weights)

    def parts(self, name: str) -> OofParts:
        """What each candidate said of one scan."""
        rows = self.index.rows_of_scan(name)
        case = rows["case"].iloc[0]
        fold = self.plan.fold_of_case[case]
        each = tuple(self._said(line, name, case) for line in self.lines)
        views = tuple(map(_view_of, self.lines, each))
        return OofParts(name, case, fold, rows, each, self.index, views)

    def _said(self, line: CandidateScores, name: str, case: str) -> np.ndarray:
        """A candidate's mean over fold plans of what its network without this case said."""
        total: np.ndarray = np.zeros(1, np.float32)
        for number, plan in enumerate(self.plans):
            result = line.results[number * plan.n_splits + plan.fold_of_case[case]]
            assert result is not None  # only complete candidates are averaged
            total = total + np.asarray(self._store(result)[name], np.float32)
        return total / np.float32(len(self.plans))

    def predict_missing(self) -> None:
        """Predict what was not kept, trial by trial; ``parts`` does it too when it has to."""
        for line in self.lines:
            for result in line.finished:
                self._store(result)

    def _store(self, result: TrialResult) -> OofStore:
        spec = result.spec
        if spec.key not in self._stores and is_added(spec.candidate):
            files = self.run.trial(spec)
            self._stores[spec.key] = OofStore(files.oof, Origin(result.stamp(files.oof)))
        if spec.key not in self._stores:
            runtime, files = Runtime(threads=usable_processors()), self.run.trial(spec)
            self._stores[spec.key] = open_oof(
                spec, files, self.data, runtime, flip=self.flip, result=result
            )
        return self._stores[spec.key]


def _view_of(line: CandidateScores, said: np.ndarray) -> View:
    """What probabilities are of; those of other tools are of whole slices."""
    return View(said.shape[-1]) if is_added(line.candidate) else line.candidate.input.view
