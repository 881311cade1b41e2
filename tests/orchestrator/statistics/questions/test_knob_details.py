"""Interactions, and effects that one failing level makes, on grids whose truth is known."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest

from orchestrator.statistics import Bootstrap, bootstrap, main_effects, variance_components
from orchestrator.statistics.questions.drivers import Driver, drivers
from orchestrator.statistics.questions.interaction import Interaction, interaction
from tests.support.simulated_sweeps import World, simulate

LOSSES, DEPTHS = ("bce", "dice", "soft", "mixed"), (4, 5)
GRID = list(itertools.product(LOSSES, DEPTHS))
KNOBS: dict[str, list[Any]] = {
    "loss": [row[0] for row in GRID],
    "network.depth": [row[1] for row in GRID],
}
STILL = {"case_sd": 0.0, "interaction_sd": 0.0, "training_sd": 0.0}


def drawn_of(
    truth: dict[tuple[str, int], float], *, quiet: bool = True, seed: int = 0
) -> Bootstrap:
    effects = tuple(truth.get(row, 0.0) for row in GRID)
    world = World(effects, **(STILL if quiet else {}))  # type: ignore[arg-type]
    sums = simulate(world, np.random.default_rng(seed))
    return bootstrap(sums, variance_components(sums), 400)


def crossed(drawn: Bootstrap, knobs: dict[str, list[Any]] = KNOBS) -> Interaction:
    found = interaction(knobs, main_effects(knobs, drawn), drawn)
    assert found
    return found


FAILING = {("bce", 4): -0.6}


def test_the_table_holds_the_means_by_both_knobs() -> None:
    drawn = drawn_of({**FAILING, ("dice", 5): 0.1})
    found = crossed(drawn)
    assert (found.rows, found.columns) == ("loss", "network.depth")
    assert found.column_levels == ("5", "4")
    assert found.row_levels[0] == "dice"
    assert found.row_levels[-1] == "bce"
    for r, loss in enumerate(found.row_levels):
        for c, depth in enumerate(found.column_levels):
            place = GRID.index((loss, int(depth)))
            assert found.means[r][c] == pytest.approx(drawn.estimate[place])


def test_the_largest_change_is_named_from_its_larger_side() -> None:
    found = crossed(drawn_of(FAILING)).largest
    assert found
    assert (found.gained, found.over, found.most) == ("5", "4", "bce")
    assert found.size == pytest.approx(0.6)
    assert found.low == pytest.approx(0.6) == found.high  # nothing varies
    loses = {("bce", 4): 0.2, **{(loss, 5): 0.1 for loss in LOSSES[1:]}}  # the best loss, at 5
    turned = crossed(drawn_of(loses)).largest
    assert turned
    assert (turned.gained, turned.least) == ("5", "bce")
    assert turned.size == pytest.approx(0.3)


def test_additive_knobs_do_not_interact() -> None:
    truth = {(loss, depth): 0.02 * (loss == "dice") + 0.01 * (depth == 5) for loss, depth in GRID}
    told = 0
    for seed in range(30):
        found = crossed(drawn_of(truth, quiet=False, seed=seed)).largest
        assert found
        assert found.low < found.size < found.high
        told += found.low > 0
    assert told <= 5


def test_a_hole_in_the_grid_is_a_missing_cell() -> None:
    kept = [place for place, row in enumerate(GRID) if row != ("bce", 5)]
    knobs = {name: [values[place] for place in kept] for name, values in KNOBS.items()}
    truth = tuple(
        0.1 * (GRID[place] == ("dice", 5)) - 0.2 * (GRID[place][0] == "bce") for place in kept
    )
    sums = simulate(World(truth, **STILL), np.random.default_rng(0))  # type: ignore[arg-type]
    found = crossed(bootstrap(sums, draws=50), knobs)
    assert math.isnan(found.means[found.row_levels.index("bce")][found.column_levels.index("5")])
    assert found.largest
    assert found.largest.size == pytest.approx(0.1)


def test_one_knob_and_many_levels_are_not_crossed() -> None:
    drawn = drawn_of({})
    one = {"loss": KNOBS["loss"]}
    assert interaction(one, main_effects(one, drawn), drawn) is None
    many = {"rate": list(range(8)), "loss": ["a", "b"] * 4}
    assert interaction(many, main_effects(many, drawn), drawn) is None


def found_drivers(truth: dict[tuple[str, int], float]) -> dict[str, Driver]:
    drawn = drawn_of(truth)
    found = drivers(KNOBS, main_effects(KNOBS, drawn), drawn.estimate)
    return {one.knob: one for one in found}


def test_an_effect_that_one_failing_level_makes_is_named() -> None:
    """Depth matters with bce alone, and loss through bce alone."""
    found = found_drivers({("bce", 4): -0.66, ("bce", 5): -0.4})
    depth = found["network.depth"]
    assert (depth.best, depth.worst, depth.of_knob, depth.failing) == ("5", "4", "loss", ("bce",))
    assert depth.span == pytest.approx(0.065)
    assert depth.left == pytest.approx(0, abs=1e-9)
    loss = found["loss"]
    assert (loss.worst, loss.of_knob, loss.failing) == ("bce", "loss", ("bce",))
    assert loss.span == pytest.approx(0.53)
    assert loss.left == pytest.approx(0, abs=1e-9)


def test_two_failing_levels_are_named_together_and_not_one_that_explains_nothing() -> None:
    """With both depths soft fails alike: it makes no effect of depth, and bce makes it all."""
    truth = {("soft", 4): -0.68, ("soft", 5): -0.68, ("bce", 4): -0.6, ("bce", 5): -0.35}
    found = found_drivers({**truth, ("dice", 4): 0.01, ("dice", 5): 0.01})
    assert found["network.depth"].failing == ("bce",)
    assert set(found["loss"].failing) == {"soft", "bce"}
    assert found["loss"].left == pytest.approx(0.01)


def test_an_effect_that_all_levels_share_is_nobody_s() -> None:
    steps = dict(zip(LOSSES, (0.0, 0.1, 0.2, 0.3), strict=True))
    assert found_drivers({(loss, d): steps[loss] + 0.1 * (d == 5) for loss, d in GRID}) == {}


def test_small_effects_are_not_worth_a_sentence() -> None:
    assert found_drivers({("bce", 4): -0.015}) == {}
    assert found_drivers({("bce", 4): -0.3}) == {}  # nobody fails
