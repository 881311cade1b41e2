"""Submissions: written whole or not at all, read strictly, checked row by row.

Columns ``id``, ``class``, ``predicted``; one row a slice and organ (three in the contest), in the
data set's order of organs.
"""

from __future__ import annotations

import csv
import lzma
import tarfile
import warnings
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from gitract_core.data import rle
from gitract_core.data.column_major import column_major_words
from gitract_core.errors import RleError, SubmissionError, one_line, suggestion
from gitract_core.files.atomic import replacing
from gitract_core.organs import CONTEST, Organs

if TYPE_CHECKING:
    Row = tuple[str, str]  # id and class
    Sizes = Mapping[str, tuple[int, int]]  # id -> (height, width), in the expected order

__all__ = [
    "COLUMNS",
    "Fault",
    "check_name",
    "check_submission",
    "read_submission",
    "summarize_submission",
    "write_submission",
]

COLUMNS = ("id", "class", "predicted")
_PACKED = (".gz", ".bz2", ".zip", ".xz", ".zst", ".tar")  # what pandas unpacks by the name
_UNREADABLE = (
    OSError,
    ValueError,
    pd.errors.ParserWarning,
    # of files that are compressed, or that their names say are
    EOFError,
    ImportError,
    RuntimeError,
    lzma.LZMAError,
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
)
_FIRST_LINE = 2  # the header is line 1


@dataclass(frozen=True, slots=True)
class Fault:
    """Something wrong with a submission.

    Attributes:
        row: line of the file (the header is 1), or None for a missing row or the whole file.
        id: the slice's, or empty.
        message: what is wrong.
    """

    row: int | None
    id: str
    message: str

    def __str__(self) -> str:
        place = "" if self.row is None else f"row {self.row}, "
        return one_line(f"{place}{self.id or 'file'}: {self.message}")


def check_name(path: Path) -> None:
    """Check that a submission can be written under a name, and read again.

    Raises:
        SubmissionError: the name says that the file is compressed; it will be plain text.
    """
    if path.suffix.lower() in _PACKED:
        raise SubmissionError(path, "a name such as submission.csv", path.suffix, "pass another")


def write_submission(path: Path, rows: Iterable[tuple[str, str, str]]) -> None:
    """Write rows (id, class, run-length text) as they come.

    The file appears when the last row is written; if ``rows`` fails, what was there before stays.
    """
    with replacing(path) as part, part.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(rows)


