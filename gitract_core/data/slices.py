"""The slice index: one row a slice, from a contest folder or a bare folder of scans.

A **slice** is one image, a **scan** is one case-day, a **case** is one patient. Images lie at
``case123/case123_day20/scans/slice_0065_266_266_1.50_1.50.png``; the four numbers are width and
height in pixels and the pixel spacing along x and y in millimeters. The PNG itself decides on the
size; a name that says otherwise is an error.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from gitract_core.data.annotation import State
from gitract_core.data.png_header import read_png_header
from gitract_core.errors import DataError, suggestion
from gitract_core.organs import CONTEST, ORGANS, Organs

SLICE_THICKNESS_MM = 3.0
_ID = re.compile(r"case(\d{1,9})_day(\d{1,9})_slice_(\d{4,6})", re.ASCII)
_SCAN = re.compile(r"case(\d{1,9})_day(\d{1,9})", re.ASCII)
_FILE = re.compile(r"slice_(\d{4,6})_(\d{1,5})_(\d{1,5})_(\d+\.\d+)_(\d+\.\d+)\.png", re.ASCII)
IMAGE_COLUMNS = (
    "id",
    "case",
    "day",
    "slice",
    "scan",
    "path",
    "height",
    "width",
    "spacing_x_mm",
    "spacing_y_mm",
    "checksum",
)


@dataclass(frozen=True, slots=True, order=True)
class SliceKey:
    """What names a slice.

    >>> SliceKey.parse("case123_day20_slice_0065")
    SliceKey(case=123, day=20, slice=65)
    >>> SliceKey(123, 20, 65).id
    'case123_day20_slice_0065'
    """

    case: int
    day: int
    slice: int

    def __post_init__(self) -> None:
        if min(self.case, self.day) < 0 or self.slice < 1:
            expected = "case and day from 0, slice from 1"
            raise DataError("slice key", expected, self, "mend the id")

    @classmethod
    def parse(cls, text: str) -> SliceKey:
        """The key in an id of the contest.

        Raises:
            DataError: the text is not such an id.
        """
        match = _ID.fullmatch(text)
        if match is None:
            remedy = "mend the id"
            raise DataError("slice id", "caseN_dayN_slice_NNNN", repr(text), remedy)
        return cls(*(int(g) for g in match.groups()))

    @property
    def id(self) -> str:
        """The contest's id of the slice."""
        return f"{self.scan}_slice_{self.slice:04d}"

    @property
    def scan(self) -> str:
        """The name of the scan, ``case123_day20``."""
        return f"case{self.case}_day{self.day}"


