"""The cheapest candidate that is named: near enough to the first, with a stated probability."""

from __future__ import annotations

import math

import numpy as np
import pytest

from orchestrator.statistics import analyse
from orchestrator.statistics.intervals.bootstrap import Bootstrap, bootstrap
from orchestrator.statistics.questions.cheapest import CERTAIN, chance_within, cheapest_within
from orchestrator.statistics.variance.components import variance_components
from tests.support.made_up_draws import bootstrap_of
from tests.support.simulated_sweeps import World, simulate

ALL = np.ones(3, bool)
SCORES = np.array([0.60, 0.597, 0.55])


def drawn_of(draws: np.ndarray, *, possible: bool = True) -> Bootstrap:
    return bootstrap_of(draws, draws.mean(axis=0), possible=possible)


def test_the_chance_is_the_share_of_draws_within_the_margin() -> None:
    behind = np.array([0.0, 0.005, 0.0051, -0.2, 0.3])
    draws = np.stack([np.full(5, 0.6), 0.6 - behind], axis=1)
    assert chance_within(drawn_of(draws), 0, 0.005 + 1e-12) == pytest.approx([1.0, 0.6])
    assert chance_within(drawn_of(draws), 0, 0.31) == pytest.approx([1.0, 1.0])
    assert np.isnan(chance_within(drawn_of(draws, possible=False), 0)).all()


def test_of_those_near_enough_the_cheapest_is_named() -> None:
    near = np.array([1.0, CERTAIN, 1.0])
    assert cheapest_within(near, ALL, SCORES, [9.0, 5.0, 1.0]) == 2
    far = np.array([1.0, CERTAIN, CERTAIN - 0.01])
    assert cheapest_within(far, ALL, SCORES, [9.0, 5.0, 1.0]) == 1
    untied = np.array([True, False, True])
    assert cheapest_within(far, untied, SCORES, [9.0, 5.0, 1.0]) == 0


def test_less_than_a_tenth_apart_is_equally_cheap_and_the_higher_score_is_named() -> None:
    near = np.ones(3)
    assert cheapest_within(near, ALL, SCORES, [1.09, 1.05, 1.0]) == 0
    assert cheapest_within(near, ALL, SCORES, [1.11, 1.05, 1.0]) == 1
    assert cheapest_within(near, ALL, SCORES, [1.2, 1.11, 1.0]) == 2
    assert cheapest_within(near, ALL, SCORES, [0.0, 0.0, 1.0]) == 0


def test_nobody_is_named_where_costs_or_chances_are_unknown() -> None:
    assert cheapest_within(np.ones(3), ALL, SCORES, [math.nan] * 3) is None
    assert cheapest_within(np.full(3, math.nan), ALL, SCORES, [1.0, 2.0, 3.0]) is None
    assert cheapest_within(np.ones(3), ALL, SCORES, [math.nan, 2.0, 3.0]) == 1


def test_following_it_does_not_halve_a_score() -> None:
    """A candidate that fails now and then is cheap and not told from the first; it is not named."""
    rng = np.random.default_rng(3)
    for _ in range(20):
        world = World((0.0, 0.0, -0.1), n_cases=10, training_sd=(0.01, 0.01, 0.2))
        found = analyse(simulate(world, rng), costs=[3.0, 2.9, 1.0], draws=400)
        named = next(c for c in found.candidates if c.name == found.cheapest)
        assert named.score > found.candidates[0].score - 0.05


def test_the_one_named_is_seldom_worse_than_the_first_by_more_than_the_margin() -> None:
    """By truth, not by the draws: of 60 sweeps of 40 cases, with a margin of .02."""
    rng, worse = np.random.default_rng(5), 0
    effects = (0.0, -0.01, -0.02, -0.03, -0.04)
    for _ in range(60):
        sums = simulate(World(effects, n_cases=40), rng)
        drawn = bootstrap(sums, variance_components(sums), 400)
        first = int(np.argmax(drawn.estimate))
        chances = chance_within(drawn, first, 0.02)
        place = cheapest_within(
            chances, np.ones(5, bool), drawn.estimate, [5.0, 4.0, 3.0, 2.0, 1.0]
        )
        assert place is not None
        worse += effects[first] - effects[place] > 0.02
    assert worse <= 6
