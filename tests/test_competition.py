from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from gitract_core.errors import RleError, SubmissionError
from gitract_core.files import finite_or_none
from gitract_core.metrics import competition_score, pool_scores, score_scan
from tests.tiny_contest import slow_encode

_ORGANS = ("large_bowel", "small_bowel", "stomach")


def _worked() -> tuple[np.ndarray, np.ndarray]:
    """The worked example: volume (4, 5, 6), one organ."""
    truth, prediction = (np.zeros((4, 5, 6), bool) for _ in range(2))
    truth[1:3, 1:3, 1:3] = True
    for row, column in ((1, 2), (2, 1), (2, 2), (4, 5)):
        prediction[1, row, column] = True
    return prediction, truth


def _tables(prediction: np.ndarray, truth: np.ndarray) -> tuple[pd.DataFrame, pd.DataFrame]:
    rows: list[dict[str, Any]] = []
    for place in range(len(truth)):
        for organ in _ORGANS:
            masks = [
                v[place] if organ == "stomach" else v[place] & False for v in (prediction, truth)
            ]
            texts = [slow_encode(mask) for mask in masks]
            name = f"case1_day0_slice_{place + 1:04d}"
            rows.append({"id": name, "class": organ, "p": texts[0], "t": texts[1]})
    table = pd.DataFrame(rows)
    given = table.rename(columns={"p": "predicted"})[["id", "class", "predicted"]]
    expected = table.rename(columns={"t": "segmentation"})[["id", "class", "segmentation"]]
    return given, expected.assign(height=5, width=6)


@pytest.mark.parametrize(("empty", "score"), [("skip", 0.375), ("one", 0.6875), ("zero", 0.1875)])
def test_worked_example_of_one_class(empty: Any, score: float) -> None:
    prediction, truth = _worked()
    result = competition_score(*_tables(prediction, truth), empty=empty)
    # the other two classes are empty on both sides; the example is of one class
    stomach = result.per_class["stomach"]
    assert stomach["dice"] == pytest.approx(score)
    assert 1 - stomach["hausdorff"] == pytest.approx(0.410891, abs=5e-7)
    expected = {"skip": 0.503466, "one": 0.628466, "zero": 0.428466}[empty]
    assert stomach["score"] == pytest.approx(expected, abs=5e-7)


@pytest.mark.parametrize(
    ("norm", "distance"),
    [("diagonal", 0.410891), ("diagonal_minus_one", 0.509902), ("unit_cube", 0.369685)],
)
def test_worked_example_of_every_norm(norm: Any, distance: float) -> None:
    result = competition_score(*_tables(*_worked()), hausdorff_norm=norm)
    assert 1 - result.hausdorff == pytest.approx(distance, abs=5e-7)
    assert result.score == pytest.approx(0.4 * result.dice + 0.6 * result.hausdorff)
    assert (result.rows, result.volumes) == (2, 1)


def test_pooling_is_not_a_mean_of_means() -> None:
    random = np.random.default_rng(0)
    scans = []
    values: list[float] = []
    for slices in (2, 7):
        p, t = (random.random((3, slices, 6, 6)) < 0.3 for _ in range(2))
        p[0, 0] = t[0, 0] = False
        scans.append(score_scan(p, t))
        for c in range(3):
            for s in range(slices):
                total = p[c, s].sum() + t[c, s].sum()
                if total:
                    values.append(2 * (p[c, s] & t[c, s]).sum() / total)
    pooled = pool_scores(scans)
    assert pooled.dice == pytest.approx(np.mean(values))
    assert pooled.rows == len(values)


def test_order_and_missing_values_do_not_matter() -> None:
    prediction, truth = _tables(*_worked())
    before = competition_score(prediction, truth)
    shuffled = prediction.sample(frac=1, random_state=1)
    holes = shuffled.assign(
        predicted=shuffled["predicted"].where(shuffled["predicted"] != "", None)
    )
    renamed = holes.rename(columns={"predicted": "segmentation"})
    again = competition_score(renamed, truth.iloc[::-1])
    assert finite_or_none(again.to_json()) == finite_or_none(before.to_json())


def test_nothing_to_count_is_nan() -> None:
    nothing = np.zeros((4, 5, 6), bool)
    result = competition_score(*_tables(nothing, nothing))
    assert np.isnan(result.score)
    assert (result.rows, result.volumes) == (0, 0)
    _, truth = _worked()
    missed = competition_score(*_tables(nothing, truth))
    assert (missed.dice, missed.hausdorff) == (0, 0)


def test_faulty_tables_are_named() -> None:
    prediction, truth = _tables(*_worked())
    with pytest.raises(SubmissionError, match="a column 'predicted'"):
        competition_score(prediction.drop(columns="predicted"), truth)
    with pytest.raises(SubmissionError, match="a column 'height'"):
        competition_score(prediction, truth.drop(columns="height"))
    with pytest.raises(SubmissionError, match="case1_day0_slice_0001, large_bowel.*none"):
        competition_score(prediction.iloc[1:], truth)
    with pytest.raises(SubmissionError, match="twice"):
        competition_score(pd.concat([prediction, prediction.iloc[:1]]), truth)
    with pytest.raises(SubmissionError, match="did you mean 'stomach'"):
        competition_score(prediction.replace("stomach", "stomac"), truth)
    with pytest.raises(RleError, match="case1_day0_slice_0002, stomach"):
        bad = prediction.copy()
        bad.loc[bad.index[5], "predicted"] = "29 9"
        competition_score(bad, truth)
    with pytest.raises(SubmissionError, match="rule"):
        competition_score(prediction, truth, empty="ignore")  # type: ignore[arg-type]
