"""Repeated cross-validation: more trainings, and never more patients."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.studies.bbc_cv import bbc_cv
from gitract_core.errors import RunError
from orchestrator.statistics import (
    analyse,
    bootstrap,
    compare_with_first,
    repeated,
    settle,
    variance_components,
)
from orchestrator.statistics.variance.components import _variance_from_cases
from tests.support.simulated_sweeps import World, simulate

TWO = (0.0, 0.0)


def test_one_plan_is_itself() -> None:
    sums = simulate(World(TWO), np.random.default_rng(0))
    assert repeated([sums]) is sums


def test_score_is_the_mean_over_all_folds_of_all_plans() -> None:
    sums = simulate(World(TWO, n_plans=3), np.random.default_rng(0))
    each = [plan.fold_scores() for plan in sums.tables]
    np.testing.assert_allclose(sums.fold_scores(), np.hstack(each))
    assert sums.fold_scores().shape == (2, 15)
    plans = np.mean([scores.mean(axis=1) for scores in each], axis=0)
    np.testing.assert_allclose(bootstrap(sums, draws=10).estimate, plans)
    assert sums.take([1]).fold_scores() == pytest.approx(sums.fold_scores()[1:])


def test_plans_of_other_cases_are_refused() -> None:
    few, many = (simulate(World(TWO, n_cases=n), np.random.default_rng(0)) for n in (20, 25))
    with pytest.raises(RunError, match=r"fold plan 2: expected the candidates and cases"):
        repeated([few, many])


@pytest.mark.parametrize("n_plans", [1, 4])
def test_variance_that_other_cases_make_is_that_of_other_cases(n_plans: int) -> None:
    """The estimate's mean against the spread of what it is an estimate of."""
    world = World(TWO, n_cases=15, training_sd=0, n_plans=n_plans)
    random, leads, said = np.random.default_rng(1), [], []
    for _ in range(600):
        sums = simulate(world, random)
        leads.append(np.subtract(*sums.fold_scores().mean(axis=1)))
        said.append(_variance_from_cases(sums))
    assert np.mean(said) == pytest.approx(np.var(leads), rel=0.12)  # two standard errors


def test_repeats_do_not_pretend_that_there_are_more_patients() -> None:
    """Without luck of training a repeat says nothing new: the interval stays as wide."""
    widths = []
    for n_plans in (1, 8):
        world = World(TWO, n_cases=30, training_sd=0, n_plans=n_plans)
        each = [drawn_width(simulate(world, np.random.default_rng(seed))) for seed in range(20)]
        widths.append(np.mean(each))
    assert widths[1] == pytest.approx(widths[0], rel=0.1)


def drawn_width(sums: object) -> float:
    return float(np.ptp(bootstrap(sums, draws=500).intervals()[0]))  # type: ignore[arg-type]


def test_repeats_average_the_luck_of_training() -> None:
    """Its variance is halved by a second plan, and so is what the bootstrap adds for it."""
    found = []
    for n_plans in (1, 2):
        world = World((0.0,) * 10, training_sd=0.02, n_plans=n_plans)
        sums = [simulate(world, np.random.default_rng(seed)) for seed in range(20)]
        found.append(np.mean([variance_components(s).training for s in sums]))
    assert found[0] == pytest.approx(0.02**2, rel=0.1)
    assert found[1] == pytest.approx(0.02**2 / 2, rel=0.1)


def test_unreliable_candidates_keep_their_luck_to_themselves() -> None:
    world = World((0.0,) * 6, training_sd=(0.006,) * 5 + (0.12,), n_plans=3)
    parts = variance_components(simulate(world, np.random.default_rng(2)))
    steady, unsteady = parts.known_training[0], parts.known_training[-1]
    assert steady < 0.01**2
    assert unsteady == pytest.approx(0.12**2 / 3, rel=0.5)


def test_intervals_and_tests_keep_their_promise() -> None:
    """300 sweeps of 20 cases in 3 plans: 95 % intervals and 5 % tests, within 3 standard errors."""
    world = World((0.0,) * 5, n_cases=20, n_plans=3)
    held, told, left = [], [], []
    for seed in range(300):
        sums = simulate(world, np.random.default_rng(seed))
        parts = variance_components(sums)
        draws = bootstrap(sums, parts, 400, seed)
        low, high = draws.differences(0)[1]
        held.append(low <= 0 <= high)
        told.append((~compare_with_first(sums, draws).tied).any())
        winner = bbc_cv(sums, parts, 400, seed)
        common = draws.estimate.mean() - world.mean  # of these cases, for all candidates
        left.append(winner.corrected - world.mean - common)
    assert np.mean(held) > 0.95 - 3 * 0.0126
    assert np.mean(told) < 0.05 + 3 * 0.0126
    assert abs(np.mean(left)) < 0.002


def test_words_and_plans_know_of_the_repeats_done() -> None:
    sums = simulate(World((0.004, 0.0), n_plans=3), np.random.default_rng(3))
    found = analyse(sums, draws=200)
    assert "85 cases in 3 times 5 folds" in found.in_words
    assert (found.n_folds, found.n_plans) == (5, 3)
    parts = variance_components(sums)
    plan = settle(sums, parts, first=0, second=1, repeats=3)
    once = settle(sums, parts, first=0, second=1, repeats=1)
    assert plan.present_sd == pytest.approx(once.present_sd)
    assert plan.repeats > once.repeats or plan.repeats == once.repeats == np.inf
