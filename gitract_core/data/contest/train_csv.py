"""The rows of ``train.csv`` (id, class, segmentation) as a table of masks: one row a slice.

The classes are the organs of the data set. An optional column ``state`` says ``drawn``, ``empty``
or ``unknown``; without it, and where it is blank, an empty field is an organ that is not there.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from gitract_core.data.annotation import State
from gitract_core.data.ids import SLICE_ID_PATTERN
from gitract_core.data.telling import Tell, stop
from gitract_core.errors import DataError, counted, suggestion
from gitract_core.organs import CONTEST, Organs

_STATES = tuple(state.name.lower() for state in State)
_WORDS = {1: "one row", 2: "two rows", 3: "three rows"}


@dataclass(frozen=True)
class MaskRows:
    """Masks of a data set.

    Attributes:
        masks: index id, one column an organ with its run-length text; empty text where there is
            no mask or it is not known.
        organs: those of the columns, in channel order.
        known: boolean (ids, organs); None where everything is known.
    """

    masks: pd.DataFrame
    organs: Organs
    known: np.ndarray | None


def rows_in_words(organs: Organs) -> str:
    """How many rows a slice has.

    >>> rows_in_words(CONTEST)
    'three rows'
    """
    return _WORDS.get(len(organs), counted(len(organs), "row"))


def read_annotations(path: Path, tell: Tell = stop) -> MaskRows:
    """The masks of ``train.csv``.

    Args:
        path: the file.
        tell: what to do with a faulty row; it is left out.

    Raises:
        DataError: unreadable file, missing column, a class that few slices have, bad id, a slice
            that has not exactly one row a class.
    """
    try:
        rows = pd.read_csv(path, engine="pyarrow", dtype_backend="numpy_nullable")
    except (OSError, ValueError) as error:
        first = str(error).splitlines()[0]
        raise DataError(path, "a CSV table", first, "restore the file") from None
    try:
        return wide_annotations(rows, path, tell)
    except UnicodeDecodeError as error:  # the reader leaves text undecoded until it is asked for
        raise DataError(path, "UTF-8 text", error, "save the file as UTF-8") from None


def wide_annotations(rows: pd.DataFrame, where: Path | str, tell: Tell = stop) -> MaskRows:
    """Rows id, class, segmentation and maybe state as masks by slice and organ.

    Args:
        rows: one row a slice and class; other columns are left alone.
        where: what errors name as the place.
        tell: what to do with a faulty row; it is left out.

    Raises:
        DataError: missing column, a class that few slices have, bad id, a slice that has not
            exactly one row a class, a state that its field contradicts.
    """
    for column in ("id", "class", "segmentation"):
        if column not in rows.columns:
            got = ", ".join(map(str, rows.columns))
            raise DataError(where, f"a column {column!r}", got, "restore the header")
    if not len(rows):
        raise DataError(where, "one row a slice and class", "no rows", "restore the file")
    names = [c for c in ("id", "class", "segmentation", "state") if c in rows.columns]
    rows = rows.assign(**{name: rows[name].astype("string").fillna("") for name in names})
    rows = _sound_rows(where, rows, tell)
    if not len(rows):
        raise DataError(where, "one row a slice and class", "no sound row", "restore the file")
    organs, rows = _organs_of(where, rows, tell)
    if "state" in names:
        _check_states(where, rows, tell)
        rows.loc[rows["state"] == "unknown", "segmentation"] = ""
    table = rows.pivot(index="id", columns="class", values="segmentation")[list(organs)]
    for name in table.index[table.isna().any(axis=1)]:
        expected = f"{rows_in_words(organs)}, one a class"
        tell(DataError(f"{where}, id {name}", expected, "fewer", "add rows with an empty field"))
    table = table.fillna("")
    masks = pd.DataFrame({o: table[o].to_numpy(dtype=object) for o in organs}, index=table.index)
    return MaskRows(masks, organs, _known(rows, organs) if "state" in names else None)


def _known(rows: pd.DataFrame, organs: Organs) -> np.ndarray | None:
    unknown = rows["state"] == "unknown"
    if not unknown.any():
        return None
    table = rows.assign(known=~unknown.to_numpy(bool)).pivot(
        index="id", columns="class", values="known"
    )
    return table[list(organs)].fillna(True).to_numpy(bool)


def _organs_of(where: Path | str, rows: pd.DataFrame, tell: Tell) -> tuple[Organs, pd.DataFrame]:
    """The contest's organs in its order where these are the classes, else as they appear.

    With the rows of these alone.
    """
    times = rows["class"].value_counts(sort=False)  # in order of appearance
    strange = times.index[2 * times < rows["id"].nunique()]
    others = [str(c) for c in times.index if c not in strange]
    of_those = rows["class"].isin(strange)
    for row, name in rows["class"][of_those].items():
        remedy = suggestion(name, others) if others else "give every slice a row of each class"
        tell(DataError(_row(where, row), "one row a class", repr(str(name)), remedy))
    rows = rows[~of_those] if len(strange) else rows
    classes = tuple(map(str, dict.fromkeys(rows["class"])))
    if set(classes) == set(CONTEST):
        return CONTEST, rows
    try:
        return Organs(classes), rows
    except DataError as error:
        raise error.within(where) from None


def _row(where: Path | str, row: object) -> str:
    """The place of a row in the file, whose header is row 1."""
    return f"{where}, row {int(str(row)) + 2}"


def _sound_rows(where: Path | str, rows: pd.DataFrame, tell: Tell) -> pd.DataFrame:
    """The rows without those of a bad id and repeated ones, which are told; numbered as before."""
    rows = rows.reset_index(drop=True)
    bad = ~rows["id"].str.fullmatch(SLICE_ID_PATTERN)
    for row, name in rows["id"][bad].items():
        tell(DataError(_row(where, row), "caseN_dayN_slice_NNNN", repr(str(name)), "mend the id"))
    rows = rows[~bad] if bad.any() else rows
    repeated = rows.duplicated(["id", "class"])
    for row, name, organ in rows.loc[repeated, ["id", "class"]].itertuples():
        got = f"{name}, {organ} again"
        tell(DataError(_row(where, row), "one row a slice and class", got, "remove one"))
    return rows[~repeated].copy() if repeated.any() else rows


def _check_states(where: Path | str, rows: pd.DataFrame, tell: Tell) -> None:
    """Tell each state that is none, or that the field beside it contradicts."""
    state, filled = rows["state"], rows["segmentation"] != ""
    for wrong, expected, remedy in (
        (~state.isin(["", *_STATES]), f"a state ({', '.join(_STATES)} or blank)", "mend the state"),
        ((state == "drawn") & ~filled, "a mask, as its state is drawn", "write empty or the mask"),
        ((state == "empty") & filled, "no mask, as its state is empty", "write drawn"),
    ):
        for row in rows.index[wrong]:
            got = f"{state[row]!r} with {'a mask' if filled[row] else 'no mask'}"
            tell(DataError(_row(where, row), expected, got, remedy))
