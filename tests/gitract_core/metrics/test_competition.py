from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.spatial.distance import directed_hausdorff

from gitract_core.errors import DataError, RleError, SubmissionError
from gitract_core.metrics import ScanScore, competition_score, pool_scores, score_scan
from tests.support.tiny_contest import CLASSES, slow_encode

WORKED_SHAPE = (4, 5, 6)


def worked_masks() -> tuple[np.ndarray, np.ndarray]:
    """The worked example: prediction and truth of one organ."""
    truth, prediction = (np.zeros(WORKED_SHAPE, bool) for _ in range(2))
    truth[1:3, 1:3, 1:3] = True
    for row, column in ((1, 2), (2, 1), (2, 2), (4, 5)):
        prediction[1, row, column] = True
    return prediction, truth


def rows_of(scan: str, organ: str, prediction: np.ndarray, truth: np.ndarray) -> pd.DataFrame:
    """One row a slice with both texts and the size."""
    rows = [
        {
            "id": f"{scan}_slice_{place:04d}",
            "class": organ,
            "predicted": slow_encode(p),
            "segmentation": slow_encode(t),
            "height": p.shape[0],
            "width": p.shape[1],
        }
        for place, (p, t) in enumerate(zip(prediction, truth, strict=True), 1)
    ]
    return pd.DataFrame(rows)


