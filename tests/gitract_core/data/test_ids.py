"""Ids are text: their alphabet, their order, and what folds make of them."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from gitract_core.data.folds import FoldPlan
from gitract_core.data.ids import check_name, natural_key
from gitract_core.data.slices import SliceIndex
from gitract_core.errors import DataError


def test_numbers_inside_of_names_count_as_numbers() -> None:
    expected = ["", "1", "01", "2", "10", "a", "a1b9", "a1b10", "a2", "a10b1"]
    shuffled = [expected[i] for i in (9, 3, 5, 0, 7, 2, 8, 1, 4, 6)]
    assert sorted(shuffled, key=natural_key) == sorted(expected, key=natural_key)
    assert sorted(shuffled, key=natural_key)[3:] == expected[3:]
    assert len({natural_key(text) for text in expected}) == len(expected)


@pytest.mark.parametrize("name", ["A-1", "x.y_z", "007", "a" * 64])
def test_names_within_the_alphabet(name: str) -> None:
    check_name("scan", name)


@pytest.mark.parametrize("name", ["", "a" * 65, "a/b", "a b", "é", "..", "a\n", 7, None])
def test_names_beyond_the_alphabet(name: object) -> None:
    with pytest.raises(DataError, match="1 to 64 of A-Z"):
        check_name("scan", name)


def test_an_index_checks_its_names(tiny: Path) -> None:
    index = SliceIndex.from_directory(tiny)
    with pytest.raises(DataError, match="case: expected 1 to 64"):
        dataclasses.replace(index, table=index.table.assign(case=7))


def test_patients_of_any_name_have_folds(tmp_path: Path, tiny: Path) -> None:
    cases = np.repeat(["P-10", "P-9", "site.b_1", "P-9a"], 6)
    plan = FoldPlan.from_labels(cases, np.tile([0, 1, 1], 8), 2)
    assert list(plan.fold_of_case) == ["P-9", "P-9a", "P-10", "site.b_1"]
    held = plan.rows(cases, 0, held_out=True)
    assert set(cases[held]) == set(plan.cases(0))
    index = SliceIndex.from_directory(tiny)
    names = {"1": "P-10", "7": "P-9", "12": "site.b_1", "20": "P-9a"}
    own = dataclasses.replace(index, table=index.table.assign(case=index.table["case"].map(names)))
    plan.save(tmp_path / "folds.json", own)
    assert FoldPlan.load(tmp_path / "folds.json") == plan
    assert own.scan_table["case"].tolist() == ["P-10", "P-10", "P-9", "site.b_1", "P-9a"]


def test_folds_of_the_version_before_are_read(tmp_path: Path) -> None:
    old = {
        "n_splits": 2,
        "seed": 0,
        "fingerprint": "a896fd09c871fcf1",
        "fold_of_case": {"1": 0, "7": 0, "12": 1, "20": 1},
        "audit": {},
    }
    (tmp_path / "folds.json").write_text(json.dumps(old))
    assert FoldPlan.load(tmp_path / "folds.json").cases(1) == ["12", "20"]


def test_a_number_with_zeros_before_it_is_another_patient() -> None:
    one, other = (FoldPlan({"1": 0, name: 1}, 2).fingerprint for name in ("2", "02"))
    assert one != other
    assert one == FoldPlan({1: 0, 2: 1}, 2).fingerprint  # type: ignore[dict-item]
