"""Predictions as a submission: rows id, class and run-length text."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np

from gitract_core.data import rle
from gitract_core.data.slices import SliceIndex
from gitract_core.errors import DataError, RleError, suggestion
from gitract_core.prediction.rivals.predicted import Predicted, mask_shape, strange_scan
from gitract_core.prediction.submission import read_submission

Texts = Mapping[tuple[str, str], str]
"""Run-length text by slice and organ."""
_TEXTS = ("predicted", "segmentation")


def read_table(file: Path, index: SliceIndex) -> Predicted:
    """Predictions in a table with a row a slice and organ.

    A scan is predicted if it has any row; then it must have all of them.

    Raises:
        DataError: no such columns, a row twice or of no slice or organ, a row that is missing.
        SubmissionError: no table.
    """
    table = read_submission(file)
    text = next((name for name in _TEXTS if name in table.columns), None)
    if text is None or not {"id", "class"} <= set(table.columns):
        got = f"{', '.join(map(str, table.columns))!r:.80}"
        raise DataError(file, f"columns id, class and {' or '.join(_TEXTS)}", got, "name them so")
    scan_of = dict(zip(index.table["id"], index.table["scan"], strict=True))
    for name in table["id"][~table["id"].isin(list(scan_of))].head(1):
        raise strange_scan(file, f"slice {name}", index)
    for name in table["class"][~table["class"].isin(list(index.organs))].head(1):
        remedy = suggestion(name, index.organs)
        raise DataError(file, "organs of the run's data set", repr(name), remedy)
    twice = table.duplicated(["id", "class"])
    if twice.any():
        row = table[twice].iloc[0]
        raise DataError(f"{file}, id {row['id']}, {row['class']}", "one row", "two", "drop one")
    scans = frozenset(scan_of[name] for name in table["id"])
    texts = dict(zip(zip(table["id"], table["class"], strict=True), table[text], strict=True))
    _refuse_gaps(file, index, scans, texts)
    return Predicted(file, "submission", index, scans, partial(_decoded, file, index, texts))


def _refuse_gaps(file: Path, index: SliceIndex, scans: frozenset[str], texts: Texts) -> None:
    ids = index.table["id"][index.table["scan"].isin(list(scans))]
    missing = ((name, organ) for name in ids for organ in index.organs)
    for name, organ in (row for row in missing if row not in texts):
        remedy = "write a row of every slice and organ, with empty text for no mask"
        raise DataError(f"{file}, id {name}, {organ}", "a row", "none", remedy)


def _decoded(file: Path, index: SliceIndex, texts: Texts, scan: str) -> np.ndarray:
    rows = index.rows_of_scan(scan)
    masks: np.ndarray = np.zeros(mask_shape(index, rows), np.bool_)
    height, width = masks.shape[2:]
    for channel, organ in enumerate(index.organs):
        for place, name in enumerate(rows["id"]):
            text = texts[(name, organ)].strip()
            if text:
                try:
                    masks[channel, place] = rle.decode(text, height, width)
                except RleError as error:
                    raise error.within(f"{file}, id {name}, {organ}") from None
    return masks
