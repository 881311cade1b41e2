"""Dice by place in the scan and by size of the image, from every slice's own score."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from gitract_core.errors import DataError, RunError
from gitract_core.organs import ORGANS
from gitract_core.results.score_table import read_scores
from orchestrator.report.run_slices import run_index
from orchestrator.results.leaderboard import CandidateScores
from orchestrator.sweeps.run_directory import SweepDirectory, SweepRecord

TENTHS = 10
ScoreTables = dict[str, pd.DataFrame]
"""By label: rows of ``scores.parquet`` of all finished folds."""


def score_tables(
    directory: SweepDirectory, shown: Sequence[CandidateScores], left_out: list[str]
) -> ScoreTables:
    """The slices' and scans' scores of some candidates.

    Args:
        directory: the run.
        shown: whose; those without a readable fold are left out.
        left_out: gets a line for each table that cannot be read.
    """
    tables: ScoreTables = {}
    for line in shown:
        parts = []
        for result in line.finished:
            try:
                parts.append(read_scores(directory.trial(result.spec).scores))
            except RunError as error:
                left_out.append(str(error))
        if parts:
            tables[line.label] = pd.concat(parts, ignore_index=True)
    return tables


def place_values(
    record: SweepRecord, tables: ScoreTables, left_out: list[str]
) -> list[dict[str, Any]]:
    """For each candidate its Dice by tenth of the scan and by size of the image.

    Sizes are left out, with the reason, where neither the data set nor a cache of it is there.
    """
    sizes: pd.Series | None = None
    try:
        sizes = slice_sizes(run_index(record).table)
    except (DataError, RunError) as error:
        left_out.append(str(error))
    values = []
    for label, table in tables.items():
        slices = table[table["level"] == "slice"]
        tenths = scan_tenths(slices["id"])
        by_tenth = {organ: _profile(slices, tenths, range(TENTHS), organ) for organ in ORGANS}
        known = sorted(set(sizes)) if sizes is not None else []
        of_slice = sizes.reindex(slices["id"]).to_numpy() if sizes is not None else tenths
        by_size = {organ: _profile(slices, of_slice, known, organ) for organ in ORGANS}
        values.append({"label": label, "tenths": by_tenth, "sizes": known, "by_size": by_size})
    return values


def scan_tenths(ids: pd.Series) -> np.ndarray:
    """The tenth of its scan, 0 to 9, in which each slice lies.

    Args:
        ids: of slices; every slice of a scan must be there, once an organ or oftener.

    Returns:
        int (rows,).
    """
    unique = pd.Series(sorted(set(ids)))  # numbers are padded with zeros
    scans = unique.str.rpartition("_slice_")[0]
    group = unique.groupby(scans)
    relative = (group.cumcount() + 0.5) / group.transform("size")
    tenth = pd.Series((relative * TENTHS).astype(int).to_numpy(), index=unique)
    return tenth.loc[ids].to_numpy()


def slice_sizes(table: pd.DataFrame) -> pd.Series:
    """Height, width and pixel spacing of each slice as text, by id.

    Args:
        table: of a ``SliceIndex``.
    """
    text = table["height"].astype(str) + " x " + table["width"].astype(str)
    spacing = table["spacing_x_mm"].map("{:.2f}".format)
    return pd.Series((text + ", " + spacing + " mm").to_numpy(), index=table["id"].to_numpy())


def _profile(
    slices: pd.DataFrame, group: np.ndarray, wanted: Sequence[Any], organ: str
) -> list[list[float | int | None]]:
    """Mean Dice and number of rows (not empty on both sides) of each wanted group."""
    chosen = (slices["class"] == organ).to_numpy()
    dice = slices["dice"].to_numpy()[chosen]
    stats = pd.Series(dice).groupby(group[chosen]).agg(["mean", "count"])
    profile: list[list[float | int | None]] = []
    for key in wanted:
        mean, count = stats.loc[key] if key in stats.index else (float("nan"), 0)
        profile.append([round(float(mean), 4) if count else None, int(count)])
    return profile
