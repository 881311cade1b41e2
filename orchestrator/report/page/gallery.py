"""The best candidate's worst, typical and best scans, slice by slice, out of fold.

Images are one WebP sheet a scan; outlines are polygons at native size, as they were scored, so
that they stay sharp on every screen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from gitract_core.data.annotation import State
from gitract_core.data.slices import SliceIndex
from gitract_core.data.volumes import scan_masks
from gitract_core.errors import RunError
from gitract_core.metrics.score import COMPETITION
from gitract_core.prediction.postprocess import NativeGrid, native_masks
from gitract_core.prediction.probabilities import Origin, read_oof
from gitract_core.results.trial_result import TrialResult
from orchestrator.out_of_fold.added_masks import MaskStore
from orchestrator.report.page.contact_sheets import ScanSheet, outline_paths, sheet_uris
from orchestrator.report.page.slice_positions import ScoreTables, scans_of
from orchestrator.report.run_slices import gray_scan, run_index
from orchestrator.results.candidate_scores import CandidateScores
from orchestrator.results.leaderboard import Leaderboard
from orchestrator.sweeps.run_directory import SweepDirectory

MOST_SLICES = 24
"""Of a scan."""

KINDS = (("worst", 0.0), ("typical", 0.5), ("best", 1.0))
A_KIND = 2
"""Scans of each kind."""


@dataclass(frozen=True)
class ChosenScan:
    """A scan of the gallery.

    Attributes:
        scan: its name.
        kind: ``worst``, ``typical`` or ``best``.
        score: its own competition score.
        rank, scans: its place among all scans of the candidate, from 1, the worst.
    """

    scan: str
    kind: str
    score: float
    rank: int
    scans: int


def scan_scores(table: pd.DataFrame, index: pd.DataFrame | None = None) -> pd.Series:
    """Each scan's own competition score, from its mean Dice and Hausdorff score, worst first.

    Args:
        table: rows of ``scores.parquet``; scans without an organ in truth and prediction have
            nothing to count and are left out.
        index: table of the ``SliceIndex``; without it ids must be written as the contest's are.
    """
    slices = table[table["level"] == "slice"]
    scans = table[table["level"] == "scan"]
    dice = slices.groupby(scans_of(slices["id"], index))["dice"].mean()
    hausdorff = 1 - scans.groupby("id")["hausdorff"].mean()
    scores: pd.Series = COMPETITION.mix({"dice": dice, "hausdorff": hausdorff}).dropna()
    return scores.sort_index().sort_values(kind="stable")


def choose_scans(scores: pd.Series) -> list[ChosenScan]:
    """The two worst, the two around the median and the two best; each scan once.

    Args:
        scores: as ``scan_scores`` gives them.
    """
    names, n = [str(name) for name in scores.index], len(scores)
    starts = (round(share * (n - A_KIND)) for _, share in KINDS)
    chosen: dict[str, ChosenScan] = {}
    for (kind, _), start in zip(KINDS, starts, strict=True):
        for place in range(max(start, 0), min(start + A_KIND, n)):
            scan = ChosenScan(names[place], kind, float(scores.iloc[place]), place + 1, n)
            chosen.setdefault(names[place], scan)
    return list(chosen.values())


def choose_slices(held: np.ndarray, wrong: np.ndarray, most: int = MOST_SLICES) -> np.ndarray:
    """Places of the slices to show: evenly over those that hold something, and the worst one.

    Args:
        held: whether truth or prediction holds an organ, bool (slices,).
        wrong: pixels in which they differ, (slices,).
        most: how many at most.

    Returns:
        int, in order; one slice beyond each end is shown too.
    """
    places = np.flatnonzero(held)
    first, last = (places[0], places[-1]) if len(places) else (0, len(held) - 1)
    span = np.arange(max(first - 1, 0), min(last + 1, len(held) - 1) + 1)
    if len(span) <= most:
        return span
    even = span[np.linspace(0, len(span) - 1, most - 1).round().astype(int)]
    return np.unique([*even, int(np.argmax(wrong))])


def gallery_values(
    directory: SweepDirectory, board: Leaderboard, tables: ScoreTables
) -> dict[str, Any] | None:
    """The scans of the first candidate with scores; None without any.

    Raises:
        DataError: the data set is missing, faulty or another one.
        RunError: out-of-fold probabilities are missing or damaged.
    """
    lines = [*board.ranked, *sorted(board.unranked, key=lambda c: -len(c.finished))]
    line = next((line for line in lines if line.label in tables), None)
    if line is None:
        return None
    table = tables[line.label].drop_duplicates(["level", "id", "class"])  # of the first fold plan
    index = run_index(board.record)
    chosen = choose_scans(scan_scores(table, index.table))
    dice = table[table["level"] == "slice"].set_index(["id", "class"])["dice"].sort_index()
    sheets, scans = [], []
    for scan in chosen:
        sheet, values = _scan(directory, line, index, scan)
        for entry in values["slices"]:
            entry["dice"] = [_decimals(dice.get((entry["id"], organ))) for organ in board.organs]
        sheets.append(sheet)
        scans.append(values)
    for values, sheet, uri in zip(scans, sheets, sheet_uris(sheets), strict=True):
        values["sheet"] = {"uri": uri, **sheet.layout}
    by = "Score" if line.score is COMPETITION else "The contest's score"
    return {"label": line.label, "by": by, "scans": scans}


def _scan(
    directory: SweepDirectory, line: CandidateScores, index: SliceIndex, chosen: ChosenScan
) -> tuple[ScanSheet, dict[str, Any]]:
    rows = index.rows_of_scan(chosen.scan)
    result = _result_of(line, chosen.scan, str(rows["case"].iloc[0]))
    grid = NativeGrid.of_scan(rows, line.candidate.input.view)
    truth = scan_masks(rows, organs=index.organs)
    files = directory.trial(result.spec)
    if line.added:
        predicted = MaskStore(files, result, index).masks(chosen.scan)
    else:
        probabilities = read_oof(files.oof, chosen.scan, Origin.of(files, result))
        predicted = native_masks(probabilities, grid, line.candidate.postprocess)
    held = (truth | predicted).any(axis=(0, 2, 3))
    known = index.states[rows.index.to_numpy()].T != State.UNKNOWN  # (organs, slices)
    wrong = ((truth ^ predicted).sum(axis=(2, 3)) * known).sum(axis=0)
    places = choose_slices(held, wrong)
    sheet = ScanSheet.of_slices(gray_scan(index, chosen.scan)[places])
    slices = [
        {
            "id": str(rows["id"].iloc[place]),
            "number": int(rows["slice"].iloc[place]),
            "truth": outline_paths(truth[:, place]),
            "predicted": outline_paths(predicted[:, place]),
            "unknown": np.flatnonzero(~known[:, place]).tolist(),
        }
        for place in places
    ]
    return sheet, {
        "scan": chosen.scan,
        "kind": chosen.kind,
        "score": round(chosen.score, 4),
        "rank": chosen.rank,
        "of": chosen.scans,
        "fold": result.spec.fold,
        "height": grid.height,
        "width": grid.width,
        "n_slices": len(rows),
        "start": _start(places, wrong, chosen.kind),
        "slices": slices,
    }


def _start(places: Sequence[int] | np.ndarray, wrong: np.ndarray, kind: str) -> int:
    """The slice shown first: the worst of a bad scan, otherwise the middle one."""
    return int(np.argmax(wrong[places])) if kind == "worst" else len(places) // 2


def _result_of(line: CandidateScores, scan: str, case: str) -> TrialResult:
    for result in line.finished:
        if case in result.per_case:
            return result
    remedy = "remove the trial's directory and run the sweep again"
    raise RunError(f"{line.label}, {scan}", "a fold with its case", "none", remedy)


def _decimals(value: Any) -> float | None:
    return None if value is None or value != value else round(float(value), 3)
