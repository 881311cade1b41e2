"""Scores of a trial follow from its probabilities, its rule and the truth; sums from scans."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from gitract_core.data.slices import SliceIndex
from gitract_core.data.volumes import scan_masks
from gitract_core.metrics import ScanScore, pool_scores, score_scan
from gitract_core.metrics.scan_score import row_dice
from gitract_core.organs import CONTEST
from gitract_core.prediction.postprocess import NativeGrid, native_masks
from gitract_core.prediction.probabilities import OofStore
from gitract_core.results.score_table import per_case_sums, read_scores, write_scores
from gitract_core.results.trial_result import TrialResult
from gitract_core.trial.run import run_trial
from tests.support.tiny_sweep import prepare_tiny

NAN = math.nan
RULES: tuple[dict[str, object], ...] = (
    {},
    {"postprocess.threshold": 0.25, "postprocess.parts": "largest"},
    {"postprocess.threshold": 0.4, "postprocess.z_sigma": 1.0, "postprocess.smallest_mm3": 90.0},
)


@pytest.fixture(scope="module")
def scored(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """One training, scored by three rules: the first trains, the others take it over."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GITRACT_CACHE", str(tmp_path_factory.mktemp("cache")))
        knobs = {"loss": "bce + dice", "network.widths": "4,8", "optimizer.learning_rate": 0.03}
        out = tmp_path_factory.mktemp("scores") / "run"
        sweep = prepare_tiny(tiny, out, *({**knobs, **rule} for rule in RULES))
        specs = [s for s in sweep.specs if s.fold == 0]
        for spec in specs:
            run_trial(spec, sweep.data, sweep.directory.trials / spec.key)
        return sweep.data.cache(32).index, [(s, sweep.directory.trial(s)) for s in specs]


def test_a_trial_is_scored_by_its_own_rule_at_native_size(scored: Any) -> None:
    index, trials = scored
    found = []
    for spec, files in trials:
        scans = []
        for name, probabilities in OofStore(files.oof).items():
            rows = index.rows_of_scan(name)
            masks = native_masks(
                probabilities, NativeGrid.of_scan(rows), spec.candidate.postprocess
            )
            scans.append(score_scan(masks, scan_masks(rows, organs=CONTEST), "diagonal"))
        expected = pool_scores(scans).to_json()
        found.append(TrialResult.load(files.result).scores)
        assert found[-1]["score"] == pytest.approx(expected["score"])
        assert found[-1]["dice"] == pytest.approx(expected["dice"])
        assert found[-1]["hausdorff"] == pytest.approx(expected["hausdorff"])
    assert len({scores["dice"] for scores in found}) == len(RULES), "the rules change nothing"


def test_sums_by_case_are_those_of_the_rows_of_its_scans(scored: Any) -> None:
    _, trials = scored
    for _, files in trials:
        table, result = read_scores(files.scores), TrialResult.load(files.result)
        for case, sums in result.per_case.items():
            own = table[table["id"].str.startswith(f"case{case}_")]
            for place, organ in enumerate(CONTEST):
                rows = own[(own["class"] == organ) & (own["level"] == "slice")]
                scans = own[(own["class"] == organ) & (own["level"] == "scan")]
                assert sums["dice_sum"][place] == pytest.approx(rows["dice"].sum())
                assert sums["dice_rows"][place] == rows["dice"].notna().sum()
                distances = scans["hausdorff"]
                assert sums["hausdorff_sum"][place] == pytest.approx((1 - distances).sum())
                assert sums["hausdorff_volumes"][place] == distances.notna().sum()


def counted(*rows: tuple[int, int, int], hausdorff: float) -> ScanScore:
    """The same slices (intersection, prediction, truth) for each organ but the last: empty."""
    shared, predicted, true = (np.array([list(v)] * 3) for v in zip(*rows, strict=True))
    for counts in (shared, predicted, true):
        counts[2] = 0
    return ScanScore(shared, predicted, true, np.array([hausdorff, hausdorff / 2, NAN]))


