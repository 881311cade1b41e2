"""Scores of a trial as tables: sums by case in ``result.json``, every row in ``scores.parquet``.

A score of any set of cases follows from sums and counts, so nothing is ever a mean of means.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pandas.api.types import is_numeric_dtype
from pyarrow import ArrowException, parquet

from gitract_core.data.slices import SliceIndex
from gitract_core.errors import RunError, counted
from gitract_core.files.atomic import replacing
from gitract_core.files.digests import Stamp
from gitract_core.metrics.scan_score import ScanScore, row_dice
from gitract_core.metrics.score import COMPETITION, Score
from gitract_core.organs import CONTEST, Organs

_MOST_ROWS = 2**23  # 60 times those of a fold of the contest
_WORDS = ("level", "id", "class")
_NUMBERS = ("intersection_px", "prediction_px", "truth_px", "dice", "hausdorff")
_ID = r"[A-Za-z0-9._-]{1,80}"


def per_case_sums(
    scores: Mapping[str, ScanScore], case_of: Mapping[str, str], *, score: Score = COMPETITION
) -> dict[str, dict[str, list[float]]]:
    """Sums and counts by case and, inside, by organ in the data set's order.

    Args:
        scores: by scan name.
        case_of: the case of each scan.
        score: what is summed; its columns are the keys.
    """
    cases: dict[str, dict[str, list[float]]] = {}
    for scan, scored in scores.items():
        found = score.count(scored).T  # (columns, organs)
        blank = {name: [0.0] * found.shape[1] for name in score.columns}
        sums = cases.setdefault(case_of[scan], blank)
        for name, values in zip(score.columns, found, strict=True):
            sums[name] = [a + float(b) for a, b in zip(sums[name], values, strict=True)]
    return cases


def read_scores(
    path: Path, *, organs: Organs = CONTEST, stamp: Stamp | None = None
) -> pd.DataFrame:
    """What ``write_scores`` wrote.

    Args:
        path: the file.
        organs: of the data set.
        stamp: what the trial's result says of the file.

    Raises:
        RunError: unreadable, not such a table, or changed since it was written.
    """
    if stamp:
        stamp.check(path, "remove the trial's directory and run the sweep again")
    try:
        rows = parquet.read_metadata(path).num_rows
        if not 0 < rows <= _MOST_ROWS:
            raise ValueError(counted(rows, "row"))
        table = pd.read_parquet(path, columns=[*_WORDS, *_NUMBERS])
        for name in _NUMBERS:
            if not is_numeric_dtype(table[name]):
                raise ValueError(f"{name} that are no numbers")
        if not (table["class"].isin(list(organs)) & table["level"].isin(("slice", "scan"))).all():
            raise ValueError("an unknown class or level")
        if not table["id"].astype("string").fillna("").str.fullmatch(_ID, flags=re.ASCII).all():
            raise ValueError("an id that names no slice and no scan")
    except (OSError, ValueError, TypeError, KeyError, ArrowException) as error:
        remedy = "run the trial again"
        raise RunError(path, "a trial's scores", error, remedy) from None
    return table


def write_scores(path: Path, scores: Mapping[str, ScanScore], index: SliceIndex) -> None:
    """Write ``scores.parquet``, one row a (slice, class) and a (scan, class), atomically.

    Columns: ``level`` (slice or scan), ``id``, ``class``, ``intersection_px``, ``prediction_px``,
    ``truth_px``, ``dice`` and, for scans, ``hausdorff`` (normalized distance, 0 to 1).
    """
    tables: list[dict[str, Any]] = []
    for scan, score in scores.items():
        ids = index.rows_of_scan(scan)["id"].to_numpy()
        dice = row_dice(score)
        for channel, organ in enumerate(index.organs):
            counts = {
                "intersection_px": score.intersection_px[channel],
                "prediction_px": score.prediction_px[channel],
                "truth_px": score.truth_px[channel],
            }
            tables.append({"level": "slice", "id": ids, "class": organ, **counts})
            tables[-1] |= {"dice": dice[channel], "hausdorff": np.nan}
            total = {name: [int(values.sum())] for name, values in counts.items()}
            tables.append({"level": "scan", "id": [scan], "class": organ, **total})
            tables[-1] |= {"dice": np.nan, "hausdorff": float(score.hausdorff[channel])}
    table = pd.concat([pd.DataFrame(t) for t in tables], ignore_index=True)
    with replacing(path) as part:
        table.to_parquet(part, index=False)