def split(table: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Prediction and truth as the score takes them."""
    return table[["id", "class", "predicted"]], table.drop(columns="predicted")


@pytest.fixture
def one_class() -> tuple[pd.DataFrame, pd.DataFrame]:
    return split(rows_of("case1_day0", "stomach", *worked_masks()))


@pytest.fixture
def all_classes() -> tuple[pd.DataFrame, pd.DataFrame]:
    """The worked example as the stomach; the other classes are empty on both sides."""
    prediction, truth = worked_masks()
    empty = np.zeros_like(truth)
    tables = [
        rows_of("case1_day0", organ, *((prediction, truth) if organ == "stomach" else (empty,) * 2))
        for organ in CLASSES
    ]
    return split(pd.concat(tables, ignore_index=True))


READINGS = [("skip", 0.375, 0.503466), ("one", 0.6875, 0.628466), ("zero", 0.1875, 0.428466)]


@pytest.mark.parametrize(("empty", "dice", "score"), READINGS)
def test_worked_example(one_class: Any, empty: Any, dice: float, score: float) -> None:
    result = competition_score(*one_class, empty=empty)
    assert result.dice == dice
    assert result.hausdorff == pytest.approx(1 - 0.410891, abs=5e-7)
    assert result.score == pytest.approx(score, abs=5e-7)
    assert result.score == pytest.approx(0.4 * result.dice + 0.6 * result.hausdorff, rel=1e-12)
    assert result.rows == (2 if empty == "skip" else 4)
    assert result.volumes == 1
    stomach = {"dice": result.dice, "hausdorff": result.hausdorff, "score": result.score}
    assert result.per_class["stomach"] == stomach
    assert math.isnan(result.per_class["small_bowel"]["score"])


@pytest.mark.parametrize(("empty", "dice", "score"), READINGS)
def test_worked_example_among_empty_classes(
    all_classes: Any, empty: Any, dice: float, score: float
) -> None:
    result = competition_score(*all_classes, empty=empty)
    stomach = result.per_class["stomach"]
    assert (stomach["dice"], stomach["score"]) == (dice, pytest.approx(score, abs=5e-7))
    assert result.rows == (2 if empty == "skip" else 12)
    assert result.volumes == 1
    all_rows = {"skip": 0.375, "one": (0.75 + 10) / 12, "zero": 0.75 / 12}[empty]
    assert result.dice == pytest.approx(all_rows, rel=1e-12)


@pytest.mark.parametrize(
    ("norm", "distance"),
    [("diagonal", 0.410891), ("diagonal_minus_one", 0.509902), ("unit_cube", 0.369685)],
)
def test_worked_example_of_every_norm(one_class: Any, norm: Any, distance: float) -> None:
    result = competition_score(*one_class, hausdorff_norm=norm)
    assert 1 - result.hausdorff == pytest.approx(distance, abs=5e-7)


def test_json_has_the_attributes(one_class: Any) -> None:
    result = competition_score(*one_class)
    names = ["dice", "hausdorff", "score", "per_class", "rows", "volumes"]
    assert list(result.to_json()) == names
    assert all(result.to_json()[name] == getattr(result, name) for name in ("dice", "rows"))
    assert set(result.to_json()["per_class"]) == set(CLASSES)


def random_scans(seed: int) -> dict[tuple[str, str], tuple[np.ndarray, np.ndarray]]:
    """(scan, class) -> prediction and truth; scans of several sizes, empty slices and volumes."""
    random = np.random.default_rng(seed)
    scans = {"case1_day0": (12, 7, 9), "case1_day10": (3, 8, 8), "case30_day2": (1, 5, 11)}
    volumes = {}
    for scan, shape in scans.items():
        for organ in CLASSES:
            pair = [random.random(shape) < random.choice([0, 0.02, 0.3]) for _ in range(2)]
            for mask in pair:
                mask[random.random(shape[0]) < 0.3] = False
            volumes[scan, organ] = (pair[0], pair[1])
    return volumes


def slow_score(
    volumes: dict[tuple[str, str], tuple[np.ndarray, np.ndarray]], blank: float | None
) -> tuple[float, float]:
    dices, closeness = [], []
    for prediction, truth in volumes.values():
        for p, t in zip(prediction, truth, strict=True):
            if p.any() or t.any():
                dices.append(2 * (p & t).sum() / (p.sum() + t.sum()))
            elif blank is not None:
                dices.append(blank)
        if prediction.any() and truth.any():
            a, b = np.argwhere(prediction), np.argwhere(truth)
            farthest = max(directed_hausdorff(a, b)[0], directed_hausdorff(b, a)[0])
            closeness.append(1 - farthest / np.linalg.norm(truth.shape))
        elif prediction.any() or truth.any():
            closeness.append(0.0)
    return mean(dices), mean(closeness)


def mean(values: list[float]) -> float:
    return float(np.mean(values)) if values else math.nan


@pytest.mark.parametrize(("empty", "blank"), [("skip", None), ("one", 1.0), ("zero", 0.0)])
@pytest.mark.parametrize("seed", range(4))
def test_equals_a_slow_scorer(empty: Any, blank: float | None, seed: int) -> None:
    volumes = random_scans(seed)
    table = pd.concat([rows_of(*key, *pair) for key, pair in volumes.items()], ignore_index=True)
    result = competition_score(*split(table.sample(frac=1, random_state=seed)), empty=empty)
    dice, hausdorff = slow_score(volumes, blank)
    assert result.dice == pytest.approx(dice, rel=1e-12)
    assert result.hausdorff == pytest.approx(hausdorff, rel=1e-12)
    for organ in CLASSES:
        mine = {key: pair for key, pair in volumes.items() if key[1] == organ}
        dice, hausdorff = slow_score(mine, blank)
        assert result.per_class[organ]["dice"] == pytest.approx(dice, rel=1e-12, nan_ok=True)
        assert result.per_class[organ]["hausdorff"] == pytest.approx(
            hausdorff, rel=1e-12, nan_ok=True
        )


def test_slices_are_stacked_by_number_not_by_text() -> None:
    """Numbers without zeros before them: slice_10 follows slice_9, not slice_1."""
    prediction, truth = np.zeros((2, 4, 5, 6), bool)
    prediction[1, 2, 2] = truth[2, 2, 2] = True  # slices 9 and 10 of 8 to 11
    table = rows_of("case1_day0", "stomach", prediction, truth)
    table["id"] = [f"case1_day0_slice_{number}" for number in (8, 9, 10, 11)]
    result = competition_score(*split(table))
    assert 1 - result.hausdorff == pytest.approx(1 / math.sqrt(4**2 + 5**2 + 6**2))


def test_missing_text_of_every_kind(all_classes: Any) -> None:
    prediction, truth = all_classes
    expected = repr(competition_score(prediction, truth))  # NaN is not equal to itself
    for dtype in ("object", "str", "string"):
        holes = prediction["predicted"].astype(dtype)
        holes = holes.where(holes != "", None)
        assert holes.isna().any()
        assert repr(competition_score(prediction.assign(predicted=holes), truth)) == expected
    nothing = truth["segmentation"].where(truth["segmentation"] != "", np.nan)
    assert repr(competition_score(prediction, truth.assign(segmentation=nothing))) == expected


def test_sizes_read_as_text_and_column_named_segmentation(all_classes: Any) -> None:
    prediction, truth = all_classes
    renamed = prediction.rename(columns={"predicted": "segmentation"})
    as_text = truth.astype({"height": "str", "width": "str"})
    assert repr(competition_score(renamed, as_text)) == repr(competition_score(prediction, truth))


def test_nothing_to_count_is_nan(all_classes: Any) -> None:
    prediction, truth = all_classes
    result = competition_score(prediction.assign(predicted=""), truth.assign(segmentation=""))
    assert all(math.isnan(value) for value in (result.dice, result.hausdorff, result.score))
    assert (result.rows, result.volumes) == (0, 0)
    missed = competition_score(prediction.assign(predicted=""), truth)
    assert (missed.dice, missed.hausdorff, missed.score) == (0, 0, 0)
    nobody = competition_score(prediction.iloc[:0], truth.iloc[:0])
    assert math.isnan(nobody.score)
    assert math.isnan(pool_scores([]).score)


def test_pooling_is_not_a_mean_of_means() -> None:
    random = np.random.default_rng(0)
    scans, values = [], []
    for slices in (2, 7):
        p, t = (random.random((3, slices, 6, 6)) < 0.3 for _ in range(2))
        p[0, 0] = t[0, 0] = False
        scans.append(score_scan(p, t))
        for a, b in zip(p.reshape(-1, 36), t.reshape(-1, 36), strict=True):
            if a.any() or b.any():
                values.append(2 * (a & b).sum() / (a.sum() + b.sum()))
    pooled = pool_scores(scans)
    assert pooled.dice == pytest.approx(np.mean(values))
    assert pooled.dice != pytest.approx(np.mean([pool_scores([scan]).dice for scan in scans]))
    assert pooled.rows == len(values)


def test_counts_of_a_scan() -> None:
    prediction, truth = (np.stack([m, m & False, m & False]) for m in worked_masks())
    score = score_scan(prediction, truth)
    assert score.intersection_px.tolist() == [[0, 3, 0, 0], [0] * 4, [0] * 4]
    assert score.prediction_px[0].tolist() == [0, 4, 0, 0]
    assert score.truth_px[0].tolist() == [0, 4, 4, 0]
    assert score.hausdorff[0] == pytest.approx(math.sqrt(13 / 77))
    assert np.isnan(score.hausdorff[1:]).all()


def test_one_scan_at_a_time(monkeypatch: Any) -> None:
    """Volumes of the scan before are gone when the next is decoded."""
    from gitract_core.metrics import competition

    shapes: list[tuple[int, ...]] = []
    decode = competition.scan_volume

    def spy(*arguments: Any) -> np.ndarray:
        volume = decode(*arguments)
        shapes.append(volume.shape)
        return volume

    monkeypatch.setattr(competition, "scan_volume", spy)
    table = pd.concat([rows_of(*key, *pair) for key, pair in random_scans(0).items()])
    competition_score(*split(table))
    assert sorted(shape[1] for shape in shapes) == [1, 1, 3, 3, 12, 12]


ROW = "case1_day0_slice_0001, large_bowel"
TABLE_FAULTS = {
    "no predicted": (lambda p, t: (p.drop(columns="predicted"), t), "a column 'predicted'"),
    "no id": (lambda p, t: (p.drop(columns="id"), t), "prediction: expected a column 'id'"),
    "no height": (lambda p, t: (p, t.drop(columns="height")), "truth: expected a column 'height'"),
    "row missing": (lambda p, t: (p.iloc[1:], t), f"prediction, {ROW}: .*, got none"),
    "row too many": (lambda p, t: (p, t[t["id"] != t["id"][0]]), f"prediction, {ROW}.*too many"),
    "row of truth missing": (lambda p, t: (p, t.iloc[1:]), f"truth, {ROW}: expected a row, got"),
    "row twice": (
        lambda p, t: (pd.concat([p, p.iloc[:1]]), t),
        f"prediction, {ROW}: expected one row a slice and class, got it twice",
    ),
    "class": (lambda p, t: (p.replace("stomach", "stomac"), t), "did you mean 'stomach'"),
    "no class": (lambda p, t: (p.assign(**{"class": None}), t), "expected a known class"),
    "id": (
        lambda p, t: tuple(x.assign(id=x["id"].str.replace("_slice", "")) for x in (p, t)),
        "truth, id 'case1_day0_0001': expected an id of a slice",
    ),
    "size": (lambda p, t: (p, t.assign(height="x")), "0001: expected a size in pixels, got nan"),
    "half a pixel": (lambda p, t: (p, t.assign(width=6.5)), r"in pixels, got 5 x 6\.5"),
    "no pixels": (lambda p, t: (p, t.assign(width=0)), "in pixels, got 5 x 0"),
    "two sizes of a slice": (
        lambda p, t: (p, t.assign(height=[5] * 4 + [6] * 8)),
        r"slice_0001: expected size \(5, 6\), got \(6, 6\); give a slice one size",
    ),
    "two sizes of a scan": (
        lambda p, t: (p, t.assign(height=[5, 6, 6, 6] * 3)),
        r"slice_0002: expected size \(5, 6\), got \(6, 6\); give every slice of a scan",
    ),
}


@pytest.mark.parametrize("fault", TABLE_FAULTS)
def test_faulty_tables_are_named(all_classes: Any, fault: str) -> None:
    spoil, message = TABLE_FAULTS[fault]
    with pytest.raises(SubmissionError, match=message):
        competition_score(*spoil(*all_classes))


def test_organs_are_the_classes_of_the_truth() -> None:
    prediction, truth = worked_masks()
    names = ["spleen", "liver", "stomach"]
    tables = [rows_of("case1_day0", organ, prediction, truth) for organ in names]
    p, t = split(pd.concat(tables, ignore_index=True))
    result = competition_score(p.iloc[::-1], t)
    assert list(result.per_class) == names  # as they come
    assert {figures["dice"] for figures in result.per_class.values()} == {0.375}
    assert (result.rows, result.volumes) == (6, 3)
    with pytest.raises(SubmissionError, match=r"prediction.*got 'livre'; did you mean 'liver'"):
        competition_score(p.replace("liver", "livre"), t)
    spoilt = t.assign(**{"class": t["class"].where(t.index != 4, "livre")})
    with pytest.raises(SubmissionError, match=r"truth.*got 'livre'; did you mean 'liver'"):
        competition_score(p, spoilt)


@pytest.mark.parametrize("text", ["29 9", "1 2 3", 7.0])
def test_bad_text_is_named_by_table_and_row(all_classes: Any, text: Any) -> None:
    prediction, truth = all_classes
    for table, column, name in (
        (prediction, "predicted", "prediction"),
        (truth, "segmentation", "truth"),
    ):
        bad = table.assign(**{column: table[column].astype("object")})
        bad.loc[9, column] = text
        pair = (bad, truth) if name == "prediction" else (prediction, bad)
        with pytest.raises(RleError, match=f"{name}, case1_day0_slice_0002, stomach, RLE"):
            competition_score(*pair)


def test_unknown_rules(all_classes: Any) -> None:
    with pytest.raises(SubmissionError, match="--empty: expected a known rule, got 'ignore'"):
        competition_score(*all_classes, empty="ignore")  # type: ignore[arg-type]
    with pytest.raises(DataError, match="did you mean 'unit_cube'"):
        competition_score(*all_classes, hausdorff_norm="unitcube")  # type: ignore[arg-type]


def test_arrays_of_wrong_shape() -> None:
    with pytest.raises(
        DataError, match=r"expected \(organs, slices, height, width\), got \(2, 2\)"
    ):
        score_scan(np.ones((2, 2)), np.ones((2, 2)))
    with pytest.raises(DataError, match="expected the truth's shape"):
        score_scan(np.ones((3, 2, 4, 4)), np.ones((3, 2, 4, 5)))
    counts = np.zeros((3, 4), int)
    with pytest.raises(DataError, match="ScanScore: expected shapes"):
        ScanScore(counts, counts, counts[:, :2], np.zeros(3))


@pytest.mark.real
def test_real_masks_against_themselves_and_nothing(real_data: Any) -> None:
    table = pd.read_csv(real_data / "masks_10_scans.csv")
    table = table[table["id"].str.startswith("case16_day0_")]
    same = table.rename(columns={"segmentation": "predicted"})
    perfect = competition_score(same, table)
    assert (perfect.dice, perfect.hausdorff, perfect.volumes) == (1.0, 1.0, 3)
    assert perfect.rows == table["segmentation"].notna().sum()
    assert competition_score(same.assign(predicted=None), table).score == 0.0
