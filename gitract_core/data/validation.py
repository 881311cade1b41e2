"""Every fault of a data set: of its files and tables, images that do not decode, bad masks."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from gitract_core.data import rle
from gitract_core.data.column_major import column_major_words
from gitract_core.data.contest.images import other_images
from gitract_core.data.contest.reading import NO_IMAGE, read_contest_data
from gitract_core.data.images import read_image
from gitract_core.data.layouts.detecting import layout_of
from gitract_core.data.native import native_scan
from gitract_core.data.scan_table_faults import depth_faults, gap_fault, gap_of, spacing_faults
from gitract_core.data.slices import SliceIndex
from gitract_core.data.volumes import scan_size
from gitract_core.errors import DataError, FaultyDataError, RleError, counted
from gitract_core.processors import usable_processors
from gitract_core.progress import Progress, silent

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Findings:
    """What was found in a data set.

    Attributes:
        index: of what could be read; None if nothing could.
        faults: one line each.
        notes: what is unusual and no fault, one line each.
    """

    index: SliceIndex | None
    faults: tuple[str, ...]
    notes: tuple[str, ...] = ()


def find_faults(path: Path, patients: str | None = None, progress: Progress = silent) -> Findings:
    """Every fault of a data set, in the order of files, tables and slices.

    Args:
        path: its folder.
        patients: see ``SliceIndex.from_directory``.
        progress: called with (scans done, all scans).

    Raises:
        DataError: there is no folder, or nothing in it that could be a data set.
    """
    told: list[DataError] = []
    index: SliceIndex | None = None
    try:
        if path.is_dir() and patients is None and layout_of(path) == "contest":
            found = read_contest_data(path, told.append)
            told += [
                DataError(file, "a PNG image", file.suffix, "convert it, or take it out")
                for file in other_images(path / "train" if (path / "train").is_dir() else path)
            ]
            if len(found.table) or not told:
                index = SliceIndex(path, found.table, found.organs, found.known, found.scan_columns)
        else:
            index = SliceIndex.from_directory(path, patients=patients)
    except FaultyDataError as error:
        told += error.faults
    except DataError as error:
        if not told and not _holds_anything(path):
            raise
        told.append(error)
    told, missing = _without_consequences(told)
    faults = [str(error) for error in told]
    if index is not None:
        faults += data_faults(index, progress, told_missing=missing)
    return Findings(index, tuple(faults), tuple(_notes(index)) if index else ())


def _without_consequences(told: list[DataError]) -> tuple[list[DataError], frozenset[str]]:
    """The faults without what follows from others, and the ids of slices that they cost.

    A slice whose image is at fault seems to be missing beside its rows, and in its scan.
    """
    faulty = {name for error in told if (name := _slice_of(error.args[0]))}
    lonely = {e: str(e.args[0]).rpartition(", id ")[2] for e in told if e.args[1] == NO_IMAGE}
    kept = [error for error in told if lonely.get(error) not in faulty]
    return kept, frozenset(faulty) | frozenset(lonely.values())


def _slice_of(where: object) -> str:
    """The slice that a file of images was likely meant to be; empty for other places."""
    if not isinstance(where, Path | str) or Path(where).parent.name != "scans":
        return ""
    number = re.search(r"\d+", Path(where).name)
    return f"{Path(where).parent.parent.name}_slice_{int(number[0]):04d}" if number else ""


def _holds_anything(path: Path) -> bool:
    """Whether a folder was meant as a data set: it has images or a table of masks."""
    return (path / "train.csv").exists() or (path / "train").exists()


def _notes(index: SliceIndex) -> list[str]:
    gaps = [gap_of(scan, index.rows_of_scan(scan)["slice"].to_numpy()) for scan in index.scans]
    sparse = [gap for gap in gaps if gap is not None and gap.is_sparse]
    lines: list[str] = []
    if index.layout != "contest":
        patients = counted(index.table["case"].nunique(), "patient")
        lines = [f"read as {index.layout}, {patients}", *index.assumed]
    if index.annotated:
        absent = [organ for organ in index.organs if not (index.table[organ] != "").any()]
        lines += [f"no scan holds {', '.join(absent)}"] if absent else []
    if not sparse:
        return lines
    scans = f"{counted(len(sparse), 'scan')} {'has' if len(sparse) == 1 else 'have'}"
    words = f"fewer slices than gaps between them ({sparse[0].scan}): chosen slices?"
    return [*lines, scans + " " + words]


def data_faults(
    index: SliceIndex,
    progress: Progress = silent,
    *,
    told_missing: frozenset[str] = frozenset(),
) -> list[str]:
    """One line a fault, in the order of the index; every image and mask is decoded.

    Args:
        index: what to look through.
        progress: called with (scans done, all scans).
        told_missing: ids of slices of which it is known that they are missing.
    """
    faults: list[str] = []
    if index.annotated:
        try:
            index.refuse_without_masks()
        except DataError as error:
            faults.append(str(error))
        faults += _column_major(index)
    with ThreadPoolExecutor(usable_processors()) as pool:
        found = pool.map(
            lambda scan: _scan_faults(index, index.rows_of_scan(scan), told_missing), index.scans
        )
        for done, lines in enumerate(found, 1):
            faults += lines
            progress(done, len(index.scans))
    return faults


def _column_major(index: SliceIndex) -> list[str]:
    sizes = zip(index.table["height"], index.table["width"], strict=True)
    sized = [(int(height), int(width)) for height, width in sizes]
    texts = [pair for organ in index.organs for pair in zip(index.table[organ], sized, strict=True)]
    words = column_major_words(texts)
    return [f"{index.root / 'train.csv'}: {words}"] if words else []


def _scan_faults(index: SliceIndex, rows: pd.DataFrame, told_missing: frozenset[str]) -> list[str]:
    faults: list[str] = []
    try:
        scan_size(rows)
    except DataError as error:
        faults.append(str(error))
    faults += map(str, spacing_faults(index.root, rows))
    scan = str(rows["scan"].iloc[0])
    gap = gap_of(scan, rows["slice"].to_numpy())
    if gap and not gap.is_sparse:
        new = [n for n in gap.missing if f"{scan}_slice_{n:04d}" not in told_missing]
        faults += [str(gap_fault(replace(gap, missing=tuple(new))))] if new else []
    of_slices = str(rows["path"].iloc[0]).lower().endswith(".png")
    if of_slices:
        return faults + _slice_faults(index, rows)
    try:  # masks were read with the index
        native_scan(index.root, rows)
    except DataError as error:
        faults.append(str(error))
    return faults


def _slice_faults(index: SliceIndex, rows: pd.DataFrame) -> list[str]:
    """Faults of a scan whose slices are files of their own."""
    faults: list[str] = []
    bits: list[tuple[Path, int]] = []
    lows, highs = set(), set()
    for row in rows.to_dict("records"):
        height, width = int(row["height"]), int(row["width"])
        file = index.root / row["path"]
        try:
            image = read_image(file, height, width)
            bits.append((file, 8 * image.dtype.itemsize))
            lows.add(int(image.min()))
            highs.add(int(image.max()))
        except DataError as error:
            faults.append(str(error))
        for organ in index.organs if index.annotated else ():
            try:
                rle.decode(row[organ], height, width)
            except RleError as error:
                faults.append(str(error.within(f"train.csv, id {row['id']}, {organ}")))
    if lows and min(lows) == max(highs):
        got = f"the value {min(lows)} in all pixels"
        scan = str(rows["scan"].iloc[0])
        faults.append(str(DataError(scan, "a scan with contrast", got, "exclude the scan")))
    return faults + [str(error) for error in depth_faults(bits)]
