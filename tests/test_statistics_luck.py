"""Variances of their own for candidates that are not alike; one for all where they are."""

from __future__ import annotations

import numpy as np
import pytest

from orchestrator.statistics import World, analyse, bootstrap, simulate, variance_components
from orchestrator.statistics.luck import moderated_variances

SDS = np.array([0.01] * 6 + [0.1] * 4)


def rows(sds: np.ndarray, columns: int, seed: int) -> np.ndarray:
    """Normal rows with something that they all share in each column, and mean 0."""
    random = np.random.default_rng(seed)
    table = random.standard_normal((len(sds), columns)) * sds[:, None] + random.normal(
        0, 1, columns
    )
    return table - table.mean(axis=1, keepdims=True)


def test_many_columns_give_each_row_its_own_variance() -> None:
    found = moderated_variances(rows(SDS, 4000, 1), 3999)
    assert found
    assert np.sqrt(found.values) == pytest.approx(SDS, rel=0.05)


def test_alike_rows_share_the_usual_pooled_variance() -> None:
    """In most tables: now and then chance alone makes rows look different."""
    alike = 0
    for seed in range(40):
        table = rows(np.full(10, 0.02), 5, seed)
        found = moderated_variances(table, 4)
        assert found
        if found.alike:
            alike += 1
            left = table - table.mean(axis=0)
            assert found.values[0] == pytest.approx(np.square(left).sum() / (9 * 4))
    assert alike > 15


def test_a_failing_row_does_not_spoil_the_others() -> None:
    """Five columns, as many as folds: the steady rows' variance is right on average."""
    ratios = []
    for seed in range(200):
        found = moderated_variances(rows(SDS, 5, seed), 4)
        assert found
        assert min(found.values[6:]) > 3 * max(found.values[:6]) or seed  # nearly always
        ratios.append(np.median(found.values[:6]) / SDS[0] ** 2)
    assert np.median(ratios) == pytest.approx(1, abs=0.25)


def test_few_rows_few_columns_and_no_variance_have_none() -> None:
    assert moderated_variances(rows(SDS[:3], 5, 0), 4) is None
    assert moderated_variances(np.zeros((6, 5)), 4) is None
    assert moderated_variances(rows(SDS, 5, 0), 1) is None


def test_intervals_of_steady_candidates_stay_narrow_and_true_beside_unreliable_ones() -> None:
    """The case that led here: half of the losses fail on some folds, the others never do."""
    effects, sds = (0.0,) * 6 + (-0.3,) * 4, (0.006,) * 6 + (0.12,) * 4
    random, inside, widths, loose = np.random.default_rng(8), [], [], []
    for seed in range(60):
        sums = simulate(World(effects, training_sd=sds), random)
        drawn = bootstrap(sums, variance_components(sums), 400, seed)
        low, high = drawn.differences(0)[5]
        inside.append(low <= 0 <= high)
        widths.append(high - low)
        loose.append(np.ptp(drawn.differences(0)[9]))
    assert np.mean(inside) > 0.88
    assert np.median(widths) < 0.05  # a pooled variance makes it .19
    assert np.median(loose) > 0.15


def test_cheapest_is_not_one_that_fails_now_and_then() -> None:
    effects, sds = (0.0,) * 6 + (-0.3,) * 4, (0.006,) * 6 + (0.12,) * 4
    for seed in range(5):
        sums = simulate(World(effects, n_cases=20, training_sd=sds), np.random.default_rng(seed))
        found = analyse(sums, costs=[10.0, 9, 8, 7, 6, 5, 4, 3, 2, 1], draws=400)
        assert found.cheapest in {f"candidate {place}" for place in range(6)}
