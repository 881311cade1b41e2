"""Slices of the data that a run was made on, for pictures."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np

from gitract_core.data.cache import SliceCache, cache_directory
from gitract_core.data.native import picture
from gitract_core.data.slices import SliceIndex
from gitract_core.data.volumes import scan_size
from gitract_core.errors import DataError, RunError

if TYPE_CHECKING:
    from orchestrator.sweeps.run_directory import SweepRecord


def run_index(record: SweepRecord) -> SliceIndex:
    """The slice index of a run's data; read from this machine's cache where there is one.

    Raises:
        DataError: there is no cache and the data set is missing, faulty or another one.
    """
    for view in sorted({candidate.input.view for candidate in record.candidates}):
        directory = cache_directory(record.data_fingerprint, view, gray=record.gray)
        if directory.is_dir():
            with suppress(RunError):  # damaged: the data has it too
                return SliceCache.of(directory, record.data_directory, view).index
    index = SliceIndex.from_directory(record.data_directory, patients=record.patients)
    index = index.without(record.exclude)
    if index.fingerprint != record.data_fingerprint:
        expected = f"the run's data set {record.data_fingerprint}"
        raise DataError(record.data_directory, expected, index.fingerprint, "restore the data")
    return index


def gray_scan(index: SliceIndex, scan: str) -> np.ndarray:
    """A scan at native size, scaled as a whole to uint8 (slices, height, width).

    Raises:
        DataError: an image is missing or damaged.
    """
    rows = index.rows_of_scan(scan)
    scan_size(rows)
    return picture(index.root, rows, index.gray)


def fullest_slice(index: SliceIndex) -> tuple[str, int]:
    """The scan and place of the slice with the most organs, all of them large.

    Of the slices with the most organs the one whose smallest organ takes the largest share of the
    image; the first of equals.
    """
    table, counts = index.table, index.organ_counts
    rows = table[counts == counts.max()]
    areas = [[_area_px(text) for text in rows[organ]] for organ in index.organs]
    shares = np.array(areas, dtype=float) / (rows["height"] * rows["width"]).to_numpy()
    least = np.where(shares > 0, shares, np.inf).min(axis=0)  # absent organs do not count
    chosen = rows.iloc[int(np.argmax(least))]
    scan = str(chosen["scan"])
    place = int(np.flatnonzero(index.rows_of_scan(scan)["id"] == chosen["id"])[0])
    return scan, place


def scan_of_slice(index: SliceIndex, name: str) -> tuple[str, int]:
    """The scan of a slice, and the slice's place in it from 0.

    Raises:
        DataError: there is no such slice.
    """
    scans = index.table["scan"][index.table["id"] == name]
    if not len(scans):
        raise DataError("slice", "a slice of the data set", name, "pass the data of the run")
    scan = str(scans.iloc[0])
    return scan, index.rows_of_scan(scan)["id"].tolist().index(name)


def _area_px(run_lengths: str) -> int:
    return sum(map(int, run_lengths.split()[1::2]))