SCANS = {
    "case3_day0": counted((2, 4, 4), (0, 0, 0), (0, 3, 0), hausdorff=0.2),
    "case3_day5": counted((3, 3, 3), hausdorff=0.4),
    "case31_day0": counted((0, 0, 0), (1, 1, 3), hausdorff=1.0),
}


CASES = {"case3_day0": "3", "case3_day5": "3", "case31_day0": "31"}


def test_scans_of_a_case_are_added_up_and_empty_rows_are_not_counted() -> None:
    found = per_case_sums(SCANS, CASES)
    assert list(found) == ["3", "31"]
    assert found["3"]["dice_sum"] == [1.5, 1.5, 0.0]  # 0.5, skipped, 0; 1
    assert found["3"]["dice_rows"] == [3.0, 3.0, 0.0]
    assert found["3"]["hausdorff_sum"] == pytest.approx([1.4, 1.7, 0.0])
    assert found["3"]["hausdorff_volumes"] == [2.0, 2.0, 0.0]
    assert found["31"]["dice_sum"] == [0.5, 0.5, 0.0]
    assert found["31"]["dice_rows"] == [1.0, 1.0, 0.0]
    assert found["31"]["hausdorff_sum"] == [0.0, 0.5, 0.0]


def test_dice_of_rows_is_nan_where_both_sides_are_empty() -> None:
    dice = row_dice(SCANS["case3_day0"])
    assert dice[0].tolist()[::2] == [0.5, 0.0]
    assert np.isnan(dice[0, 1])
    assert np.isnan(dice[2]).all()


def test_pooled_sums_are_the_pooled_score() -> None:
    sums, pooled = per_case_sums(SCANS, CASES), pool_scores(list(SCANS.values()))
    for name, rows, volumes in (("dice", 4.0, 3.0), ("hausdorff", 4.0, 3.0)):
        total = sum(sum(case[f"{name}_sum"]) for case in sums.values())
        counts = "dice_rows" if name == "dice" else "hausdorff_volumes"
        count = sum(sum(case[counts]) for case in sums.values())
        assert count == 2 * (rows if name == "dice" else volumes)
        assert getattr(pooled, name) == pytest.approx(total / count)
    assert pooled.score == pytest.approx(0.4 * pooled.dice + 0.6 * pooled.hausdorff)


def test_the_table_of_scores_holds_every_count_of_each_organ(tiny: Path, tmp_path: Path) -> None:
    index = SliceIndex.from_directory(tiny)
    random, scores = np.random.default_rng(0), {}
    for scan in ("case1_day0", "case7_day0"):
        slices = len(index.rows_of_scan(scan))
        shared = random.integers(0, 5, (3, slices))
        more, other = random.integers(0, 5, (2, 3, slices))
        scores[scan] = ScanScore(shared, shared + more, shared + other, random.random(3))
    write_scores(tmp_path / "scores.parquet", scores, index)
    table = read_scores(tmp_path / "scores.parquet")
    assert len(table) == 3 * (6 + 6) + 3 * 2
    for scan, score in scores.items():
        for place, organ in enumerate(CONTEST):
            own = table[(table["class"] == organ) & table["id"].str.startswith(f"{scan}")]
            rows = own[own["level"] == "slice"]
            (total,) = own[own["level"] == "scan"].to_dict("records")
            assert rows["id"].tolist() == index.rows_of_scan(scan)["id"].tolist()
            assert total["id"] == scan
            for name in ("intersection_px", "prediction_px", "truth_px"):
                values = getattr(score, name)[place]
                assert rows[name].tolist() == values.tolist()
                assert total[name] == values.sum()
            assert rows["dice"].to_numpy() == pytest.approx(row_dice(score)[place], nan_ok=True)
            assert total["hausdorff"] == pytest.approx(score.hausdorff[place])
            assert rows["hausdorff"].isna().all()
            assert pd.isna(total["dice"])
