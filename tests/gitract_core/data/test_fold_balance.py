"""Of a fixed number of shuffles, drawn from the seed, the best balanced one is the plan."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.model_selection import StratifiedGroupKFold

from gitract_core.data.folds import FoldPlan, further_plans
from gitract_core.data.slices import SliceIndex
from gitract_core.organs import CONTEST

SHUFFLES, SLICES_TOLERANCE, SHARE_TOLERANCE = 24, 0.04, 0.03
FOLDS = 3


def contest(seed: int, rare: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Cases of uneven length, slices with 0 to 2 organs; ``rare`` slices with 3."""
    random = np.random.default_rng(seed)
    cases = np.repeat(np.arange(1, 13), random.integers(2, 14, 12))
    shares = random.uniform(0.1, 0.8, 13)[cases]
    labels = (random.random(len(cases)) < shares) * random.integers(1, 3, len(cases))
    labels[random.choice(len(cases), rare, replace=False)] = 3
    return cases, labels


def imbalance(fold_of_slice: np.ndarray, labels: np.ndarray) -> float:
    """The worst fold: its length against the mean, its share of annotated slices against all."""
    worst = 0.0
    for fold in range(FOLDS):
        own = labels[fold_of_slice == fold]
        length = abs(len(own) / (len(labels) / FOLDS) - 1) / SLICES_TOLERANCE
        share = abs(np.mean(own > 0) - np.mean(labels > 0)) / SHARE_TOLERANCE
        worst = max(worst, length, float(share))
    return worst


def shuffles(cases: np.ndarray, labels: np.ndarray, seed: int) -> list[np.ndarray]:
    """The fold of each slice in each shuffle."""
    found = []
    for number in range(seed * SHUFFLES, (seed + 1) * SHUFFLES):
        splitter = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=number)
        folds = np.empty(len(cases), int)
        for fold, (_, own) in enumerate(splitter.split(labels, labels, cases)):
            folds[own] = fold
        found.append(folds)
    return found


def planned(cases: np.ndarray, labels: np.ndarray, seed: int) -> np.ndarray:
    plan = FoldPlan.from_labels(cases, labels, FOLDS, seed)
    return np.array([plan.fold_of_case[str(case)] for case in cases.tolist()])


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_best_balanced_shuffle_is_chosen(seed: int) -> None:
    cases, labels = contest(seed)
    every = [imbalance(folds, labels) for folds in shuffles(cases, labels, seed)]
    assert imbalance(planned(cases, labels, seed), labels) == pytest.approx(min(every))
    assert min(every) < max(every) / 1.2, "the shuffles are too alike to test anything"
    first = int(np.argmin(every))
    chosen = shuffles(cases, labels, seed)[first]
    assert np.array_equal(planned(cases, labels, seed), chosen)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_seeds_draw_from_shuffles_of_their_own(seed: int) -> None:
    """Of cases that are alike, so that shuffles part them in many equally balanced ways."""
    cases = np.repeat(np.arange(12), 10)
    labels = (np.arange(120) % 10 < np.array([2, 5, 7])[cases % 3]).astype(int)
    every = shuffles(cases, labels, seed)
    assert len({folds.tobytes() for folds in every}) > SHUFFLES / 2
    best = every[int(np.argmin([imbalance(folds, labels) for folds in every]))]
    assert np.array_equal(planned(cases, labels, seed), best)


@pytest.mark.parametrize("rare", [1, 2])
def test_a_label_too_rare_for_every_fold_counts_as_the_most_common_one(rare: int) -> None:
    cases, labels = contest(3, rare)
    common = int(np.bincount(labels).argmax())
    merged = np.where(labels == 3, common, labels)
    every = shuffles(cases, merged, 0)
    best = every[int(np.argmin([imbalance(folds, labels) for folds in every]))]
    assert np.array_equal(planned(cases, labels, 0), best)


def test_a_label_as_frequent_as_there_are_folds_counts_as_itself() -> None:
    cases, labels = contest(4, FOLDS)
    assert np.sum(labels == 3) == FOLDS
    every = shuffles(cases, labels, 0)
    best = every[int(np.argmin([imbalance(folds, labels) for folds in every]))]
    assert np.array_equal(planned(cases, labels, 0), best)


