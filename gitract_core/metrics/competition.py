"""The competition score of a submission; its formula is in ``metrics.score``.

Dice is one value a (slice, class) row, the Hausdorff distance one value a (scan, class) volume,
stacked in slice order with depth 1. Scans are counted one by one into a ``ScanScore``, and counts
and sums are pooled over everything that is scored, never averaged twice.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from gitract_core.errors import SubmissionError, suggestion
from gitract_core.metrics.hausdorff import HausdorffNorm
from gitract_core.metrics.mask_table import Gaps, MaskTable, scan_volume, scans_of
from gitract_core.metrics.scan_score import ScanScore, score_scan
from gitract_core.metrics.score import COMPETITION, closeness
from gitract_core.organs import CONTEST, Organs

if TYPE_CHECKING:
    import pandas as pd

EmptyRule = Literal["skip", "one", "zero"]
_WORTH_OF_EMPTY: dict[EmptyRule, float] = {"skip": math.nan, "one": 1.0, "zero": 0.0}


@dataclass(frozen=True)
class CompetitionScore:
    """The score and what it consists of; NaN where nothing could be counted.

    Attributes:
        dice: mean over rows, 0 to 1.
        hausdorff: mean over volumes of 1 - normalized distance, 0 to 1: the Hausdorff *score*,
            higher is better.
        score: the mixture of both; see ``metrics.score``.
        per_class: class -> the three figures.
        rows: number of (slice, class) rows counted.
        volumes: number of (scan, class) volumes counted.
    """

    dice: float
    hausdorff: float
    score: float
    per_class: dict[str, dict[str, float]]
    rows: int
    volumes: int

    def to_json(self) -> dict[str, Any]:
        """The attributes by name."""
        return {
            "dice": self.dice,
            "hausdorff": self.hausdorff,
            "score": self.score,
            "per_class": {name: dict(figures) for name, figures in self.per_class.items()},
            "rows": self.rows,
            "volumes": self.volumes,
        }


def pool_scores(
    scans: Sequence[ScanScore],
    empty: EmptyRule = "skip",
    classes: Collection[str] | None = None,
    *,
    organs: Organs = CONTEST,
) -> CompetitionScore:
    """The score of several scans together.

    Args:
        scans: any number of scans.
        empty: rows empty on both sides are skipped, or count as one or zero. Volumes empty on both
            sides, and all that is not known, are always skipped.
        classes: the organs to count; figures of others are NaN. All by default.
        organs: in the order of the scores' first axis.

    Raises:
        SubmissionError: an unknown rule for empty rows.
    """
    check_empty_rule(empty)
    none = np.zeros((len(organs), 0))
    pixels = np.concatenate([none, *(s.prediction_px + s.truth_px for s in scans)], axis=1)
    shared = np.concatenate([none, *(s.intersection_px for s in scans)], axis=1)
    known = np.concatenate([none > 0, *(_known(s) for s in scans)], axis=1)
    blank = np.where(known, _WORTH_OF_EMPTY[empty], math.nan)
    dice = np.divide(2 * shared, pixels, out=blank, where=pixels > 0)  # (organs, rows)
    distances = np.concatenate([none, *(s.hausdorff[:, None] for s in scans)], axis=1)
    close = closeness(distances)  # (organs, scans)
    for channel, organ in enumerate(organs):
        if classes is not None and organ not in classes:
            dice[channel] = close[channel] = math.nan
    return CompetitionScore(
        **_figures(dice, close),
        per_class={o: _figures(dice[c], close[c]) for c, o in enumerate(organs)},
        rows=int(np.isfinite(dice).sum()),
        volumes=int(np.isfinite(close).sum()),
    )


def check_empty_rule(empty: str) -> None:
    """Raise a ``SubmissionError`` for an unknown rule for rows empty on both sides."""
    if empty not in _WORTH_OF_EMPTY:
        rules = get_args(EmptyRule)
        raise SubmissionError("--empty", "a known rule", repr(empty), suggestion(empty, rules))


def competition_score(
    prediction: pd.DataFrame,
    truth: pd.DataFrame,
    empty: EmptyRule = "skip",
    hausdorff_norm: HausdorffNorm = "diagonal",
    gaps: Gaps = "close",
) -> CompetitionScore:
    """Score a submission, scan by scan: memory does not grow with the number of scans.

    Args:
        prediction: columns ``id``, ``class`` and ``predicted`` (or ``segmentation``); the rows of
            the truth in any order. Missing text is an empty mask.
        truth: columns ``id``, ``class``, ``segmentation``, ``height``, ``width``; ids such as
            ``case123_day20_slice_0065``, and every id with the same classes. The classes are
            the organs (``mask_table.organs_of``); those that are not there are not counted.
        empty: see ``pool_scores``.
        hausdorff_norm: see ``normalized_hausdorff``.
        gaps: whether slices that a scan lacks between two others have a place in its volume; see
            ``mask_table.scans_of``. The contest stacks what is there.

    Raises:
        SubmissionError: a missing column, an unknown class, a bad id or size, rows that do not
            match the truth's; names the row.
        RleError: bad run-length text; names the row.
        DataError: an unknown norm.
    """
    check_empty_rule(empty)
    expected = MaskTable.of(truth, "truth", ("segmentation",))
    columns = ("predicted", "segmentation")
    given = MaskTable.of(prediction, "prediction", columns, organs=expected.organs)
    expected.check_complete()
    given.check_rows_are_those_of(expected)
    scores = []
    for scan in scans_of(truth, gaps):
        masks, true_masks = scan_volume(given, scan), scan_volume(expected, scan)
        scores.append(scan.of_slices(score_scan(masks, true_masks, hausdorff_norm)))
    return pool_scores(scores, empty, expected.classes, organs=expected.organs)


def _known(scan: ScanScore) -> np.ndarray:
    return np.ones(scan.truth_px.shape, np.bool_) if scan.known is None else scan.known


def _figures(dice: np.ndarray, close: np.ndarray) -> dict[str, float]:
    d, h = (float(np.nanmean(x)) if np.isfinite(x).any() else math.nan for x in (dice, close))
    figures = {"dice": d, "hausdorff": h}
    return {**figures, "score": COMPETITION.mix(figures)}
