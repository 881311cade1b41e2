"""Folds for other tools: the same patients held out as in the run."""

from __future__ import annotations

import io
import json
from collections import defaultdict
from pathlib import Path

import pandas as pd
import pytest

from gitract_core.data.fold_tables import Split, leak_audit, read_splits
from gitract_core.errors import DataError
from orchestrator.api.run import open_run
from orchestrator.sweeps.preparation import SweepRequest, prepare
from tests.support.other_layouts import BY_LETTER, SCANS, write_nnunet
from tests.support.refusing import refused, run_cli
from tests.support.tiny_sweep import prepare_tiny, tiny_space

PATIENT = {f"case{case}_day{day}": f"{case}" for case, day in ((1, 0), (1, 3), (7, 0), (12, 2))}


@pytest.fixture(scope="module")
def run(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run directory with folds, nothing trained."""
    out = tmp_path_factory.mktemp("folds") / "run"
    prepare_tiny(tiny, out)
    return out


def by_hand(run: Path) -> dict[str, int]:
    """The fold of each patient, as ``folds.json`` has it."""
    found: dict[str, int] = json.loads((run / "folds.json").read_text())["fold_of_case"]
    return found


def patient_of(scan: str) -> str:
    return scan.partition("_")[0].removeprefix("case")


def test_splits_hold_out_the_patients_of_the_run(run: Path) -> None:
    ended = run_cli("folds", str(run), "--format", "nnunet")
    assert ended.code == 0
    splits = json.loads(ended.out)
    assert len(splits) == 2
    scans = {"case1_day0", "case1_day3", "case7_day0", "case12_day2", "case20_day1"}
    for fold, split in enumerate(splits):
        assert set(split) == {"train", "val"}
        assert sorted(split["train"] + split["val"]) == sorted(scans)
        assert {by_hand(run)[patient_of(scan)] for scan in split["val"]} == {fold}
    assert "no fold is a patient both trained on and validated on" in " ".join(ended.err.split())


def test_table_has_a_row_a_scan(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "folds.csv"
    ended = run_cli("folds", str(run), "--format", "csv", "--out", str(out))
    assert "4 patients with 5 scans" in ended.out
    table = pd.read_csv(out, dtype={"patient": str})
    assert list(table.columns) == ["scan", "patient", "fold"]
    assert [by_hand(run)[p] for p in table["patient"]] == table["fold"].tolist()
    pd.testing.assert_frame_equal(open_run(run).folds(), table)


def test_folds_of_repeats_are_numbered_on(tiny: Path, tmp_path: Path) -> None:
    prepare(SweepRequest(tiny, tiny_space(), tmp_path / "run", repeats=2))
    table = open_run(tmp_path / "run").folds()
    assert sorted(set(zip(table["repeat"], table["fold"], strict=True))) == [
        (1, 0),
        (1, 1),
        (2, 2),
        (2, 3),
    ]
    assert len(json.loads(run_cli("folds", str(tmp_path / "run")).out)) == 4


def test_folds_of_a_data_set_are_those_that_a_sweep_makes(tmp_path: Path) -> None:
    data = write_nnunet(tmp_path / "data")
    sweep = prepare(SweepRequest(data, tiny_space(), tmp_path / "run", patients=BY_LETTER))
    asked = ("folds", "--data", str(data), "--patients", BY_LETTER, "--folds", "2")
    found = run_cli(*asked, "--format", "csv")
    table = pd.read_csv(io.StringIO(found.out))
    fold_of = defaultdict(set)
    for scan, fold in zip(table["scan"], table["fold"], strict=True):
        fold_of[scan[:2]].add(fold)
    assert fold_of == {case: {fold} for case, fold in sweep.data.plan.fold_of_case.items()}
    assert tuple(table["scan"]) == SCANS


def test_what_contradicts_itself_is_refused(run: Path, tiny: Path, tmp_path: Path) -> None:
    refused(tmp_path, ["folds", str(run), "--seed", "1"], naming="--seed with --data alone")
    refused(tmp_path, ["folds", str(run), "--data", str(tiny)], naming="RUN or --data")
    refused(tmp_path, ["folds", "--data", str(tiny), "--folds", "9"], naming="2 to 4 folds")


def test_a_leak_is_named() -> None:
    leaky = Split(frozenset({"case1_day0", "case7_day0"}), frozenset({"case1_day3"}))
    assert leaky.leaks(PATIENT) == ["1"]
    assert leak_audit([leaky], PATIENT).endswith("trained on and validated on: 1")


@pytest.mark.parametrize(
    ("text", "naming"),
    [
        ("scan,fold\ncase1_day0,0\n", "a fold of scan case1_day3"),
        ("scan,fold\ncase2_day0,0\n", "'case2_day0'"),
        ("scan,fold\ncase1_day0,0\ncase1_day0,1\n", "case1_day0 twice"),
        ("name,fold\nx,1\n", "columns scan"),
        ("patient,fold\n1,0\n7,1\n12,\n", "a fold of patient 12"),
    ],
)
def test_a_bad_table_of_folds_is_refused(tmp_path: Path, text: str, naming: str) -> None:
    (tmp_path / "folds.csv").write_text(text)
    with pytest.raises(DataError, match=naming):
        read_splits(tmp_path / "folds.csv", PATIENT)


def test_a_table_of_patients_is_one_of_scans(tmp_path: Path) -> None:
    (tmp_path / "folds.csv").write_text("patient,fold\n1,b\n7,a\n12,a\n")
    first, second = read_splits(tmp_path / "folds.csv", PATIENT)
    assert first.val == {"case7_day0", "case12_day2"}
    assert second.val == {"case1_day0", "case1_day3"}
    assert second.train == first.val
