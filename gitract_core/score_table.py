"""Scores of a trial as tables: sums by case in ``result.json``, every row in ``scores.parquet``.

A score of any set of cases follows from sums and counts, so nothing is ever a mean of means.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from gitract_core.files import replacing
from gitract_core.organs import ORGANS
from gitract_core.slices import SliceIndex

if TYPE_CHECKING:
    from gitract_core.metrics.competition import ScanScore

SUMS = ("dice_sum", "dice_rows", "hausdorff_sum", "hausdorff_volumes")


def row_dice(score: ScanScore) -> np.ndarray:
    """Dice of each (organ, slice) of a scan, float (organs, slices); NaN where both are empty."""
    pixels = score.prediction_px + score.truth_px
    dice = np.full(pixels.shape, np.nan)
    np.divide(2.0 * score.intersection_px, pixels, out=dice, where=pixels > 0)
    return dice


def per_case_sums(scores: Mapping[str, ScanScore]) -> dict[str, dict[str, list[float]]]:
    """Sums and counts by case and, inside, by organ in the order of ``ORGANS``.

    ``dice_sum`` over ``dice_rows`` (slices not empty on both sides) is the mean Dice;
    ``hausdorff_sum`` over ``hausdorff_volumes`` is the mean of 1 - normalized distance.

    Args:
        scores: by scan name, ``case123_day20``.
    """
    cases: dict[str, dict[str, list[float]]] = {}
    for scan, score in scores.items():
        case = scan.removeprefix("case").partition("_")[0]
        sums = cases.setdefault(case, {name: [0.0] * len(ORGANS) for name in SUMS})
        dice = row_dice(score)
        closeness = 1.0 - np.asarray(score.hausdorff)
        for name, values in zip(
            SUMS,
            (
                np.nansum(dice, axis=1),
                np.isfinite(dice).sum(axis=1),
                np.nan_to_num(closeness),
                np.isfinite(closeness),
            ),
            strict=True,
        ):
            sums[name] = [a + float(b) for a, b in zip(sums[name], values, strict=True)]
    return cases


def write_scores(path: Path, scores: Mapping[str, ScanScore], index: SliceIndex) -> None:
    """Write ``scores.parquet``, one row a (slice, class) and a (scan, class), atomically.

    Columns: ``level`` (slice or scan), ``id``, ``class``, ``intersection_px``, ``prediction_px``,
    ``truth_px``, ``dice`` and, for scans, ``hausdorff`` (normalized distance, 0 to 1).
    """
    tables: list[dict[str, Any]] = []
    for scan, score in scores.items():
        ids = index.rows_of_scan(scan)["id"].to_numpy()
        dice = row_dice(score)
        for channel, organ in enumerate(ORGANS):
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
