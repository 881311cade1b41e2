"""The competition score: 0.4 x mean Dice + 0.6 x mean (1 - normalized 3D Hausdorff distance).

Dice is one value a (slice, class) row, the Hausdorff distance one value a (scan, class) volume,
stacked in slice order with depth 1. Sums and counts are pooled over everything that is scored,
never averaged twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from gitract_core import rle
from gitract_core.errors import RleError, SubmissionError, suggestion
from gitract_core.metrics.hausdorff import HausdorffNorm, normalized_hausdorff
from gitract_core.metrics.overlap import check_shapes
from gitract_core.organs import N_ORGANS, ORGANS

EmptyRule = Literal["skip", "one", "zero"]
_DICE_SHARE, _HAUSDORFF_SHARE = 0.4, 0.6


@dataclass(frozen=True)
class ScanScore:
    """One scan, counted.

    Attributes:
        intersection_px, prediction_px, truth_px: int (organs, slices), pixels of each row.
        hausdorff: float (organs,), normalized distance; NaN where both sides are empty.
    """

    intersection_px: np.ndarray
    prediction_px: np.ndarray
    truth_px: np.ndarray
    hausdorff: np.ndarray


@dataclass(frozen=True)
class CompetitionScore:
    """The score and what it consists of.

    Attributes:
        dice: mean over rows.
        hausdorff: mean over volumes of 1 - normalized distance; higher is better.
        score: 0.4 dice + 0.6 hausdorff.
        per_class: the three figures by class.
        rows, volumes: how many (slice, class) and (scan, class) were counted.
    """

    dice: float
    hausdorff: float
    score: float
    per_class: dict[str, dict[str, float]]
    rows: int
    volumes: int

    def to_json(self) -> dict[str, Any]:
        """The attributes by name."""
        return dict(self.__dict__)


def score_scan(
    prediction: np.ndarray, truth: np.ndarray, hausdorff_norm: HausdorffNorm = "diagonal"
) -> ScanScore:
    """Count one scan.

    Args:
        prediction: boolean (organs, slices, height, width).
        truth: boolean, of the same shape.
        hausdorff_norm: see ``normalized_hausdorff``.

    Raises:
        DataError: shapes differ.
    """
    p, t = check_shapes(prediction, truth)
    return ScanScore(
        np.count_nonzero(p & t, axis=(2, 3)),
        np.count_nonzero(p, axis=(2, 3)),
        np.count_nonzero(t, axis=(2, 3)),
        np.array([normalized_hausdorff(p[c], t[c], hausdorff_norm) for c in range(len(p))]),
    )


def pool_scores(scans: Sequence[ScanScore], empty: EmptyRule = "skip") -> CompetitionScore:
    """The score of several scans together; NaN where nothing can be counted.

    Args:
        scans: at least one.
        empty: rows empty on both sides are skipped, or count as one or zero. Volumes empty on both
            sides are always skipped.

    Raises:
        SubmissionError: an unknown rule for empty rows.
    """
    if empty not in ("skip", "one", "zero"):
        rules = ("skip", "one", "zero")
        raise SubmissionError("--empty", "a known rule", repr(empty), suggestion(empty, rules))
    both = np.concatenate([s.prediction_px + s.truth_px for s in scans], axis=1)
    shared = np.concatenate([s.intersection_px for s in scans], axis=1)
    blank = {"skip": np.nan, "one": 1.0, "zero": 0.0}[empty]
    dice = np.divide(2.0 * shared, both, out=np.full(both.shape, blank), where=both > 0)
    closeness = 1.0 - np.stack([s.hausdorff for s in scans], axis=1)  # (organs, scans)
    total = _figures(dice, closeness)
    per_class = {o: _figures(dice[c], closeness[c]) for c, o in enumerate(ORGANS)}
    rows, volumes = int(np.isfinite(dice).sum()), int(np.isfinite(closeness).sum())
    return CompetitionScore(**total, per_class=per_class, rows=rows, volumes=volumes)


def competition_score(
    prediction: pd.DataFrame,
    truth: pd.DataFrame,
    empty: EmptyRule = "skip",
    hausdorff_norm: HausdorffNorm = "diagonal",
) -> CompetitionScore:
    """Score a submission, scan by scan.

    Args:
        prediction: columns ``id``, ``class`` and ``predicted`` (or ``segmentation``); any order.
        truth: columns ``id``, ``class``, ``segmentation``, ``height``, ``width``.
        empty: see ``pool_scores``.
        hausdorff_norm: see ``normalized_hausdorff``.

    Raises:
        SubmissionError: a missing column, unknown class, or rows that do not match the truth's.
        RleError: bad run-length text; names the row.
    """
    expected = _by_row(truth, "truth", ("segmentation",))
    given = _by_row(prediction, "prediction", ("predicted", "segmentation"))
    _check_same_rows(given, expected)
    for column in ("height", "width"):
        if column not in truth.columns:
            raise SubmissionError("truth", f"a column {column!r}", "none", "add the sizes")
    sizes = truth.drop_duplicates("id").set_index("id")[["height", "width"]].astype(int)
    scan_of = sizes.index.to_series().str.rpartition("_slice_")[0]
    scores = []
    for _, ids in scan_of.sort_index().groupby(scan_of.sort_index(), sort=False):
        names = [str(name) for name in ids.index]
        one = sizes.loc[names].drop_duplicates()
        if len(one) != 1:
            remedy = "give every slice of a scan one size"
            raise SubmissionError(ids.iloc[0], "one size", one.to_numpy().tolist(), remedy)
        size = (int(one["height"].iloc[0]), int(one["width"].iloc[0]))
        pair = [_volume(table, names, size) for table in (given, expected)]
        scores.append(score_scan(pair[0], pair[1], hausdorff_norm))
    return pool_scores(scores, empty)


def _figures(dice: np.ndarray, closeness: np.ndarray) -> dict[str, float]:
    d, h = (float(np.nanmean(x)) if np.isfinite(x).any() else np.nan for x in (dice, closeness))
    return {"dice": d, "hausdorff": h, "score": _DICE_SHARE * d + _HAUSDORFF_SHARE * h}


def _by_row(table: pd.DataFrame, name: str, columns: Sequence[str]) -> dict[tuple[str, str], str]:
    """Run-length text by (id, class)."""
    column = next((c for c in columns if c in table.columns), None)
    for needed, there in (("id", "id"), ("class", "class"), (columns[0], column)):
        if there not in table.columns:
            got = ", ".join(map(str, table.columns))
            raise SubmissionError(name, f"a column {needed!r}", got, "mend the header")
    unknown = [str(c) for c in table["class"].unique() if c not in ORGANS]
    if unknown:
        remedy = suggestion(unknown[0], ORGANS)
        raise SubmissionError(name, "a known class", repr(unknown[0]), remedy)
    texts = table[column].astype("object").where(table[column].notna(), "")
    rows: dict[tuple[str, str], str] = {}
    for key, text in zip(zip(table["id"], table["class"], strict=True), texts, strict=True):
        if key in rows:
            got = f"{key[0]}, {key[1]} twice"
            raise SubmissionError(name, "one row a slice and class", got, "remove one")
        rows[key] = str(text)
    return rows


def _check_same_rows(
    given: dict[tuple[str, str], str], expected: dict[tuple[str, str], str]
) -> None:
    for rows, others, got in ((expected, given, "none"), (given, expected, "a row too many")):
        lonely = next((key for key in rows if key not in others), None)
        if lonely is not None:
            where = f"prediction, {lonely[0]}, {lonely[1]}"
            raise SubmissionError(where, "the rows of the truth", got, "match the truth's ids")


def _volume(
    table: dict[tuple[str, str], str], names: Sequence[str], size: tuple[int, int]
) -> np.ndarray:
    masks = np.zeros((N_ORGANS, len(names), *size), dtype=bool)
    for channel, organ in enumerate(ORGANS):
        for place, name in enumerate(names):
            text = table.get((name, organ), "")
            if text:
                try:
                    masks[channel, place] = rle.decode(text, *size)
                except RleError as error:
                    raise error.within(f"{name}, {organ}") from None
    return masks
