"""Scans that lack slices: the contest stacks what is there; on request gaps keep their places."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from gitract_core.errors import SubmissionError
from gitract_core.metrics.competition import EmptyRule, competition_score
from gitract_core.metrics.mask_table import gaps_of, scans_of
from gitract_core.metrics.table_score import score_tables

SIDE = 6


def table(texts: dict[int, str], column: str) -> pd.DataFrame:
    """Rows of one scan and one class: number of the slice -> run-length text."""
    rows = [
        {"id": f"case1_day0_slice_{n:04d}", "class": "stomach", column: text}
        for n, text in texts.items()
    ]
    return pd.DataFrame(rows).assign(height=SIDE, width=SIDE, spacing_y_mm=2.0, spacing_x_mm=2.0)


TRUTH = table({1: "1 1", 2: "", 5: "1 1", 6: ""}, "segmentation")
PREDICTION = table({1: "1 1", 2: "", 5: "", 6: ""}, "predicted")


def test_the_contest_stacks_what_is_there() -> None:
    """The voxel that was missed is two slices from the next, or four."""
    closed, kept = (competition_score(PREDICTION, TRUTH, gaps=g) for g in ("close", "keep"))
    diagonals = math.hypot(4, SIDE, SIDE), math.hypot(6, SIDE, SIDE)
    assert closed.hausdorff == pytest.approx(1 - 2 / diagonals[0])
    assert kept.hausdorff == pytest.approx(1 - 4 / diagonals[1])
    assert competition_score(PREDICTION, TRUTH).score == closed.score


@pytest.mark.parametrize("empty", ["skip", "one", "zero"])
def test_places_of_gaps_are_no_rows(empty: EmptyRule) -> None:
    closed = competition_score(PREDICTION, TRUTH, empty=empty)
    kept = competition_score(PREDICTION, TRUTH, empty=empty, gaps="keep")
    assert (kept.dice, kept.rows) == (closed.dice, closed.rows)


def test_a_scan_without_a_gap_scores_alike() -> None:
    whole = TRUTH[TRUTH["id"] < "case1_day0_slice_0003"]
    given = PREDICTION[PREDICTION["id"] < "case1_day0_slice_0003"]
    kept = competition_score(given, whole, gaps="keep")
    assert kept.score == competition_score(given, whole).score == 1
    assert gaps_of(whole) == []


def test_other_scores_keep_gaps_too() -> None:
    closed, kept = (
        score_tables(PREDICTION, TRUTH, "hd95_mm", gaps=g).overall["score"]
        for g in ("close", "keep")
    )
    assert closed != kept


def test_gaps_are_told_and_have_bounds() -> None:
    (gap,) = gaps_of(TRUTH)
    assert (gap.scan, gap.missing, str(gap)) == ("case1_day0", (3, 4), "slices 3, 4")
    assert [len(scan.ids) for scan in scans_of(TRUTH, "keep")] == [6]
    far = table({1: "", 999_999: ""}, "segmentation").assign(height=2000, width=2000)
    with pytest.raises(SubmissionError, match="slices 1 to 999999; leave --gaps keep out"):
        scans_of(far, "keep")
    assert len(scans_of(far)) == 1


def test_slices_beyond_9999_are_in_order() -> None:
    texts = dict.fromkeys([9998, 9999, 10000, 10001, 100000], "")
    order = list(np.random.default_rng(0).permutation(list(texts)))
    (scan,) = scans_of(table(dict.fromkeys(order, ""), "segmentation"))
    assert [int(name.rpartition("_")[2]) for name in scan.ids] == list(texts)
