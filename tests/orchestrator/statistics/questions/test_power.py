"""Patients and repeats that find a difference, against simulated sweeps with that difference."""

from __future__ import annotations

import math

import numpy as np
import pytest

from orchestrator.statistics import CaseSums, variance_components
from orchestrator.statistics.questions.power import (
    MOST_REPEATS,
    REPEATS,
    TYPICAL,
    Noise,
    detection,
    noise_of,
)
from tests.support.simulated_sweeps import World, simulate

KNOWN = Noise(0.03**2, 0.006**2, 5, 40, 1, "known")


def difference_of(sums: CaseSums) -> float:
    return float(np.subtract(*sums.fold_scores().mean(axis=1)))


@pytest.mark.parametrize(("cases", "plans"), [(20, 1), (60, 1), (40, 3)])
def test_the_variance_is_that_of_simulated_differences(cases: int, plans: int) -> None:
    """Within 15 %: 500 sweeps know it to 6 %, and cases weigh unequally."""
    rng = np.random.default_rng(cases)
    world = World((0.0, 0.0), n_cases=cases, training_sd=0.012, n_plans=plans)
    seen = np.var([difference_of(simulate(world, rng)) for _ in range(500)])
    noise = Noise(0.03**2, 0.012**2, 5, cases, plans, "known")
    assert noise.variance(cases, plans) == pytest.approx(seen, rel=0.2)


def test_the_cases_named_find_the_difference_four_times_in_five() -> None:
    needed = KNOWN.cases_needed(0.02, 1)
    assert needed
    rng = np.random.default_rng(0)
    world = World((0.02, 0.0), n_cases=needed)
    differences = np.array([difference_of(simulate(world, rng)) for _ in range(400)])
    error = math.sqrt(KNOWN.variance(needed, 1))
    assert 0.72 < np.mean(differences / error > 1.96) < 0.9


def test_more_cases_and_repeats_find_less_and_the_numbers_are_the_fewest() -> None:
    for repeats in REPEATS:
        needed = KNOWN.cases_needed(0.012, repeats)
        assert needed
        assert KNOWN.detectable(needed, repeats) <= 0.012 < KNOWN.detectable(needed - 1, repeats)
    each = [KNOWN.cases_needed(0.012, repeats) for repeats in REPEATS]
    assert each == sorted(each, reverse=True)  # type: ignore[type-var]
    found = KNOWN.repeats_needed(0.021, 40)
    assert found
    assert KNOWN.detectable(40, found) <= 0.021


def test_what_nothing_finds_is_said_to_be_so() -> None:
    unlucky = Noise(0.03**2, 0.3**2, 5, 40, 1, "unlucky")
    assert unlucky.cases_needed(0.01, 1) is None
    assert KNOWN.repeats_needed(0.001, 40) is None
    assert KNOWN.detectable(40, MOST_REPEATS) > 0.001
    assert math.isinf(KNOWN.detectable(5, 1))


def test_the_noise_of_a_run_is_that_of_its_world() -> None:
    rng, found = np.random.default_rng(2), []
    for _ in range(20):
        sums = simulate(World((0.0,) * 6, n_cases=60, training_sd=0.02), rng)
        noise = noise_of(sums, variance_components(sums))
        assert noise
        assert (noise.cases, noise.folds, noise.repeats) == (60, 5, 1)
        found.append((noise.interaction, noise.training))
    interaction, training = np.mean(found, axis=0)
    assert math.sqrt(interaction) == pytest.approx(0.03, rel=0.15)
    assert math.sqrt(training) == pytest.approx(0.02, rel=0.2)


def test_of_repeated_folds_it_is_that_of_one_training() -> None:
    rng, found = np.random.default_rng(3), []
    for _ in range(10):
        sums = simulate(World((0.0,) * 6, n_cases=60, training_sd=0.02, n_plans=3), rng)
        noise = noise_of(sums, variance_components(sums))
        assert noise
        assert noise.repeats == 3
        found.append((noise.interaction, noise.training))
    interaction, training = np.mean(found, axis=0)
    assert math.sqrt(interaction) == pytest.approx(0.03, rel=0.15)
    assert math.sqrt(training) == pytest.approx(0.02, rel=0.2)


def test_one_failing_candidate_does_not_stand_for_the_others() -> None:
    luck = (0.006,) * 7 + (0.2,)
    sums = simulate(World((0.0,) * 8, n_cases=60, training_sd=luck), np.random.default_rng(4))
    noise = noise_of(sums, variance_components(sums))
    assert noise
    assert noise.training < 0.03**2


def test_failing_candidates_do_not_stand_for_the_others_on_few_folds() -> None:
    """Half of four candidates fail: a luck of sd .01, not that of the failing ones."""
    luck, rng, found = (0.01, 0.01, 0.13, 0.13), np.random.default_rng(4), []
    world = World((0.0, 0.0, -0.2, -0.25), n_cases=12, n_folds=3, training_sd=luck)
    for _ in range(40):
        sums = simulate(world, rng)
        noise = noise_of(sums, variance_components(sums))
        assert noise
        found.append(math.sqrt(noise.training))
    assert 0.004 < np.median(found) < 0.03


def test_unknown_noise_is_none() -> None:
    single = simulate(World((0.0,) * 3, n_cases=5), np.random.default_rng(0))
    assert noise_of(single, variance_components(single)) is None
    alone = simulate(World((0.0,)), np.random.default_rng(0))
    assert noise_of(alone, variance_components(alone)) is None


def test_a_detection_holds_all_of_it() -> None:
    found = detection(0.01)
    assert found.noise is TYPICAL
    assert found.detectable == TYPICAL.detectable(85, 1)
    assert [repeats for repeats, _ in found.cases_needed] == list(REPEATS)
    assert found.cases_needed[0][1] == TYPICAL.cases_needed(0.01, 1)