@dataclass(frozen=True)
class SliceIndex:
    """All slices of a data set, in the order of case, day and slice number. Read only.

    Attributes:
        root: folder that the column ``path`` is relative to.
        table: one row a slice, columns ``IMAGE_COLUMNS``; if the data set is annotated, also one
            column an organ with its run-length text, empty for an empty mask.
    """

    root: Path
    table: pd.DataFrame

    def __post_init__(self) -> None:
        missing = [c for c in IMAGE_COLUMNS if c not in self.table.columns]
        if missing:
            raise DataError("slice index", f"columns {', '.join(missing)}", "none", "add them")
        if not len(self.table):
            remedy = "pass the folder that holds caseN/caseN_dayN/scans/*.png"
            raise DataError(self.root, "at least one slice image", "none", remedy)

    @classmethod
    def from_directory(cls, path: Path | str) -> SliceIndex:
        """The index of a contest folder, or of a bare folder of scans without masks.

        Args:
            path: a folder with ``train.csv`` and ``train/``, or any folder with
                ``caseN/caseN_dayN/scans/*.png`` below it.

        Raises:
            DataError: a missing folder, file, column or image, an unknown class, an image whose
                size is not the one in its name, a PNG that is cut short.
        """
        root = Path(path)
        if not root.is_dir():
            raise DataError(root, "a folder", "nothing there", "check the path")
        if not (root / "train.csv").is_file():
            if (root / "train").is_dir():
                raise DataError(root / "train.csv", "a file", "none", "add the annotations")
            return cls(root, _read_images(root, root))
        if not (root / "train").is_dir():
            raise DataError(root / "train", "a folder of cases", "none", "unpack the images")
        images = _read_images(root, root / "train")
        masks = read_annotations(root / "train.csv")
        return cls(root, _joined(root, images, masks))

    @property
    def organs(self) -> Organs:
        """The organs of the data set."""
        return CONTEST

    @cached_property
    def states(self) -> np.ndarray:
        """``State`` of each slice and organ, uint8 (slices, organs)."""
        drawn = (self.table[list(self.organs)] != "").to_numpy()
        return np.where(drawn, State.DRAWN, State.EMPTY).astype(np.uint8)

    @property
    def annotated(self) -> bool:
        """Whether the data set has masks."""
        return all(organ in self.table.columns for organ in ORGANS)

    @property
    def organ_counts(self) -> np.ndarray:
        """Number of organs in each slice, int (slices,), 0 to 3.

        Raises:
            DataError: the data set has no masks.
        """
        if not self.annotated:
            remedy = "pass a contest folder with train.csv and train/"
            raise DataError(self.root, "annotated slices", "images without masks", remedy)
        filled = (self.table[list(ORGANS)] != "").to_numpy()
        return np.asarray(filled.sum(axis=1), dtype=np.int64)

    @property
    def scans(self) -> list[str]:
        """Names of the scans in order."""
        return list(dict.fromkeys(self.table["scan"]))

    def rows_of_scan(self, scan: str) -> pd.DataFrame:
        """The slices of one scan in order.

        Raises:
            DataError: there is no such scan.
        """
        rows = self.table.iloc[self._rows_by_scan.get(scan, [])]
        if not len(rows):
            raise DataError("scan", "a scan of the data set", scan, suggestion(scan, self.scans))
        return rows

    def without(self, scans: Iterable[str]) -> SliceIndex:
        """The index without the named scans (known faulty ones, for example).

        Raises:
            DataError: a named scan is not in the index.
        """
        unknown = sorted(set(scans) - set(self.scans))
        if unknown:
            remedy = suggestion(unknown[0], self.scans)
            raise DataError("scans to exclude", "scans of the data set", unknown[0], remedy)
        kept = ~self.table["scan"].isin(list(scans))
        return SliceIndex(self.root, self.table[kept].reset_index(drop=True))

    @cached_property
    def fingerprint(self) -> str:
        """Content hash of ids, image checksums and masks; the folder's place does not count."""
        columns = ["id", "height", "width", "spacing_x_mm", "spacing_y_mm", "checksum"]
        columns += list(ORGANS) if self.annotated else []
        hasher = hashlib.sha256()
        for column in columns:
            hasher.update("\n".join(map(str, self.table[column])).encode())
            hasher.update(b"\0")
        return hasher.hexdigest()[:16]

    @cached_property
    def _rows_by_scan(self) -> dict[str, np.ndarray]:
        return {str(k): np.asarray(v) for k, v in self.table.groupby("scan").indices.items()}


def read_annotations(path: Path) -> pd.DataFrame:
    """The masks of ``train.csv``: index id, one column an organ, empty text for an empty mask.

    Raises:
        DataError: unreadable file, missing column, unknown class, bad id, a slice that has not
            exactly one row a class.
    """
    try:
        rows = pd.read_csv(path, engine="pyarrow", dtype_backend="numpy_nullable")
    except (OSError, ValueError) as error:
        first = str(error).splitlines()[0]
        raise DataError(path, "a CSV table", first, "restore the file") from None
    try:
        return wide_annotations(rows, path)
    except UnicodeDecodeError as error:  # the reader leaves text undecoded until it is asked for
        raise DataError(path, "UTF-8 text", error, "save the file as UTF-8") from None


