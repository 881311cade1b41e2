"""Claims of non-inferiority, against the truth of simulated sweeps."""

from __future__ import annotations

import numpy as np
from scipy.stats import binom

from orchestrator.statistics import Bootstrap, bootstrap, variance_components
from orchestrator.statistics.intervals.simultaneous import behind_first
from orchestrator.statistics.questions.margin import behind_best_at_most, no_worse
from tests.support.made_up_draws import bootstrap_of
from tests.support.simulated_sweeps import World, simulate

SWEEPS = 150


def drawn_of(world: World, rng: np.random.Generator) -> Bootstrap:
    sums = simulate(world, rng)
    return bootstrap(sums, variance_components(sums), 400)


def made_up(means: list[float], sd: float, *, possible: bool = True) -> Bootstrap:
    draws = np.array(means) + sd * np.random.default_rng(0).standard_normal((4000, len(means)))
    return bootstrap_of(draws, np.array(means), possible=possible)


def test_far_from_the_margin_everything_can_be_said() -> None:
    found = no_worse(made_up([0.7, 0.699, 0.6], 0.0005), 0.005)
    assert found == ["yes", "yes", "no"]


def test_with_much_noise_nothing_can_be_said_of_the_first_either() -> None:
    assert no_worse(made_up([0.7, 0.699, 0.69], 0.02), 0.005) == ["cannot say"] * 3
    assert no_worse(made_up([0.7, 0.699, 0.2], 0.02), 0.005)[2] == "no"


def test_a_certain_winner_is_zero_behind_the_best() -> None:
    found = behind_best_at_most(made_up([0.7, 0.5, 0.5], 0.01))
    assert found[0] == 0
    assert (found[1:] > 0.2).all()


def test_limits_by_hand_for_two_candidates() -> None:
    """One comparison: 1.645 standard errors beyond the observed distance."""
    drawn = made_up([0.70, 0.69], 0.01)
    error = np.std(drawn.draws[:, 0] - drawn.draws[:, 1], ddof=1)
    moved = drawn.draws - drawn.draws.mean(axis=0)
    reach = np.quantile((moved[:, 1] - moved[:, 0]) / error, 0.95)
    assert behind_best_at_most(drawn)[1] == 0.70 - 0.69 + reach * error
    assert abs(reach - 1.645) < 0.08


def test_twins_are_no_worse_than_each_other() -> None:
    drawn = made_up([0.7, 0.7], 0.02)
    twins = np.repeat(drawn.draws[:, :1], 2, axis=1)
    same = bootstrap_of(twins, drawn.estimate)
    assert no_worse(same, 0.0) == ["yes", "yes"]


def test_no_at_a_margin_of_nothing_is_being_told_from_the_best() -> None:
    """The same intervals of all pairs, so that table and answers never contradict each other."""
    rng, told = np.random.default_rng(3), 0
    world = World((0.0, 0.0, -0.01, -0.02, -0.05), n_cases=20, training_sd=(0.006,) * 4 + (0.1,))
    for _ in range(20):
        drawn = drawn_of(world, rng)
        first = int(np.argmax(drawn.estimate))
        out = behind_first(drawn, first).low > 0
        said = np.array([answer == "no" for answer in no_worse(drawn, 0.0)])
        assert said[out].all()
        assert not said[first]
        told += int(out.sum())
    assert told > 5


def test_one_candidate_is_the_best_and_a_case_a_fold_says_nothing() -> None:
    assert no_worse(made_up([0.7], 0.1)) == ["yes"]
    assert no_worse(made_up([0.7, 0.1], 0.001, possible=False)) == ["cannot say"] * 2


def test_no_claim_is_wrong_in_nineteen_sweeps_of_twenty() -> None:
    """Against the truly best one: any wrong yes, any wrong no, of eight candidates."""
    rng = np.random.default_rng(7)
    effects = (0.0, 0.0, 0.0, -0.004, -0.011, -0.012, -0.02, -0.02)
    wrong_yes = wrong_no = said = 0
    for _ in range(SWEEPS):
        found = no_worse(drawn_of(World(effects, n_cases=60), rng), 0.01)
        wrong_yes += any(f == "yes" and e < -0.01 for f, e in zip(found, effects, strict=True))
        wrong_no += any(f == "no" and e >= -0.01 for f, e in zip(found, effects, strict=True))
        said += found.count("yes")
    most = binom.ppf(0.999, SWEEPS, 0.05)
    assert wrong_yes <= most
    assert wrong_no <= most
    assert said > 0
