"""Every fault of a data set whose index could be read: images that do not decode, bad masks."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from gitract_core.data import rle
from gitract_core.data.images import read_image
from gitract_core.data.native import native_scan
from gitract_core.data.volumes import scan_size
from gitract_core.errors import DataError, RleError
from gitract_core.processors import usable_processors
from gitract_core.progress import Progress, silent

if TYPE_CHECKING:
    import pandas as pd

    from gitract_core.data.slices import SliceIndex


def data_faults(index: SliceIndex, progress: Progress = silent) -> list[str]:
    """One line a fault, in the order of the index; every image and mask is decoded.

    Args:
        index: what to look through.
        progress: called with (scans done, all scans).
    """
    faults: list[str] = []
    if index.annotated:
        try:
            index.refuse_without_masks()
        except DataError as error:
            faults.append(str(error))
    with ThreadPoolExecutor(usable_processors()) as pool:
        found = pool.map(lambda scan: _scan_faults(index, index.rows_of_scan(scan)), index.scans)
        for done, lines in enumerate(found, 1):
            faults += lines
            progress(done, len(index.scans))
    return faults


def _scan_faults(index: SliceIndex, rows: pd.DataFrame) -> list[str]:
    faults: list[str] = []
    try:
        scan_size(rows)
    except DataError as error:
        faults.append(str(error))
    of_slices = str(rows["path"].iloc[0]).endswith(".png")
    if not of_slices:  # masks were read with the index
        try:
            native_scan(index.root, rows)
        except DataError as error:
            faults.append(str(error))
    for row in rows.to_dict("records") if of_slices else ():
        height, width = int(row["height"]), int(row["width"])
        try:
            read_image(index.root / row["path"], height, width)
        except DataError as error:
            faults.append(str(error))
        for organ in index.organs if index.annotated else ():
            try:
                rle.decode(row[organ], height, width)
            except RleError as error:
                faults.append(str(error.within(f"train.csv, id {row['id']}, {organ}")))
    return faults
