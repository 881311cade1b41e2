"""Images of the contest's layout: one row a PNG, from names and headers alone.

Images lie at ``case123/case123_day20/scans/slice_0065_266_266_1.50_1.50.png``; the four numbers are
width and height in pixels and the pixel spacing along x and y in millimeters. The PNG itself
decides on the size; a name that says something else is an error.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd

from gitract_core.data.ids import SliceKey, natural_key
from gitract_core.data.png_header import read_png_header
from gitract_core.data.telling import Tell, stop
from gitract_core.errors import DataError

_SCAN = re.compile(r"case(\d{1,9})_day(\d{1,9})", re.ASCII)
_FILE = re.compile(
    r"slice_(\d{4}|[1-9]\d{4,5})_(\d{1,5})_(\d{1,5})_(\d+\.\d+)_(\d+\.\d+)\.(?i:png)", re.ASCII
)
_OTHER_IMAGES = (".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".gif", ".webp", ".dcm")
IMAGE_COLUMNS = (
    "id",
    "case",
    "slice",
    "scan",
    "path",
    "height",
    "width",
    "spacing_x_mm",
    "spacing_y_mm",
    "checksum",
)
"""What is known of every slice. ``case`` (the patient), ``scan`` and ``id`` are text."""


def in_order(table: pd.DataFrame) -> pd.DataFrame:
    """Rows of slices by scan, in natural order, and number of the slice."""
    scans = {scan: n for n, scan in enumerate(sorted(set(table["scan"]), key=natural_key))}
    ranks = table["scan"].map(scans).to_numpy()
    return table.iloc[np.lexsort((table["slice"].to_numpy(), ranks))].reset_index(drop=True)


def read_images(root: Path, tree: Path, tell: Tell = stop) -> pd.DataFrame:
    """One row an image below ``tree``, columns ``IMAGE_COLUMNS``, in the order of scan and slice.

    Hidden files (``._x.png``, which some systems add) are not looked at.

    Args:
        root: folder that paths are relative to.
        tree: folder that holds the images.
        tell: what to do with a fault; a faulty image has no row.

    Raises:
        DataError: a name that is none of the layout, a second image of a slice, a damaged header.
    """

    def one(file: os.DirEntry[str]) -> tuple[object, ...] | DataError:
        try:
            return _image_row(root, file)
        except DataError as error:
            return error

    files = _find_images(tree) if tell is stop else sorted(_find_images(tree), key=_natural_path)
    rows = []
    with ThreadPoolExecutor(max_workers=4) as pool:  # waits for the disk, not for the processor
        for row in pool.map(one, files, chunksize=256):
            if isinstance(row, DataError):
                tell(row)
            else:
                rows.append(row)
    table = pd.DataFrame(rows, columns=list(IMAGE_COLUMNS))
    repeated = table.duplicated("id")
    for path in table["path"][repeated]:
        tell(DataError(root / path, "one image a slice", "a second one", "remove one of them"))
    return in_order(table[~repeated])


def other_images(tree: Path) -> list[Path]:
    """Files beside the slices that are images of another kind, which nothing reads."""
    found = (Path(f.path) for f in _files_of_scans(tree))
    return sorted(f for f in found if f.suffix.lower() in _OTHER_IMAGES)


def _natural_path(file: os.DirEntry[str]) -> tuple[tuple[str | int, ...], str]:
    return natural_key(file.path)


def _find_images(tree: Path) -> Iterator[os.DirEntry[str]]:
    return (f for f in _files_of_scans(tree) if f.name.lower().endswith(".png"))


def _files_of_scans(tree: Path) -> Iterator[os.DirEntry[str]]:
    """Files in folders ``scans`` at most three levels below ``tree``, also behind links."""
    pending = [(str(tree), 0)]
    while pending:
        folder, level = pending.pop()
        with os.scandir(folder) as entries:
            for entry in entries:
                if _is_folder(entry):
                    if level < 3:
                        pending.append((entry.path, level + 1))
                elif os.path.basename(folder) == "scans" and not entry.name.startswith("."):
                    yield entry


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether to look inside; a link that leads nowhere is not left out silently."""
    try:
        if entry.is_symlink():
            entry.stat()
        return entry.is_dir()
    except OSError as error:  # a link to itself, for example
        remedy = "mend or remove it"
        raise DataError(entry.path, "a folder or a file", error.strerror, remedy) from None


def _image_row(root: Path, file: os.DirEntry[str]) -> tuple[object, ...]:
    """One row of the index, from a file's name, its folder's name and its header."""
    match = _FILE.fullmatch(file.name)
    scan = os.path.basename(os.path.dirname(os.path.dirname(file.path)))
    in_scan = _SCAN.fullmatch(scan)
    if match is None or in_scan is None:
        expected = "caseN_dayN/scans/slice_NNNN_WIDTH_HEIGHT_X.XX_Y.YY.png"
        raise DataError(file.path, expected, "another name", "rename or remove the file")
    number, width, height = (int(g) for g in match.groups()[:3])
    try:
        key = SliceKey(int(in_scan[1]), int(in_scan[2]), number)
    except DataError as error:
        raise error.within(file.path) from None
    header = read_png_header(file.path)
    if (header.height, header.width) != (height, width):
        expected = f"height {height} and width {width}, as its name says (_width_height_)"
        got = f"height {header.height} and width {header.width}"
        raise DataError(file.path, expected, got, "rename the file or restore the image")
    path = os.path.relpath(file.path, root)
    spacing = (float(match[4]), float(match[5]))
    place = (key.id, str(key.case), key.slice, key.scan, path)
    return (*place, height, width, *spacing, header.checksum)
