from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gitract_core.data.folds import FoldPlan
from gitract_core.data.ids import natural_key
from gitract_core.data.slices import SliceIndex
from gitract_core.errors import DataError, RunError


@given(
    slices=st.lists(st.tuples(st.integers(1, 12), st.integers(0, 3)), min_size=3, max_size=80),
    seed=st.integers(0, 5),
)
@settings(max_examples=60, deadline=None)
def test_no_case_is_in_two_folds(slices: list[tuple[int, int]], seed: int) -> None:
    cases, labels = (np.array(column) for column in zip(*slices, strict=True))
    n_splits = min(3, len(set(cases.tolist())))
    if n_splits < 2:
        return
    plan = FoldPlan.from_labels(cases, labels, n_splits, seed)
    held_out = [plan.rows(cases, fold, held_out=True) for fold in range(n_splits)]
    assert sorted(np.concatenate(held_out).tolist()) == list(range(len(cases)))
    for fold, rows in enumerate(held_out):
        training = plan.rows(cases, fold, held_out=False)
        assert not set(cases[rows].tolist()) & set(cases[training].tolist())
        assert len(rows) + len(training) == len(cases)
        held = sorted(set(cases[rows].astype(str).tolist()), key=natural_key)
        assert held == plan.cases(fold)


@pytest.mark.real
def test_balance_on_the_whole_contest(real_data: Path) -> None:
    table = pd.read_csv(real_data / "slice_index.csv")
    plan = FoldPlan.from_labels(table["case"].to_numpy(), table["has_ann"].to_numpy(), 5, 0)
    fold = table["case"].astype(str).map(plan.fold_of_case)
    slices = fold.value_counts()
    assert (abs(slices / (len(table) / 5) - 1) < 0.04).all()
    share = table.groupby(fold)["has_ann"].mean()
    assert (abs(share - table["has_ann"].mean()) < 0.03).all()


def test_equal_seeds_give_equal_plans(tiny: Path) -> None:
    index = SliceIndex.from_directory(tiny)
    plans = [FoldPlan.make(index, 2, seed) for seed in (0, 0, 1, 2, 3)]
    assert plans[0] == plans[1]
    assert len({plan.fingerprint for plan in plans}) > 1
    assert pickle.loads(pickle.dumps(plans[0])) == plans[0]


@pytest.mark.parametrize("n_splits", [0, 1, 5])
def test_impossible_numbers_of_folds_are_refused(tiny: Path, n_splits: int) -> None:
    with pytest.raises(DataError, match=r"2 to 4 folds \(4 cases\).*--folds 4"):
        FoldPlan.make(SliceIndex.from_directory(tiny), n_splits)


def test_a_fold_without_cases_cannot_be_written_down() -> None:
    with pytest.raises(DataError, match="every fold"):
        FoldPlan({"1": 0, "2": 2}, 3)


def test_plan_cannot_be_changed(tiny: Path) -> None:
    plan = FoldPlan.make(SliceIndex.from_directory(tiny), 2)
    with pytest.raises(TypeError):
        plan.fold_of_case["1"] = 0  # type: ignore[index]


def test_file_holds_plan_and_audit(tiny: Path, tmp_path: Path) -> None:
    index = SliceIndex.from_directory(tiny)
    plan = FoldPlan.make(index, 2)
    file = tmp_path / "folds.json"
    plan.save(file, index)
    assert FoldPlan.load(file) == plan
    audit = json.loads(file.read_text())["audit"]
    assert audit["cases_in_two_folds"] == []
    assert sum(fold["slices"] for fold in audit["folds"]) == len(index.table)
    share = audit["folds"][0]["annotated_share"]
    rows = plan.rows(index.table["case"].to_numpy(), 0, held_out=True)
    assert share == pytest.approx(np.mean(index.organ_counts[rows] > 0))


def test_changed_file_is_refused(tiny: Path, tmp_path: Path) -> None:
    index = SliceIndex.from_directory(tiny)
    file = tmp_path / "folds.json"
    FoldPlan.make(index, 2).save(file, index)
    values = json.loads(file.read_text())
    values["fold_of_case"]["1"] = 1 - values["fold_of_case"]["1"]
    file.write_text(json.dumps(values))
    with pytest.raises(RunError, match="fingerprint"):
        FoldPlan.load(file)
    file.write_text(file.read_text()[:40])
    with pytest.raises(RunError, match="expected JSON"):
        FoldPlan.load(file)
