from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest

import orchestrator.statistics as statistics
from gitract_core.errors import RunError
from gitract_core.metrics import ScanScore, pool_scores
from gitract_core.results.score_table import per_case_sums
from orchestrator.statistics import CaseSums
from tests.support.simulated_sweeps import World, simulate

PLAN = {7: 0, 8: 1, 11: 0, 20: 1, 21: 2}
CASE_OF = {f"case{case}_day{day}": str(case) for case in PLAN for day in range(3)}


def random_scan(random: np.random.Generator) -> ScanScore:
    """Counts of a scan of 3 to 8 slices, a third of the rows and some volumes empty."""
    size = (3, int(random.integers(3, 9)))
    truth = random.integers(1, 50, size) * (random.random(size) < 0.7)
    prediction = random.integers(1, 50, size) * (truth > 0)
    shared = np.minimum(truth, prediction) // 2
    hausdorff = np.where(truth.any(axis=1), random.random(3), np.nan)
    return ScanScore(shared, prediction, truth, hausdorff)


@pytest.fixture(scope="module")
def scans() -> dict[str, dict[str, ScanScore]]:
    """Candidate -> scan -> counts; one to three scans a case."""
    random = np.random.default_rng(4)
    names = [f"case{case}_day{day}" for case in PLAN for day in range(case % 3 + 1)]
    return {name: {scan: random_scan(random) for scan in names} for name in ("a", "b", "c")}


@pytest.fixture(scope="module")
def sums(scans: Any) -> CaseSums:
    return CaseSums.from_results(
        {name: per_case_sums(s, CASE_OF) for name, s in scans.items()}, PLAN
    )


def pooled(scans: dict[str, ScanScore], cases: list[int]) -> float:
    """What ``gitract_core`` says of these cases, a case once for each time that it is named."""
    chosen = [s for case in cases for scan, s in scans.items() if scan.startswith(f"case{case}_")]
    return pool_scores(chosen).score


def test_scores_are_those_of_the_core(scans: Any, sums: CaseSums) -> None:
    assert sums.names == ("a", "b", "c")
    assert sums.cases == ("7", "8", "11", "20", "21")
    expected = [pooled(scans[name], list(PLAN)) for name in sums.names]
    assert sums.scores() == pytest.approx(expected, rel=1e-12)


def test_fold_scores_are_those_of_the_core(scans: Any, sums: CaseSums) -> None:
    members = [[case for case in PLAN if PLAN[case] == fold] for fold in range(3)]
    expected = [[pooled(scans[name], m) for m in members] for name in sums.names]
    np.testing.assert_allclose(sums.fold_scores(), expected, rtol=1e-12)


def test_case_scores_are_those_of_the_core(scans: Any, sums: CaseSums) -> None:
    expected = [[pooled(scans[name], [case]) for case in PLAN] for name in sums.names]
    np.testing.assert_allclose(sums.case_scores(), expected, rtol=1e-12)


def test_weights_repeat_and_leave_out_cases(scans: Any, sums: CaseSums) -> None:
    weights = np.array([[2, 1, 0, 0, 3], [1, 1, 1, 1, 1], [0, 0, 0, 1, 0]])
    got = sums.scores(weights)
    assert got.shape == (3, 3)
    for draw, counts in enumerate(weights):
        drawn = [case for case, n in zip(PLAN, counts, strict=True) for _ in range(n)]
        for c, name in enumerate(sums.names):
            assert got[draw, c] == pytest.approx(pooled(scans[name], drawn), rel=1e-12)
    by_fold = sums.fold_scores(weights)
    assert by_fold.shape == (3, 3, 3)
    assert by_fold[0, 1, 1] == pytest.approx(pooled(scans["b"], [8]), rel=1e-12)
    assert np.isnan(by_fold[2, :, 0]).all()  # nothing of fold 0 is left
    subset = sums.scores(np.array([True, False, False, True, False]))
    assert subset[2] == pytest.approx(pooled(scans["c"], [7, 20]), rel=1e-12)


