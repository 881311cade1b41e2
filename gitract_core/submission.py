"""Submissions: written whole or not at all, read strictly, checked row by row.

Columns ``id``, ``class``, ``predicted``; three rows a slice in the order of ``ORGANS``.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from gitract_core import rle
from gitract_core.errors import RleError, SubmissionError, suggestion
from gitract_core.files import replacing
from gitract_core.organs import ORGANS

COLUMNS = ("id", "class", "predicted")


@dataclass(frozen=True, slots=True)
class Fault:
    """Something wrong with a submission.

    Attributes:
        row: line of the file (the header is 1), or None if a row is missing.
        id: the slice's, or empty.
        message: what is wrong.
    """

    row: int | None
    id: str
    message: str

    def __str__(self) -> str:
        place = "" if self.row is None else f"row {self.row}, "
        return f"{place}{self.id or 'file'}: {self.message}"


def write_submission(path: Path, rows: Iterable[tuple[str, str, str]]) -> None:
    """Write rows (id, class, run-length text) as they come, atomically."""
    with replacing(path) as part, part.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(rows)


def read_submission(path: Path) -> pd.DataFrame:
    """A table of masks as text columns, empty text for empty fields.

    Raises:
        SubmissionError: unreadable.
    """
    try:
        return pd.read_csv(path, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        first = str(error).splitlines()[0]
        raise SubmissionError(path, "a CSV table", first, "check the path") from None


def check_submission(table: Path | pd.DataFrame, sizes: pd.DataFrame) -> list[Fault]:
    """Every fault, by row; an empty list if the submission is in order.

    Args:
        table: a submission or its file.
        sizes: columns ``id``, ``height``, ``width``, one row a slice in the expected order.

    Raises:
        SubmissionError: the file cannot be read.
    """
    rows = read_submission(table) if isinstance(table, Path) else table
    missing = [c for c in COLUMNS if c not in rows.columns]
    if missing:
        got = ", ".join(map(str, rows.columns))
        return [Fault(1, "", f"expected columns {', '.join(COLUMNS)}, got {got}")]
    texts = rows["predicted"].astype("object").where(rows["predicted"].notna(), "")
    size_of = {
        str(name): (int(h), int(w))
        for name, h, w in zip(sizes["id"], sizes["height"], sizes["width"], strict=True)
    }
    keys = list(zip(rows["id"].astype(str), rows["class"].astype(str), strict=True))
    faults = list(_row_faults(keys, [str(t) for t in texts], size_of))
    faults += _missing(set(keys), size_of)
    known = [key for key in keys if key[0] in size_of]
    expected = [(name, organ) for name in size_of for organ in ORGANS]
    if not faults and known != expected:
        place = next(i for i, (a, b) in enumerate(zip(known, expected, strict=True)) if a != b)
        faults.append(
            Fault(place + 2, known[place][0], f"out of order: expected {expected[place]}")
        )
    if len(rows) and not any(texts):
        faults.append(Fault(None, "", "every mask is empty"))
    return faults


def _row_faults(
    keys: list[tuple[str, str]], texts: list[str], size_of: dict[str, tuple[int, int]]
) -> Iterator[Fault]:
    seen: set[tuple[str, str]] = set()
    for row, (key, text) in enumerate(zip(keys, texts, strict=True), 2):
        name, organ = key
        if name not in size_of:
            yield Fault(row, name, "not a slice of these images")
        elif organ not in ORGANS:
            yield Fault(row, name, f"unknown class {organ!r}; {suggestion(organ, ORGANS)}")
        elif key in seen:
            yield Fault(row, name, f"{organ} a second time")
        else:
            seen.add(key)
            try:
                if text:
                    rle.decode(text, *size_of[name])
            except RleError as error:
                yield Fault(row, name, str(error))


def _missing(keys: set[tuple[str, str]], size_of: dict[str, tuple[int, int]]) -> list[Fault]:
    return [
        Fault(None, name, f"row of class {organ} is missing")
        for name in size_of
        for organ in ORGANS
        if (name, organ) not in keys
    ]