def test_the_share_of_organs_decides_where_lengths_are_equal() -> None:
    """Cases of ten slices each: only the share of annotated slices can be out of balance."""
    cases = np.repeat(np.arange(9), 10)
    annotated = np.array([9, 9, 9, 5, 5, 5, 1, 1, 1])
    labels = (np.arange(90) % 10 < annotated[cases]).astype(int)
    plan = FoldPlan.from_labels(cases, labels, FOLDS, 0)
    shares = [np.mean(labels[plan.rows(cases, fold, held_out=True)]) for fold in range(FOLDS)]
    assert shares == pytest.approx([0.5] * FOLDS)


def test_the_length_of_folds_decides_where_shares_are_equal() -> None:
    cases = np.repeat(np.arange(9), [18, 16, 14, 12, 10, 8, 6, 4, 2])
    labels = np.arange(len(cases)) % 2
    plan = FoldPlan.from_labels(cases, labels, FOLDS, 0)
    lengths = [len(plan.rows(cases, fold, held_out=True)) for fold in range(FOLDS)]
    assert max(abs(length - 30) for length in lengths) <= 2


def test_the_seed_reaches_the_plan_of_an_index(tiny: Path) -> None:
    index = SliceIndex.from_directory(tiny)
    cases = index.table["case"].to_numpy()
    for seed in range(4):
        plan = FoldPlan.make(index, 2, seed)
        assert plan == FoldPlan.from_labels(cases, index.organ_counts, 2, seed)
        assert plan.seed == seed


def test_further_plans_have_as_many_folds_and_come_from_the_next_seeds(tiny: Path) -> None:
    index = SliceIndex.from_directory(tiny)
    first = FoldPlan.make(index, 3, 4)
    found = further_plans(index, [first], 3)
    assert [plan.n_splits for plan in found] == [3, 3]
    assert 4 < found[0].seed < found[1].seed
    for seed in range(4, found[1].seed):
        skipped = FoldPlan.make(index, 3, seed)
        assert skipped.parts in (first.parts, found[0].parts)
    assert all(plan == FoldPlan.make(index, 3, plan.seed) for plan in found)
    assert len({plan.parts for plan in (first, *found)}) == 3


def test_a_fingerprint_tells_who_is_in_which_fold() -> None:
    plan = FoldPlan({"1": 0, "2": 1, "3": 0}, 2)
    for other in ({"1": 0, "2": 1, "3": 1}, {"1": 1, "2": 0, "3": 1}, {"1": 0, "2": 1, "4": 0}):
        assert FoldPlan(other, 2).fingerprint != plan.fingerprint
    assert FoldPlan({"3": 0, "2": 1, "1": 0}, 2, 5).fingerprint == plan.fingerprint
    assert FoldPlan({"1": 1, "2": 0, "3": 1}, 2).parts == plan.parts
    assert FoldPlan({"1": 0, "2": 1, "3": 1}, 2).parts != plan.parts


def test_an_audit_counts_each_fold(own_tiny: Path, tmp_path: Path) -> None:
    """By hand, of a plan whose folds differ in everything that is counted."""
    index = SliceIndex.from_directory(own_tiny)
    table = index.table.copy()
    table.loc[table["case"] == "7", "stomach"] = ""
    table.loc[table["scan"] == "case1_day3", list(CONTEST)] = ""
    index = dataclasses.replace(index, table=table)
    plan = FoldPlan({1: 0, 7: 1, 12: 1, 20: 1}, 2)
    plan.save(tmp_path / "folds.json", index)
    audit = json.loads((tmp_path / "folds.json").read_text())["audit"]
    assert audit["cases_in_two_folds"] == []
    first, second = audit["folds"]
    assert (first["fold"], first["cases"], first["scans"], first["slices"]) == (0, 1, 2, 11)
    assert (second["fold"], second["cases"], second["scans"], second["slices"]) == (1, 3, 3, 18)
    assert first["annotated_share"] == pytest.approx(3 / 11)
    assert second["annotated_share"] == pytest.approx(9 / 18)
    assert first["stomach_share"] == pytest.approx(3 / 11)
    assert second["stomach_share"] == pytest.approx(6 / 18)
    assert second["large_bowel_share"] == pytest.approx(9 / 18)
