"""The audit of a run: where out-of-fold predictions say that the annotation may be wrong."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gitract_core.data.slices import SLICE_THICKNESS_MM
from gitract_core.files.atomic import replacing
from gitract_core.metrics.annotation_audit import (
    ScanEvidence,
    Suspect,
    examine_scan,
    rank_scans,
    slice_disagreement_px,
)
from gitract_core.metrics.borders import BorderCounts, border_counts
from gitract_core.organs import N_ORGANS, ORGANS
from gitract_core.prediction.device_slices import DeviceSlices
from gitract_core.prediction.postprocess import native_masks
from gitract_core.processors import usable_processors
from gitract_core.progress import Progress, silent
from orchestrator.out_of_fold.masks import OofAverage, OofScan
from orchestrator.results.leaderboard import CandidateScores, Leaderboard
from orchestrator.sweeps.run_directory import SweepDirectory


@dataclass(frozen=True)
class Audit:
    """What an audit found.

    Attributes:
        candidates: whose averaged probabilities were compared.
        scans: all of them, most suspected first.
        slices: one row a (slice, class) with any disagreement, largest first; columns ``id``,
            ``class``, ``disagreement_cm2``, ``prediction_cm2``, ``annotation_cm2``.
        borders: how predictions differ, by organ, over all scans.
    """

    candidates: tuple[CandidateScores, ...]
    scans: tuple[Suspect, ...]
    slices: pd.DataFrame
    borders: dict[str, BorderCounts]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "candidates": [line.label for line in self.candidates],
            "scans": [asdict(suspect) for suspect in self.scans],
            "slices": self.slices.to_dict("records"),
            "borders": {
                organ: {
                    **asdict(counts),
                    "shift_mm": counts.shift_mm,
                    "volume_error": counts.volume_error,
                }
                for organ, counts in self.borders.items()
            },
        }


def audit_run(
    run: SweepDirectory, board: Leaderboard, top: int, progress: Progress = silent
) -> Audit:
    """Compare the averaged out-of-fold probabilities of the best candidates with the annotation.

    Scans and slices are compared at network size, borders at native size.

    Raises:
        RunError: fewer candidates are complete, or a trial's file is damaged.
    """
    lines = board.top(top)
    average = OofAverage(run, lines)
    evidence: dict[str, ScanEvidence] = {}
    borders = dict.fromkeys(ORGANS, BorderCounts())
    tables = []
    with ThreadPoolExecutor(usable_processors()) as pool:
        parts = pool.map(lambda name: _examine(average, name), average.scans)
        for done, (name, part) in enumerate(zip(average.scans, parts, strict=True), 1):
            evidence[name], table, counts = part
            tables.append(table)
            for organ in ORGANS:
                borders[organ] += counts[organ]
            progress(done, len(average.scans))
    slices = pd.concat(tables, ignore_index=True)
    slices = slices.sort_values(["disagreement_cm2", "id"], ascending=[False, True])
    scans = rank_scans(evidence, average.size)
    return Audit(lines, tuple(scans), slices.reset_index(drop=True), borders)


def truth_at(average: OofAverage, scan: OofScan) -> np.ndarray:
    """A scan's annotation at network size, boolean (organs, slices, size, size)."""
    import torch

    masks = torch.from_numpy(average.cache.masks)
    rows = torch.tensor(scan.rows.index.to_numpy(copy=True))
    nothing = torch.zeros(0, dtype=torch.int64)
    batch = DeviceSlices(masks, masks, nothing, nothing).batch_masks(rows)
    truth: np.ndarray = batch.numpy().swapaxes(0, 1) > 0
    return truth


def _examine(
    average: OofAverage, name: str
) -> tuple[ScanEvidence, pd.DataFrame, dict[str, BorderCounts]]:
    scan = average.scan(name)
    probabilities, truth = scan.probabilities / 255, truth_at(average, scan)
    first = scan.rows.iloc[0]
    y_mm, x_mm = float(first["spacing_y_mm"]), float(first["spacing_x_mm"])
    grid = scan.grid
    pixel_cm2 = y_mm * x_mm * grid.height * grid.width / average.size**2 / 100
    table = _slice_table(scan, probabilities, truth, pixel_cm2)
    masks = native_masks(scan.probabilities, grid, average.lines[0].candidate.postprocess)
    spacing = (SLICE_THICKNESS_MM, y_mm, x_mm)
    borders = {
        organ: border_counts(masks[channel], scan.truth[channel], spacing)
        for channel, organ in enumerate(ORGANS)
    }
    found = examine_scan(probabilities, truth)
    (start, end), gain = found.missing
    numbers = scan.rows["slice"].to_numpy() - 1  # rank_scans adds 1; slices may be missing
    found = replace(found, missing=((int(numbers[start]), int(numbers[end])), gain))
    return found, table, borders


def _slice_table(
    scan: OofScan, probabilities: np.ndarray, truth: np.ndarray, pixel_cm2: float
) -> pd.DataFrame:
    wrong = slice_disagreement_px(probabilities, truth)
    columns = {
        "id": np.tile(scan.rows["id"].to_numpy(), N_ORGANS),
        "class": np.repeat(ORGANS, len(scan.rows)),
        "disagreement_cm2": wrong.ravel() * pixel_cm2,
        "prediction_cm2": (probabilities > 0.5).sum(axis=(2, 3)).ravel() * pixel_cm2,
        "annotation_cm2": truth.sum(axis=(2, 3)).ravel() * pixel_cm2,
    }
    table = pd.DataFrame(columns)
    return table[table["disagreement_cm2"] > 0]


def write_audit(audit: Audit, directory: Path) -> list[Path]:
    """Write ``scans.csv`` and ``slices.csv`` atomically."""
    scans = pd.DataFrame([asdict(suspect) for suspect in audit.scans])
    dice = pd.DataFrame(list(scans.pop("dice"))).add_prefix("dice_")
    scans = pd.concat([scans, dice], axis=1)
    scans.insert(0, "rank", np.arange(1, len(scans) + 1))
    paths = [directory / "scans.csv", directory / "slices.csv"]
    for table, path in zip((scans, audit.slices), paths, strict=True):
        with replacing(path) as part:
            table.to_csv(part, index=False, float_format="%.6g")
    return paths
