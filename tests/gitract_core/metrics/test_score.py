"""Scores as sums and counts: the contest's to the last bit, and what other scores must keep to."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from gitract_core.errors import DataError
from gitract_core.metrics import ScanScore, pool_scores, score_scan
from gitract_core.metrics.score import (
    COMPETITION,
    HAUSDORFF_SCORE,
    SCAN_DICE,
    SLICE_DICE,
    Mixture,
    Score,
    closeness,
)
from gitract_core.results.score_table import per_case_sums

SCORES: list[Score] = [COMPETITION, SCAN_DICE, Mixture((SCAN_DICE, HAUSDORFF_SCORE), (0.7, 0.3))]


def random_scan(random: np.random.Generator, slices: int = 19) -> ScanScore:
    size = (3, slices)
    shared = random.integers(0, 9, size)
    predicted, true = (shared + random.integers(0, 5, size) for _ in range(2))
    for counts in (shared, predicted, true):
        counts[:, ::4] = 0
    distances = random.random(3)
    distances[random.integers(3)] = np.nan
    return ScanScore(shared, predicted, true, distances)


def masks(*slices: tuple[int, int]) -> np.ndarray:
    """One organ, boolean (1, slices, 4, 4): rows from and to are full."""
    made = np.zeros((1, len(slices), 4, 4), bool)
    for place, (start, stop) in enumerate(slices):
        made[0, place, start:stop] = True
    return made


def test_sums_and_score_of_the_contest_are_what_they_always_were() -> None:
    """Literals of the code in which the formula still stood three times."""
    random = np.random.default_rng(0)
    scans = {f"case{i}_day{day}": random_scan(random) for i in range(8) for day in range(2)}
    found = per_case_sums(scans, {scan: scan[4] for scan in scans})
    assert list(found["0"]) == ["dice_sum", "dice_rows", "hausdorff_sum", "hausdorff_volumes"]
    first = [found["0"][column][0] for column in COMPETITION.columns[:3]]
    assert first == [16.066131050042074, 28.0, 0.47652172389899616]
    pooled = pool_scores(list(scans.values()))
    assert (pooled.dice, pooled.hausdorff) == (0.5955354478065534, 0.3863960858675939)
    assert pooled.score == 0.4700518306431777
    assert pooled.per_class["stomach"]["score"] == 0.51672629167357
    assert float(COMPETITION.of(np.array([398.1, 668.0, 12.3, 32.0]))) == 0.4690082335329342


def test_names_say_what_a_mean_runs_over() -> None:
    assert COMPETITION.name == "0.4 Dice over slices + 0.6 Hausdorff score over scans"
    assert COMPETITION.formula == "0.4 Dice + 0.6 Hausdorff score"
    assert (SLICE_DICE.name, SCAN_DICE.name) == ("Dice over slices", "Dice over scans")


@pytest.mark.parametrize("score", SCORES, ids=lambda score: score.name)
def test_empty_on_one_side_is_nothing_and_on_both_is_not_counted(score: Score) -> None:
    drawn, empty = masks((0, 2), (1, 3)), masks((0, 0), (0, 0))
    perfect = score.count(score_scan(drawn, drawn))
    assert score.of(perfect).tolist() == [1.0]
    for pair in ((drawn, empty), (empty, drawn)):
        missed = score.count(score_scan(*pair))
        assert score.of(missed).tolist() == [0.0]
        assert float(score.of(missed[0] + perfect[0])) == pytest.approx(0.5)  # not dropped
    neither = score.count(score_scan(empty, empty))
    assert not neither.any()
    assert np.isnan(score.of(neither)).all()


@pytest.mark.parametrize("score", SCORES, ids=lambda score: score.name)
def test_shares_average_to_the_score_of_all(score: Score) -> None:
    random = np.random.default_rng(3)
    parts = np.stack([score.count(random_scan(random)).sum(axis=0) for _ in range(6)])
    assert len(score.columns) == parts.shape[-1]
    assert score.shares(parts).mean() == pytest.approx(float(score.of(parts.sum(axis=0))))


def test_dice_over_scans_counts_a_long_scan_once() -> None:
    short = score_scan(masks((0, 2)), masks((0, 2)))
    long = score_scan(masks(*[(0, 2)] * 9), masks(*[(0, 4)] * 9))
    over_scans = SCAN_DICE.count(short)[0] + SCAN_DICE.count(long)[0]
    over_slices = SLICE_DICE.count(short)[0] + SLICE_DICE.count(long)[0]
    assert float(SCAN_DICE.of(over_scans)) == pytest.approx((1 + 2 / 3) / 2)
    assert float(SLICE_DICE.of(over_slices)) == pytest.approx((1 + 9 * 2 / 3) / 10)


def test_what_is_not_known_is_not_counted() -> None:
    drawn = masks((0, 2), (0, 2), (0, 2))
    wrong = masks((0, 2), (2, 4), (0, 2))  # nothing right in the second slice
    known = np.array([[True, False, True]])
    scan = score_scan(wrong, drawn, known=known)
    assert SLICE_DICE.count(scan).tolist() == [[2.0, 2.0]]
    assert not HAUSDORFF_SCORE.count(scan).any()  # the volume's border is not known
    assert not SCAN_DICE.count(scan).any()
    whole = score_scan(wrong, drawn, known=np.ones((1, 3), bool))
    plain = score_scan(wrong, drawn)
    for score in SCORES:
        np.testing.assert_array_equal(score.count(whole), score.count(plain))
    with pytest.raises(DataError, match=r"known: expected shape \(1, 3\)"):
        score_scan(wrong, drawn, known=known[:, :2])


def test_rows_that_are_not_known_are_no_empty_rows() -> None:
    drawn, known = np.zeros((3, 2, 4, 4), bool), np.ones((3, 2), bool)
    drawn[:, 0] = True
    known[:, 1] = False
    pooled = pool_scores([score_scan(drawn, drawn, known=known)], empty="zero")
    assert (pooled.dice, pooled.rows, pooled.volumes) == (1.0, 3, 0)
    assert pool_scores([score_scan(drawn, drawn)], empty="zero").rows == 6


def test_a_distance_is_never_dropped_for_being_infinite() -> None:
    found = closeness(np.array([0.0, 5.0, 30.0, np.inf, np.nan]), limit=20.0)
    np.testing.assert_array_equal(found, [1.0, 0.75, 0.0, 0.0, np.nan])


def test_wrong_mixtures_are_refused() -> None:
    with pytest.raises(DataError, match="add up to 1"):
        Mixture((SLICE_DICE, HAUSDORFF_SCORE), (0.4, 0.5))
    with pytest.raises(DataError, match="add up to 1"):
        Mixture((SLICE_DICE,), (0.4, 0.6))
    with pytest.raises(DataError, match="named once"):
        Mixture((SLICE_DICE, SLICE_DICE), (0.4, 0.6))


def test_scores_load_no_torch() -> None:
    code = "import sys, gitract_core.metrics.score; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