def wide_annotations(rows: pd.DataFrame, where: Path | str) -> pd.DataFrame:
    """Rows id, class, segmentation as a table: index id, one column an organ, empty for no mask.

    Args:
        rows: three rows a slice; other columns are left alone.
        where: what errors name as the place.

    Raises:
        DataError: missing column, unknown class, bad id, a slice that has not exactly one row a
            class.
    """
    for column in ("id", "class", "segmentation"):
        if column not in rows.columns:
            got = ", ".join(map(str, rows.columns))
            raise DataError(where, f"a column {column!r}", got, "restore the header")
    text = {name: rows[name].astype("string").fillna("") for name in ("id", "segmentation")}
    rows = rows.assign(**text)
    _check_rows(where, rows)
    table = rows.pivot(index="id", columns="class", values="segmentation")
    absent = [organ for organ in ORGANS if organ not in table.columns]
    if absent:
        raise DataError(where, f"rows of class {absent[0]}", "none", "add three rows a slice")
    incomplete = table.index[table[list(ORGANS)].isna().any(axis=1)]
    if len(incomplete):
        place = f"{where}, id {incomplete[0]}"
        raise DataError(place, "three rows, one a class", "fewer", "add rows with an empty field")
    return pd.DataFrame({o: table[o].to_numpy(dtype=object) for o in ORGANS}, index=table.index)


def _check_rows(where: Path | str, rows: pd.DataFrame) -> None:
    """Raise for the first row of an unknown class, a repeated row or a bad id."""
    unknown = ~rows["class"].isin(ORGANS)
    if unknown.any():
        row = int(np.argmax(unknown.to_numpy()))
        name = str(rows["class"].iloc[row])
        place = f"{where}, row {row + 2}"
        raise DataError(place, "a known class", repr(name), suggestion(name, ORGANS))
    repeated = rows.duplicated(["id", "class"])
    if repeated.any():
        row = int(np.argmax(repeated.to_numpy()))
        got = f"{rows['id'].iloc[row]}, {rows['class'].iloc[row]} again"
        raise DataError(f"{where}, row {row + 2}", "one row a slice and class", got, "remove one")
    bad = ~rows["id"].str.fullmatch(_ID.pattern)
    if bad.any():
        row = int(np.argmax(bad.to_numpy()))
        got = repr(rows["id"].iloc[row])
        raise DataError(f"{where}, row {row + 2}", "caseN_dayN_slice_NNNN", got, "mend the id")


def _joined(root: Path, images: pd.DataFrame, masks: pd.DataFrame) -> pd.DataFrame:
    """Images with their masks; every image must have its rows and the other way round."""
    for ids, others, what in (
        (masks.index, images["id"], "an image of this slice below train/"),
        (images["id"], masks.index, "three rows of this slice in train.csv"),
    ):
        lonely = ids[~ids.isin(others)]
        if len(lonely):
            got = f"none ({len(lonely)} such slices)"
            remedy = "restore the missing files or rows"
            raise DataError(f"{root}, id {next(iter(lonely))}", what, got, remedy)
    ordered = masks.loc[images["id"]]
    return images.assign(**{organ: ordered[organ].to_numpy() for organ in ORGANS})


def _read_images(root: Path, tree: Path) -> pd.DataFrame:
    """One row an image below ``tree``, in the order of case, day and slice."""
    with ThreadPoolExecutor(max_workers=4) as pool:  # waits for the disk, not for the processor
        rows = list(pool.map(lambda f: _image_row(root, f), _find_images(tree), chunksize=256))
    table = pd.DataFrame(rows, columns=list(IMAGE_COLUMNS))
    repeated = table.duplicated("id")
    if repeated.any():
        path = table["path"][repeated].iloc[0]
        raise DataError(root / path, "one image a slice", "a second one", "remove one of them")
    return table.sort_values(["case", "day", "slice"], ignore_index=True)


def _find_images(tree: Path) -> Iterator[os.DirEntry[str]]:
    """Image files in folders ``scans`` at most three levels below ``tree``, also behind links."""
    pending = [(str(tree), 0)]
    while pending:
        folder, level = pending.pop()
        with os.scandir(folder) as entries:
            for entry in entries:
                if _is_folder(entry):
                    if level < 3:
                        pending.append((entry.path, level + 1))
                elif os.path.basename(folder) == "scans" and entry.name.endswith(".png"):
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
    place = (key.id, key.case, key.day, key.slice, key.scan, path)
    return (*place, height, width, *spacing, header.checksum)
