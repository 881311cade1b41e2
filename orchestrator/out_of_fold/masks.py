"""Out-of-fold probabilities of candidates, scan by scan, beside the annotation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from gitract_core.data.slices import SliceIndex
from gitract_core.data.volumes import scan_masks
from gitract_core.device import Runtime
from gitract_core.organs import Organs
from gitract_core.prediction.members import at_size
from gitract_core.prediction.postprocess import NativeGrid
from gitract_core.prediction.probabilities import OofStore, Origin
from gitract_core.processors import usable_processors
from gitract_core.results.trial_result import TrialResult
from gitract_core.trial.held_out_prediction import open_oof
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
    """

    scan: str
    case: str
    fold: int
    rows: pd.DataFrame
    probabilities: np.ndarray
    index: SliceIndex

    @property
    def grid(self) -> NativeGrid:
        """The pixels of its masks."""
        return NativeGrid.of_scan(self.rows)

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
    """As ``OofScan``, with the probabilities of ``each`` candidate at its own size."""

    scan: str
    case: str
    fold: int
    rows: pd.DataFrame
    each: tuple[np.ndarray, ...]
    index: SliceIndex

    def scan_of(self, probabilities: np.ndarray) -> OofScan:
        """The scan under some average of them."""
        return OofScan(self.scan, self.case, self.fold, self.rows, probabilities, self.index)


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
        self.size = max(line.candidate.input.size for line in lines if not is_added(line.candidate))
        self.cache = data.cache(self.size, checked=True)
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
        parts = self.parts(name)
        total: np.ndarray = np.zeros(1, np.float32)
        for values, weight in zip(parts.each, self.weights, strict=True):
            total = total + np.float32(weight) * at_size(values, self.size)
        return parts.scan_of(total)

    def parts(self, name: str) -> OofParts:
        """What each candidate said of one scan."""
        rows = self.index.rows_of_scan(name)
        case = rows["case"].iloc[0]
        fold = self.plan.fold_of_case[case]
        each = tuple(self._said(line, name, case) for line in self.lines)
        return OofParts(name, case, fold, rows, each, self.index)

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
