"""Scores every epoch of a training on the held-out fold, while the next epoch trains.

An epoch that is chosen by the fold that is scored flatters the score. What it would have been had
the other folds chosen it can be said if every epoch's sums are known, so they are kept: a few
numbers a case. Validation has made the probabilities anyway; enlarging them and comparing them
with the annotation at native size runs in threads beside the training.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from types import TracebackType
from typing import Self

import numpy as np
import torch
from torch import Tensor

from gitract_core.data.cache import SliceCache
from gitract_core.data.slices import SliceIndex, case_of_scan
from gitract_core.data.volumes import scan_masks
from gitract_core.knobs import PostprocessKnobs
from gitract_core.metrics.scan_truth import ScanTruth
from gitract_core.metrics.score import COMPETITION
from gitract_core.prediction.postprocess import NativeGrid, organ_mask
from gitract_core.prediction.probabilities import SMALLEST

SCORING_THREADS = 4
"""The most that score an epoch."""
_MOST_BYTES_ON_DEVICE = 2**26  # of probabilities that wait there for the end of an epoch


def as_bytes(logits: Tensor) -> Tensor:
    """Probabilities of logits, quantized on their device as ``probabilities.to_bytes`` does."""
    values = logits.float().sigmoid().mul(255).round_().to(torch.uint8)
    return values.masked_fill_(values < SMALLEST, 0)


def scan_truth(index: SliceIndex, scan: str) -> ScanTruth:
    """The annotation of a scan.

    Raises:
        RleError: it cannot be read.
    """
    rows = index.rows_of_scan(scan)
    return ScanTruth.of(scan_masks(rows, organs=index.organs), index.known_in(rows.index))


@dataclass(frozen=True)
class _Scan:
    """A held-out scan: its place among the rows, its case's place, its pixels and annotation."""

    name: str
    rows: slice
    case: int
    grid: NativeGrid
    truth: ScanTruth


@dataclass
class EpochScorer:
    """Scores epochs one after another, in the background.

    Attributes:
        cache: of the data set.
        rows: of it, of the held-out fold, int64, scan by scan.
        rule: post-processing of the trial.
        threads: that score.
        sums: of the epochs scored so far, each float64 (cases, organs, columns).
        lost: whether epochs before these are not known: what is left says nothing.
    """

    cache: SliceCache
    rows: np.ndarray
    rule: PostprocessKnobs
    threads: int = 1
    sums: list[np.ndarray] = field(default_factory=list)
    lost: bool = False

    def __post_init__(self) -> None:
        self._pool = ThreadPoolExecutor(max(1, min(self.threads, SCORING_THREADS)), "score")
        self._heard: list[Tensor] = []
        self._running: list[Future[tuple[int, np.ndarray]]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    @cached_property
    def cases(self) -> tuple[str, ...]:
        """Of the held-out fold, in the order of the sums."""
        return tuple(dict.fromkeys(self.cache.index.table["case"].iloc[self.rows]))

    @cached_property
    def _scans(self) -> tuple[_Scan, ...]:
        """Masks are decoded once a trial and kept as bits."""
        index, found, start = self.cache.index, [], 0
        case_of = case_of_scan(index)
        for scan in dict.fromkeys(index.table["scan"].iloc[self.rows]):
            rows = index.rows_of_scan(scan)
            place = slice(start, start + len(rows))
            case = self.cases.index(case_of[scan])
            grid = NativeGrid.of_scan(rows, self.cache.view)
            found.append(_Scan(scan, place, case, grid, scan_truth(index, scan)))
            start += len(rows)
        return tuple(found)

    @property
    def truths(self) -> dict[str, ScanTruth]:
        """The annotations by scan."""
        return {scan.name: scan.truth for scan in self._scans}

    def hear(self, probabilities: Tensor) -> None:
        """Keep what was predicted for a validation batch; now and then bring it to the host.

        Args:
            probabilities: uint8 (batch, organs, size, size), of the next rows in order.
        """
        self._heard.append(probabilities)
        there = [part for part in self._heard if part.device.type != "cpu"]
        if sum(part.nbytes for part in there) >= _MOST_BYTES_ON_DEVICE:
            self._heard = [part.cpu() for part in self._heard]

    def take(self) -> None:
        """Score the epoch that was heard; waits for the epoch before."""
        self.wait()
        values = np.concatenate([part.cpu().numpy() for part in self._heard])
        self._heard = []
        self._running = [self._pool.submit(self._score, scan, values) for scan in self._scans]

    def wait(self) -> None:
        """Let the sums hold every epoch that was taken.

        Raises:
            RleError: an annotation cannot be read.
        """
        if self._running:
            shape = (len(self.cases), len(self.cache.organs), len(COMPETITION.columns))
            sums = np.zeros(shape)
            for running in self._running:
                case, found = running.result()
                sums[case] += found
            self._running = []
            self.sums.append(sums)

    def _score(self, scan: _Scan, values: np.ndarray) -> tuple[int, np.ndarray]:
        planes = values[scan.rows].swapaxes(0, 1)  # (organs, slices, size, size)
        score = scan.truth.score(organ_mask(plane, scan.grid, self.rule) for plane in planes)
        return scan.case, COMPETITION.count(score)