def read_submission(path: Path, *, blank_lines: bool = False) -> pd.DataFrame:
    """A table of masks as text columns, empty text for empty fields.

    Args:
        path: the file.
        blank_lines: keep them, as rows of empty fields, so that rows count as in the file.

    Raises:
        SubmissionError: unreadable, or not a table.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # rows longer than the header
            table = pd.read_csv(
                path,
                dtype=str,
                keep_default_na=False,
                index_col=False,
                skip_blank_lines=not blank_lines,
            )
    except _UNREADABLE as error:
        first = (str(error) or type(error).__name__).splitlines()[0]
        raise SubmissionError(path, "a CSV table", first, "check the path") from None
    return table.fillna("") if blank_lines else table


def check_submission(
    table: Path | str | pd.DataFrame, sizes: pd.DataFrame, *, organs: Organs = CONTEST
) -> list[Fault]:
    """Every fault, by row; an empty list if the submission is in order.

    Masks written column by column are noticed as a whole, if some slices are not square.

    Args:
        table: a submission or its file.
        sizes: columns ``id``, ``height``, ``width`` (pixels), one row a slice in the expected
            order.
        organs: the classes that each slice must have; the contest's by default.

    Raises:
        SubmissionError: the file cannot be read.
    """
    if not isinstance(table, pd.DataFrame):
        table = read_submission(Path(table), blank_lines=True)
    rows = table
    header = list(_header_faults([str(column) for column in rows.columns]))
    if not set(COLUMNS) <= set(rows.columns):
        return header
    size_of = {
        str(name): (int(height), int(width))
        for name, height, width in zip(sizes["id"], sizes["height"], sizes["width"], strict=True)
    }
    keys = list(zip(map(str, rows["id"]), map(str, rows["class"]), strict=True))
    texts = ["" if missing else text for text, missing in _with_missing(rows["predicted"])]
    by_row = [*_row_faults(keys, texts, size_of, organs), *_missing_rows(keys, size_of, organs)]
    by_row = by_row or list(_order_faults(keys, size_of, organs))
    return [*header, *by_row, *_whole_faults(keys, texts, size_of)]


def organs_of_submission(table: Path | str | pd.DataFrame) -> Organs:
    """The contest's organs if any of them is a class of the file, else its classes as they come.

    Raises:
        SubmissionError: the file cannot be read.
    """
    rows = table if isinstance(table, pd.DataFrame) else read_submission(Path(table))
    classes = dict.fromkeys(map(str, rows["class"])) if "class" in rows.columns else {}
    if not classes or set(classes) & set(CONTEST) or "" in classes:
        return CONTEST
    return Organs(tuple(classes))


def summarize_submission(
    table: Path | str | pd.DataFrame, *, organs: Organs = CONTEST
) -> dict[str, dict[str, float]]:
    """For each organ of a submission: rows, masks that are not empty, and their median area.

    Returns:
        class -> ``rows``, ``masks``, ``median_area_px`` (NaN without masks). Rows of bad run-length
        text count as empty.

    Raises:
        SubmissionError: the file cannot be read, or lacks a column.
    """
    rows = table if isinstance(table, pd.DataFrame) else read_submission(Path(table))
    if not set(COLUMNS) <= set(rows.columns):
        got = ", ".join(map(str, rows.columns))
        raise SubmissionError("submission", f"columns {', '.join(COLUMNS)}", got, "mend the header")
    texts = pd.Series([t for t, _ in _with_missing(rows["predicted"])], index=rows.index)
    found = {}
    for organ in organs:
        mine = texts[rows["class"] == organ]
        areas = [area for area in map(_area_px, mine[mine != ""]) if area]
        median = float(np.median(areas)) if areas else float("nan")
        found[organ] = {"rows": len(mine), "masks": len(areas), "median_area_px": median}
    return found


def _area_px(text: str) -> int:
    try:
        return rle.area(text)
    except RleError:
        return 0


def _with_missing(column: pd.Series[str]) -> Iterator[tuple[str, bool]]:
    return zip(column, column.isna(), strict=True)


def _header_faults(columns: Sequence[str]) -> Iterator[Fault]:
    if sorted(columns) != sorted(COLUMNS):
        yield Fault(1, "", f"expected columns {', '.join(COLUMNS)}, got {', '.join(columns)}")


def _row_faults(
    keys: Sequence[Row], texts: Sequence[str], size_of: Sizes, organs: Organs
) -> Iterator[Fault]:
    """At most one fault a row."""
    lines: dict[Row, int] = {}
    for line, (key, text) in enumerate(zip(keys, texts, strict=True), _FIRST_LINE):
        name, organ = key
        if not any((*key, text)):
            yield Fault(line, "", "an empty row")
        elif name not in size_of:
            yield Fault(line, name, "not a slice of these images")
        elif organ not in organs:
            yield Fault(line, name, f"unknown class {organ!r}; {suggestion(organ, organs)}")
        elif lines.setdefault(key, line) != line:
            yield Fault(line, name, f"{organ} a second time, first in row {lines[key]}")
        elif message := _text_fault(text, *size_of[name]):
            yield Fault(line, name, f"{organ}, {message}")


def _text_fault(text: str, height: int, width: int) -> str:
    try:
        rle.runs(text, height, width)
    except RleError as error:
        return str(error)
    return ""


def _missing_rows(keys: Sequence[Row], size_of: Sizes, organs: Organs) -> Iterator[Fault]:
    there = set(keys)
    for name in size_of:
        for organ in organs:
            if (name, organ) not in there:
                yield Fault(None, name, f"row of class {organ} is missing")


def _order_faults(keys: Sequence[Row], size_of: Sizes, organs: Organs) -> Iterator[Fault]:
    """The first row out of order, of a table with the right rows."""
    expected = ((name, organ) for name in size_of for organ in organs)
    for line, (key, wanted) in enumerate(zip(keys, expected, strict=True), _FIRST_LINE):
        if key != wanted:
            message = f"{key[1]} out of order: expected {', '.join(wanted)} here"
            yield Fault(line, key[0], message)
            return


def _whole_faults(keys: Sequence[Row], texts: Sequence[str], size_of: Sizes) -> Iterator[Fault]:
    """Faults that no row has alone."""
    if not keys:
        yield Fault(None, "", "no rows")
    elif not any(texts):
        yield Fault(None, "", "every mask is empty")
    sized = [
        (text, size_of[name])
        for (name, _), text in zip(keys, texts, strict=True)
        if name in size_of
    ]
    if words := column_major_words(sized):
        yield Fault(None, "", words)