def test_take_keeps_names_and_rows_together(sums: CaseSums) -> None:
    pair = sums.take([2, 0])
    assert pair.names == ("c", "a")
    assert pair.scores().tolist() == sums.scores()[[2, 0]].tolist()


def test_cannot_be_changed(sums: CaseSums) -> None:
    with pytest.raises(ValueError, match="read-only"):
        sums.values[0] = 0
    values = np.ones((1, 1, 1, 4))
    table = CaseSums(("a",), ("1",), np.array([0]), values)
    values[:] = 0
    assert table.scores().tolist() == [1.0]  # not a view of the caller's array


def test_missing_and_unknown_cases_are_named(scans: Any) -> None:
    results = {name: per_case_sums(s, CASE_OF) for name, s in scans.items()}
    less = {**results, "b": {k: v for k, v in results["b"].items() if k != "20"}}
    with pytest.raises(RunError, match="b, case 20: expected its sums, got none"):
        CaseSums.from_results(less, PLAN)
    with pytest.raises(RunError, match="a, case 99: expected none, got one"):
        CaseSums.from_results({**results, "a": {**results["a"], "99": results["a"]["7"]}}, PLAN)
    broken = {**results["c"], "8": {"dice_sum": [1.0, 2.0, 3.0]}}
    with pytest.raises(RunError, match="c, case 8: expected one number an organ"):
        CaseSums.from_results({**results, "c": broken}, PLAN)


GOOD = np.broadcast_to([1.0, 2.0, 1.0, 2.0], (2, 2, 3, 4))
FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "name twice": ({"names": ("a", "a")}, r"each candidate once, got \['a'\]"),
    "case twice": ({"cases": ("1", "1")}, r"each case once, got \['1'\]"),
    "no candidate": ({"names": (), "values": GOOD[:0]}, "each candidate once, got none"),
    "cases": ({"values": GOOD[:, :1]}, r"expected values \(2, 2, organs, 4\), folds \(2,\)"),
    "folds": ({"folds": np.array([0])}, r"got values \(2, 2, 3, 4\), folds \(1,\)"),
    "sum above count": ({"values": GOOD * [3, 1, 1, 1]}, "a, case 1: .* got sum 3 of 2"),
    "not a number": ({"values": GOOD * [1, 1, np.nan, 1]}, "a, case 1: .* got sum nan of 2"),
    "below zero": ({"values": -GOOD}, "a, case 1: expected a sum from 0 to its count"),
    "empty fold": (
        {"values": GOOD * np.array([1, 0])[:, None, None]},
        "a, fold 1: expected a slice and a scan to count, got none",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faulty_tables_are_refused(fault: str) -> None:
    change, message = FAULTS[fault]
    good = {"names": ("a", "b"), "cases": ("1", "2"), "folds": np.array([0, 1]), "values": GOOD}
    CaseSums(**good)
    with pytest.raises(RunError, match=message):
        CaseSums(**{**good, **change})


def test_simulation_has_the_spread_that_it_says() -> None:
    world = World((0.0,) * 40, n_cases=400, n_folds=4)
    scores = simulate(world, np.random.default_rng(0)).case_scores()
    assert scores.mean() == pytest.approx(world.mean, abs=4 * 0.08 / 20)
    assert scores.mean(axis=0).std() == pytest.approx(0.08, rel=0.12)
    own = scores - scores.mean(axis=0)
    assert own.std() == pytest.approx(np.hypot(0.03, 0.006), rel=0.05)


def test_public_names_are_there_and_sorted() -> None:
    assert statistics.__all__ == sorted(statistics.__all__)
    assert all(hasattr(statistics, name) for name in statistics.__all__)


def test_loads_neither_torch_nor_ray_nor_rich() -> None:
    code = (
        "import sys, orchestrator.statistics; "
        "print({'torch', 'ray', 'rich', 'pandas', 'matplotlib'} & set(sys.modules))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "set()"
