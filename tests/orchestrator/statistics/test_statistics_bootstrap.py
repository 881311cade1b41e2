from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from orchestrator.statistics import CaseSums, bootstrap, variance_components
from orchestrator.statistics.intervals.bootstrap import case_weights
from tests.support.simulated_sweeps import World, simulate

FOLDS = np.repeat([0, 1, 2], [4, 7, 1])


def test_every_fold_keeps_its_size() -> None:
    weights = case_weights(FOLDS, 50, np.random.default_rng(0))
    for fold, size in enumerate((4, 7, 1)):
        assert weights[:, fold == FOLDS].sum(axis=1) == pytest.approx(np.full(50, size))
    assert (weights[:, -1] == 1).all()


def test_variance_of_a_fold_mean_is_unbiased() -> None:
    """s^2 / n with the n - 1 in s^2, which n draws of n cases would miss by a quarter here."""
    x = np.array([0.1, 0.4, 0.35, 0.9])
    weights = case_weights(np.zeros(4, int), 200_000, np.random.default_rng(1))
    assert np.var(weights @ x / 4) == pytest.approx(np.var(x, ddof=1) / 4, rel=0.015)


def table(world: World, seed: int = 0) -> CaseSums:
    return simulate(world, np.random.default_rng(seed))


def test_draws_against_a_slow_loop() -> None:
    sums = table(World((0.0, 0.02), n_cases=12, n_folds=3))
    drawn = bootstrap(sums, draws=5, seed=9)
    weights = case_weights(sums.folds, 5, np.random.default_rng(9))
    for d in range(5):
        for c in range(2):
            folds = []
            for fold in range(3):
                total = sum(
                    weights[d, i] * sums.values[c, i].sum(axis=0)
                    for i in range(12)
                    if sums.folds[i] == fold
                )
                folds.append(0.4 * total[0] / total[1] + 0.6 * total[2] / total[3])
            assert drawn.case_draws[d, c] == pytest.approx(np.mean(folds), rel=1e-12)
    # One factor a draw stretches its distance from the estimate for all candidates alike.
    stretch = (drawn.draws - drawn.estimate) / (drawn.case_draws - drawn.estimate)
    assert stretch[:, 0] == pytest.approx(stretch[:, 1])
    assert np.unique(stretch[:, 0].round(9)).size == 5


def test_few_cases_give_the_tails_of_t() -> None:
    """With twelve cases in three folds, draws have the tails of t with nine degrees of freedom."""
    sums = table(World((0.0, 0.02), n_cases=12, n_folds=3))
    drawn = bootstrap(sums, draws=100_000)
    own = drawn.draws[:, 0] - drawn.estimate[0]
    cases = drawn.case_draws[:, 0] - drawn.estimate[0]
    assert np.var(own) / np.var(cases) == pytest.approx(9 / 7, rel=0.03)


def test_equal_seeds_equal_draws() -> None:
    sums = table(World(n_cases=20))
    parts = variance_components(sums)
    first, again, other = (bootstrap(sums, parts, 50, seed).draws for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_differences_are_paired() -> None:
    """A difficulty shared by all candidates does not widen a difference."""
    sums = table(World((0.0, 0.01), training_sd=0, interaction_sd=0.001))
    drawn = bootstrap(sums)
    widths = np.ptp(drawn.intervals(), axis=1), np.ptp(drawn.differences(0), axis=1)
    assert widths[1][0] == 0
    assert widths[1][1] < widths[0][1] / 20


def test_pairwise_is_every_difference_and_antisymmetric() -> None:
    drawn = bootstrap(table(World((0.0, 0.01, 0.03))), draws=300)
    pairs = drawn.pairwise()
    assert pairs.shape == (3, 3, 2)
    assert np.array_equal(pairs[2], drawn.differences(2))
    np.testing.assert_allclose(pairs, -pairs.transpose(1, 0, 2)[..., ::-1], atol=1e-12)


@pytest.mark.parametrize("n_cases", [85, 20])
def test_intervals_cover_the_truth(n_cases: int) -> None:
    """Of scores and of differences, in 19 of 20 sweeps; the luck of training included."""
    random, n = np.random.default_rng(n_cases), 300
    world = World((0.0, 0.01, -0.01, 0.0), n_cases=n_cases)
    truth = world.mean + np.array(world.effects)
    inside = np.zeros(2)
    for seed in range(n):
        sums = simulate(world, random)
        drawn = bootstrap(sums, variance_components(sums), 400, seed)
        ends = drawn.intervals()[0], drawn.differences(0)[1]
        values = truth[0], truth[0] - truth[1]
        inside += [low <= v <= high for (low, high), v in zip(ends, values, strict=True)]
    assert (inside >= binom.ppf(0.001, n, 0.95)).all(), inside / n
    assert inside[0] <= binom.ppf(0.999, n, 0.96)  # nor is it too wide


def test_without_the_luck_of_training_differences_are_too_short() -> None:
    """Why ``components`` is there."""
    random, n, inside = np.random.default_rng(0), 200, 0
    for seed in range(n):
        low, high = bootstrap(simulate(World((0.0, 0.0)), random), None, 300, seed).differences(0)[
            1
        ]
        inside += low <= 0 <= high
    assert inside < binom.ppf(0.001, n, 0.95)


def test_probability_among_the_best() -> None:
    drawn = bootstrap(table(World((0.0, 0.0, 0.0, -0.3))), draws=400)
    assert drawn.probability_among_best(3).tolist() == [1, 1, 1, 0]
    assert drawn.probability_among_best(9).tolist() == [1, 1, 1, 1]
    first = drawn.probability_among_best(1)
    assert first.sum() == pytest.approx(1)
    slow = [(drawn.draws.argmax(axis=1) == c).mean() for c in range(4)]
    assert first.tolist() == slow


def test_twins_share_a_place() -> None:
    sums = table(World((0.0, -0.3)))
    twins = CaseSums(("a", "b"), sums.cases, sums.folds, sums.values[[0, 0]])
    drawn = bootstrap(twins, variance_components(twins), 100)
    assert drawn.probability_among_best(1).tolist() == [1, 1]
    assert drawn.differences(0).tolist() == [[0, 0], [0, 0]]


def test_a_fold_of_one_case_gives_no_interval() -> None:
    drawn = bootstrap(table(World((0.0, 0.0), n_cases=9)), draws=20)
    assert not drawn.possible
    assert np.isnan(drawn.intervals()).all()


def test_a_draw_with_nothing_to_count_is_no_nan() -> None:
    sums = table(World((0.0, 0.0), n_cases=4, n_folds=2))
    values = sums.values.copy()
    values[:, 0] = 0  # a case without organs: alone in half of its fold's draws
    assert np.isfinite(
        bootstrap(CaseSums(sums.names, sums.cases, sums.folds, values), draws=50).draws
    ).all()
