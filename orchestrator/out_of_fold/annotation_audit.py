"""The audit of a run: where out-of-fold predictions say that the annotation may be wrong."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gitract_core.data.slices import known_shares
from gitract_core.data.volumes import scan_spacing_mm
from gitract_core.files.atomic import replacing
from gitract_core.metrics.annotation_audit import (
    ScanEvidence,
    Suspect,
    examine_scan,
    rank_scans,
    slice_disagreement_px,
)
from gitract_core.metrics.borders import BorderCounts, border_counts
from gitract_core.prediction.postprocess import native_masks
from gitract_core.processors import usable_processors
from gitract_core.progress import Progress, silent
from orchestrator.out_of_fold.masks import OofAverage, OofScan
from orchestrator.out_of_fold.usable import usable_candidates
from orchestrator.results.candidate_scores import CandidateScores
from orchestrator.results.leaderboard import Leaderboard
from orchestrator.sweeps.run_directory import SweepDirectory

_MOST_ORGANS_AT_ONCE = 64  # volumes in memory, a few copies of each


@dataclass(frozen=True)
class Audit:
    """What an audit found.

    Attributes:
        candidates: whose averaged probabilities were compared.
        scans: all of them, most suspected first.
        slices: one row a (slice, class) with any disagreement, largest first; columns ``id``,
            ``class``, ``disagreement_cm2``, ``prediction_cm2``, ``annotation_cm2``.
        borders: how predictions differ, by organ, over all scans.
        known: by organ the share of slices whose annotation is known.
        left_out: candidates with a trial whose files are damaged, and why, one line each.
    """

    candidates: tuple[CandidateScores, ...]
    scans: tuple[Suspect, ...]
    slices: pd.DataFrame
    borders: dict[str, BorderCounts]
    known: dict[str, float] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain values; ``known`` only where not everything is."""
        return {
            **({"known": self.known} if min(self.known.values(), default=1.0) < 1 else {}),
            "candidates": [line.label for line in self.candidates],
            **({"left_out": list(self.left_out)} if self.left_out else {}),
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
        RunError: fewer candidates are complete and undamaged.
    """
    usable = usable_candidates(run, board, least=top, most=top, weights=False)
    lines = usable.lines
    average = OofAverage(run, lines)
    evidence: dict[str, ScanEvidence] = {}
    organs = average.organs
    borders = dict.fromkeys(organs, BorderCounts())
    tables = []
    threads = min(usable_processors(), max(1, _MOST_ORGANS_AT_ONCE // len(organs)))
    with ThreadPoolExecutor(threads) as pool:
        parts = pool.map(lambda name: _examine(average, name), average.scans)
        for done, (name, part) in enumerate(zip(average.scans, parts, strict=True), 1):
            evidence[name], table, counts = part
            tables.append(table)
            for organ in organs:
                borders[organ] += counts[organ]
            progress(done, len(average.scans))
    slices = pd.concat(tables, ignore_index=True)
    slices = slices.sort_values(["disagreement_cm2", "id"], ascending=[False, True])
    scans = rank_scans(evidence, average.size, organs=organs)
    known = known_shares(average.index.states, organs)
    slices = slices.reset_index(drop=True)
    return Audit(lines, tuple(scans), slices, borders, known, usable.left_out)


def truth_at(average: OofAverage, scan: OofScan) -> np.ndarray:
    """A scan's annotation as its probabilities lie, boolean (organs, slices, height, width)."""
    if scan.mixed:
        return scan.on_its_plane(scan.truth.view(np.uint8) * 255) > 127
    bits = average.cache.masks[scan.rows.index.to_numpy()]
    planes = bits[:, None] if bits.ndim == 3 else bits  # (slices, planes, size, size)
    truth = np.unpackbits(planes, axis=1, bitorder="little", count=len(scan.index.organs))
    return np.ascontiguousarray(truth.swapaxes(0, 1)) > 0


def _examine(
    average: OofAverage, name: str
) -> tuple[ScanEvidence, pd.DataFrame, dict[str, BorderCounts]]:
    scan, organs = average.scan(name), average.organs
    known = scan.known[:, :, None, None]
    probabilities, truth = scan.probabilities / 255 * known, truth_at(average, scan) & known
    spacing = scan_spacing_mm(scan.rows)
    grid, sides = scan.grid, truth.shape[2:]
    seen = grid.seen
    pixel_cm2 = spacing[1] * spacing[2] * seen.height * seen.width / (sides[0] * sides[1]) / 100
    table = _slice_table(scan, probabilities, truth, pixel_cm2)
    rule = average.lines[0].candidate.postprocess
    masks = native_masks(scan.probabilities, grid, rule) & known
    borders = {
        organ: border_counts(masks[channel], scan.truth[channel], spacing)
        for channel, organ in enumerate(organs)
    }
    found = examine_scan(probabilities, truth)
    found = _at_size(found, sides, average.size)
    (start, end), gain = found.missing
    numbers = scan.rows["slice"].to_numpy() - 1  # rank_scans adds 1; slices may be missing
    found = replace(found, missing=((int(numbers[start]), int(numbers[end])), gain))
    return found, table, borders


def _at_size(found: ScanEvidence, sides: tuple[int, ...], size: int) -> ScanEvidence:
    """The same with shifts in pixels of a square of that size, whatever plane it was found on."""
    move, gain = found.shift_px
    down, right = (round(by * size / side) for by, side in zip(move, sides, strict=True))
    return replace(found, shift_px=((down, right), gain))


def _slice_table(
    scan: OofScan, probabilities: np.ndarray, truth: np.ndarray, pixel_cm2: float
) -> pd.DataFrame:
    wrong = slice_disagreement_px(probabilities, truth)
    columns = {
        "id": np.tile(scan.rows["id"].to_numpy(), len(probabilities)),
        "class": np.repeat(scan.index.organs.names, len(scan.rows)),
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
