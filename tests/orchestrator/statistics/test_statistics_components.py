from __future__ import annotations

import math

import numpy as np
import pytest

from orchestrator.statistics import CaseSums, Components, settle, variance_components
from orchestrator.statistics.variance.components import linearized_scores
from tests.support.simulated_sweeps import World, simulate

BIG = World(tuple(np.linspace(-0.03, 0.03, 20)), n_cases=60, training_sd=0.012)


def test_shares_of_cases_average_to_the_fold_score() -> None:
    sums = simulate(World(n_cases=23), np.random.default_rng(0))
    shares = linearized_scores(sums)
    means = [shares[:, sums.folds == f].mean(axis=1) for f in sums.fold_labels]
    np.testing.assert_allclose(np.array(means).T, sums.fold_scores(), rtol=1e-12)


def test_shares_are_the_slope_of_the_score() -> None:
    """What one more percent of a case does to its fold's score."""
    sums = simulate(World((0.0, 0.0), n_cases=10, n_folds=2), np.random.default_rng(1))
    weights, step = np.ones(10), 1e-6
    weights[3] += step
    moved = (sums.fold_scores(weights) - sums.fold_scores())[:, 1] / step
    own = (linearized_scores(sums)[:, 3] - sums.fold_scores()[:, 1]) / 5
    assert moved == pytest.approx(own, rel=1e-4)


def averages(world: World, n: int) -> dict[str, float]:
    random = np.random.default_rng(3)
    found = [variance_components(simulate(world, random)) for _ in range(n)]
    names = ("candidate", "case", "interaction", "training")
    return {name: float(np.mean([getattr(f, name) for f in found])) for name in names}


@pytest.mark.parametrize("n_cases", [60, 53])
def test_components_are_those_that_were_drawn(n_cases: int) -> None:
    world = World(BIG.effects, n_cases=n_cases, training_sd=0.012)
    found = averages(world, 40)
    # A large case weighs more in the pooled score: single shares spread by 1 + cv^2 of the sizes.
    larger = found["interaction"] / 0.03**2
    assert 1 < larger < 1.4
    assert found["case"] == pytest.approx(0.08**2 * larger, rel=0.1)
    assert found["candidate"] == pytest.approx(np.var(world.effects, ddof=1), rel=0.1)
    assert found["training"] == pytest.approx(0.012**2, rel=0.15)


def test_what_has_no_degrees_of_freedom_is_unknown() -> None:
    random = np.random.default_rng(5)
    alone = variance_components(simulate(World((0.0,)), random))
    assert math.isnan(alone.candidate)
    assert math.isnan(alone.training)
    assert alone.case > 0
    single = variance_components(simulate(World((0.0, 0.1), n_cases=5), random))
    assert math.isnan(single.interaction)
    assert math.isnan(single.training)
    assert single.known_training.tolist() == [0]


def test_plausible_training_noise_surrounds_the_truth() -> None:
    random, below = np.random.default_rng(6), []
    world = World((0.0,) * 6, training_sd=0.012)
    for _ in range(200):
        parts = variance_components(simulate(world, random))
        luck = parts.plausible_luck(6)
        assert luck
        below.append((luck.draw(200, random)[1] < 0.012**2).mean())
    assert np.mean(below) == pytest.approx(0.5, abs=0.1)
    assert np.mean([b < 0.05 for b in below]) < 0.11


def parts_of(training: float) -> Components:
    return Components(
        candidate=0,
        fold=0,
        case=0,
        interaction=0,
        training=training,
        mean_square=training,
        sampling=0,
        training_df=4,
    )


def pair(difference: float, interaction: float, n_cases: int = 100) -> CaseSums:
    """Two candidates whose difference is as given and spreads over cases as given."""
    spread = np.tile([-1.0, 1.0], n_cases // 2) * interaction
    scores = np.stack([0.5 + difference + spread, np.full(n_cases, 0.5)])
    values = np.stack([scores, np.ones_like(scores)] * 2, axis=-1)[:, :, None]
    folds = np.arange(n_cases) // (n_cases // 5)
    return CaseSums(("a", "b"), tuple(map(str, range(n_cases))), folds, values)


def test_repeats_that_settle_by_hand() -> None:
    """Target variance (.01 / 2.8016)^2 = 1.274e-5, no spread over cases: 2 * 1e-4 / 5 / r below."""
    plan = settle(pair(0.01, 0.0), parts_of(1e-4), first=0, second=1)
    assert plan.difference == pytest.approx(0.01)
    assert plan.target_sd == pytest.approx(0.01 / 2.80159, rel=1e-5)
    assert plan.present_sd == pytest.approx(math.sqrt(4e-5))
    assert (plan.repeats, plan.cases, plan.repeats_with_cases) == (4, 100, 4)


def test_cases_that_settle_by_hand() -> None:
    """Spread .1 over 100 cases: variance .01 * 20/19 / 100 = 1.05e-4, 8.26 times the target."""
    plan = settle(pair(0.01, 0.1), parts_of(0.0), first=0, second=1)
    assert plan.repeats == math.inf
    assert (plan.cases, plan.repeats_with_cases) == (827, 1)


def test_training_noise_and_cases_together() -> None:
    plan = settle(pair(0.01, 0.1), parts_of(1e-4), first=0, second=1)
    variance = 0.01 * 20 / 19 / plan.cases + 2e-4 / 5 / plan.repeats_with_cases
    assert plan.repeats == math.inf
    assert variance == pytest.approx(plan.target_sd**2, rel=0.01)


def test_equal_scores_are_never_settled_and_single_cases_say_nothing() -> None:
    plan = settle(pair(0.0, 0.1), parts_of(1e-4), first=0, second=1)
    assert plan.repeats == plan.cases == math.inf
    sums = simulate(World((0.0, 0.1), n_cases=5), np.random.default_rng(0))
    assert math.isnan(settle(sums, variance_components(sums), first=0, second=1).cases)


def test_the_promised_power_is_reached() -> None:
    """Simulate sweeps of the promised size: four in five find the difference."""
    world = World((0.012, 0.0), n_cases=40)
    true_sd = math.sqrt(2 * (0.03**2 / 40 + 0.006**2 / 5))
    difference = pair(0.012, 0.03 * math.sqrt(2) * math.sqrt(7 / 8), 40)
    plan = settle(difference, parts_of(0.006**2), first=0, second=1)
    assert plan.present_sd == pytest.approx(true_sd, rel=0.01)
    assert plan.repeats == math.inf
    n = int(plan.cases)
    assert n > world.n_cases
    variance = 2 * (0.03**2 / n + 0.006**2 / 5 / plan.repeats_with_cases)
    draws = np.random.default_rng(1).normal(0.012, math.sqrt(variance), 20_000)
    assert (np.abs(draws) > 1.96 * math.sqrt(variance)).mean() == pytest.approx(0.8, abs=0.015)
