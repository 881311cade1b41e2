"""Dice by place in the scan and by size of the image, from every slice's own score."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from gitract_core.errors import DataError, RunError
from gitract_core.organs import Organs
from gitract_core.results.score_table import read_scores
from orchestrator.report.run_slices import run_index
from orchestrator.results.candidate_scores import CandidateScores
from orchestrator.results.leaderboard import Leaderboard
from orchestrator.sweeps.run_directory import SweepDirectory

TENTHS = 10
ScoreTables = dict[str, pd.DataFrame]
"""By label: rows of ``scores.parquet`` of all finished folds."""


def score_tables(
    directory: SweepDirectory,
    shown: Sequence[CandidateScores],
    organs: Organs,
    left_out: list[str],
) -> ScoreTables:
    """The slices' and scans' scores of some candidates.

    Args:
        directory: the run.
        shown: whose; those without a readable fold are left out.
        organs: of the data set.
        left_out: gets a line for each table that cannot be read.
    """
    tables: ScoreTables = {}
    for line in shown:
        parts = []
        for result in line.finished:
            try:
                file = directory.trial(result.spec).scores
                parts.append(read_scores(file, organs=organs, stamp=result.stamp(file)))
            except RunError as error:
                left_out.append(str(error))
        if parts:
            tables[line.label] = pd.concat(parts, ignore_index=True)
    return tables


def place_values(
    board: Leaderboard, tables: ScoreTables, left_out: list[str]
) -> list[dict[str, Any]]:
    """For each candidate its Dice by tenth of the scan and by size of the image.

    Sizes are left out, with the reason, where neither the data set nor a cache of it is there.
    """
    sizes: pd.Series | None = None
    index: pd.DataFrame | None = None
    try:
        index = run_index(board.record).table
        sizes = slice_sizes(index)
    except (DataError, RunError) as error:
        left_out.append(str(error))
    values = []
    for label, table in tables.items():
        slices = table[table["level"] == "slice"]
        tenths = scan_tenths(slices["id"], index)
        by_tenth = _profiles(slices, tenths, range(TENTHS), board.organs)
        known = sorted(set(sizes)) if sizes is not None else []
        of_slice = sizes.reindex(slices["id"]).to_numpy() if sizes is not None else tenths
        by_size = _profiles(slices, of_slice, known, board.organs)
        values.append({"label": label, "tenths": by_tenth, "sizes": known, "by_size": by_size})
    return values


def scan_tenths(ids: pd.Series, index: pd.DataFrame | None = None) -> np.ndarray:
    """The tenth of its scan, 0 to 9, in which each slice lies.

    Args:
        ids: of slices; each slice of a scan must occur at least once.
        index: table of the ``SliceIndex``; without it ids must be written as the contest's are.

    Returns:
        int (rows,).
    """
    place = index_places(index)
    unique = pd.Series(sorted(set(ids), key=lambda name: (place.get(name, -1), name)))
    group = unique.groupby(scans_of(unique, index))
    relative = (group.cumcount() + 0.5) / group.transform("size")
    tenth = pd.Series((relative * TENTHS).astype(int).to_numpy(), index=unique)
    return tenth.loc[ids].to_numpy()


def index_places(index: pd.DataFrame | None) -> dict[str, int]:
    """Row of each slice in a ``SliceIndex``'s table; without it, none is known."""
    return {} if index is None else {name: row for row, name in enumerate(index["id"])}


def scans_of(ids: pd.Series, index: pd.DataFrame | None = None) -> pd.Series:
    """The scan of each slice, by the index or, without it, as the contest writes ids."""
    written = ids.str.rpartition("_slice_")[0]
    if index is None:
        return written
    return ids.map(dict(zip(index["id"], index["scan"], strict=True))).fillna(written)


def slice_sizes(table: pd.DataFrame) -> pd.Series:
    """Height, width and pixel spacing of each slice as text, by id.

    Args:
        table: of a ``SliceIndex``.
    """
    text = table["height"].astype(str) + " x " + table["width"].astype(str)
    spacing = table["spacing_x_mm"].map("{:.2f}".format)
    return pd.Series((text + ", " + spacing + " mm").to_numpy(), index=table["id"].to_numpy())


Profile = list[list[float | int | None]]


def _profiles(
    slices: pd.DataFrame, group: np.ndarray, groups: Sequence[Any], organs: Organs
) -> dict[str, Profile]:
    """By organ: mean Dice and number of rows (not empty on both sides) of each of the groups."""
    keys = [slices["class"].to_numpy(), group]
    stats = pd.Series(slices["dice"].to_numpy()).groupby(keys).agg(["mean", "count"])
    means = {key: (mean, int(count)) for key, mean, count in stats.itertuples()}
    profiles: dict[str, Profile] = {}
    for organ in organs:
        cells = [means.get((organ, key), (float("nan"), 0)) for key in groups]
        profiles[organ] = [[round(float(m), 4) if count else None, count] for m, count in cells]
    return profiles
