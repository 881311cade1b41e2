"""Variances of their own for candidates that are not alike; one for all where they are."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy.stats import binom

from orchestrator.statistics import (
    CaseSums,
    analyse,
    bootstrap,
    compare_with_first,
    settle,
    variance_components,
    winners_score,
)
from orchestrator.statistics.variance.luck import moderated_variances
from tests.support.simulated_sweeps import World, simulate, true_scores

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


FEW_FOLDS = World(
    (0.0, 0.0, -0.2, -0.25), n_cases=12, n_folds=3, training_sd=(0.01, 0.01, 0.13, 0.13)
)
ONE_OF_THREE = dataclasses.replace(
    FEW_FOLDS, effects=(0.0, 0.0, -0.2), training_sd=(0.01, 0.01, 0.13)
)
BESIDE_FAILING = {  # and how much wider intervals between the others may be for it
    "2 of 4 fail, 3 folds": (FEW_FOLDS, 1.75),
    "1 of 3 fails, 3 folds": (ONE_OF_THREE, 1.5),
    "2 of 6 fail, 5 folds": (
        World((0.0,) * 4 + (-0.2,) * 2, n_cases=20, training_sd=(0.01,) * 4 + (0.13,) * 2),
        1.25,
    ),
}


def held_and_width(world: World, sweeps: int, best: int) -> tuple[int, float]:
    """Sweeps in which all intervals hold; the median width between two of the best."""
    truth, random = np.array(true_scores(world)), np.random.default_rng(5)
    hold, widths = 0, []
    for seed in range(sweeps):
        sums = simulate(world, random)
        found = compare_with_first(sums, bootstrap(sums, variance_components(sums), 300, seed))
        low, high, behind = found.behind.low, found.behind.high, truth[found.first] - truth
        hold += bool(((low <= behind + 1e-9) & (behind <= high + 1e-9)).all())
        others = [place for place in range(best) if place != found.first]
        widths += [float(np.mean((high - low)[others]))] if found.first < best else []
    return hold, float(np.median(widths))


@pytest.mark.parametrize("name", BESIDE_FAILING)
def test_failing_candidates_hardly_widen_the_intervals_between_steady_ones(name: str) -> None:
    """Luck pooled over both makes them four times as wide on three folds."""
    world, wider = BESIDE_FAILING[name]
    best, sweeps = world.effects.count(0.0), 100
    hold, width = held_and_width(world, sweeps, best)
    _, without = held_and_width(dataclasses.replace(world, training_sd=0.01), sweeps, best)
    assert hold >= binom.ppf(0.001, sweeps, 0.95), hold
    assert width < wider * without


@pytest.mark.parametrize("effects", [(0.0,) * 4, (0.0,) * 3, (0.0, -0.1, -0.2, -0.3)])
def test_equally_unsteady_candidates_are_not_taken_for_steady(effects: tuple[float, ...]) -> None:
    """Three folds, a luck of sd .13: by chance the best vary little in some sweeps."""
    world = dataclasses.replace(FEW_FOLDS, effects=effects, training_sd=0.13)
    hold, _ = held_and_width(world, 150, len(effects))
    assert hold >= binom.ppf(0.001, 150, 0.95), hold


def test_the_winner_s_figure_is_not_lowered_by_failing_candidates() -> None:
    """By .026, where their luck counts as that of the winner and its equal."""
    truth, random, left = np.array(true_scores(FEW_FOLDS)), np.random.default_rng(5), []
    for seed in range(100):
        sums = simulate(FEW_FOLDS, random)
        drawn = bootstrap(sums, variance_components(sums), 300, seed)
        winner = winners_score(drawn, seed)
        common = float((drawn.estimate - truth)[:2].mean())
        left.append(winner.corrected - truth[winner.winner] - common)
    assert -0.012 < np.mean(left) < 0.006


def test_cheapest_is_not_one_that_fails_now_and_then() -> None:
    effects, sds = (0.0,) * 6 + (-0.3,) * 4, (0.006,) * 6 + (0.12,) * 4
    for seed in range(5):
        sums = simulate(World(effects, n_cases=20, training_sd=sds), np.random.default_rng(seed))
        found = analyse(sums, costs=[10.0, 9, 8, 7, 6, 5, 4, 3, 2, 1], draws=400)
        assert found.cheapest in {f"candidate {place}" for place in range(6)}


def with_twins_by_rule(seed: int, shared: bool) -> CaseSums:
    """Three trainings and a fourth candidate: the first's networks, .01 worse by its rule."""
    sums = simulate(World((0.0, 0.0, 0.0), training_sd=0.02), np.random.default_rng(seed))
    worse = sums.values[:1].copy()
    loss = np.random.default_rng(seed + 1).normal(0.01, 0.002, (1, sums.n_cases, 1, 1))
    worse[..., ::2] -= loss * worse[..., 1::2]
    values = np.concatenate([sums.values, worse])
    training = np.array([0, 1, 2, 0]) if shared else np.empty(0, int)
    return CaseSums(("a", "b", "c", "a, other rule"), sums.cases, sums.folds, values, training)


def test_candidates_of_one_training_share_its_luck() -> None:
    """What differs between two rules on the same networks owes nothing to another training."""
    for shared, widest in ((True, 0.002), (False, 0.2)):
        sums = with_twins_by_rule(1, shared)
        parts = variance_components(sums)
        drawn = bootstrap(sums, parts, 400)
        low, high = drawn.differences(0)[3]
        assert (high - low < 0.002) == shared
        assert high - low < widest
        assert np.ptp(drawn.differences(0)[1]) > 0.01
        assert (np.std(drawn.draws[:, 0] - drawn.draws[:, 3]) < 1e-3) == shared
        plan = settle(sums, parts, first=0, second=3)
        assert (plan.repeats == 1 and plan.present_sd < 1e-3) == shared


def test_a_rule_that_is_worse_on_the_same_networks_is_told_from_them() -> None:
    told = {}
    for shared in (True, False):
        sums = with_twins_by_rule(1, shared).take([0, 3])
        assert sums.training.tolist() == ([0, 0] if shared else [0, 1])
        drawn = bootstrap(sums, variance_components(with_twins_by_rule(1, shared)), 400)
        told[shared] = not compare_with_first(sums, drawn).tied.all()
    assert told == {True: True, False: False}
