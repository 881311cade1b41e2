from __future__ import annotations

import dataclasses
import itertools
import math
from typing import Any

import numpy as np
import pytest
from scipy.stats import binom

from gitract_core.errors import RunError
from orchestrator.statistics import (
    KnobEffect,
    analyse,
    bootstrap,
    main_effects,
    variance_components,
)
from orchestrator.statistics.questions.interaction import interaction
from tests.support.simulated_sweeps import World, simulate

GRID = list(itertools.product(["unet", "unetpp", "fpn"], [1e-3, 1e-4], [False, True]))
GAIN: dict[Any, float] = {"unet": 0.0, "unetpp": 0.02, "fpn": -0.02, 1e-3: 0.005, 1e-4: 0.0}


def knobs(rows: list[Any]) -> dict[str, list[Any]]:
    names = ("network", "rate", "flip")
    return {name: [row[i] for row in rows] for i, name in enumerate(names)}


def effects(rows: list[Any], seed: int = 0, quiet: bool = False) -> tuple[KnobEffect, ...]:
    truth = tuple(sum(GAIN[v] for v in row[:2]) for row in rows)
    still = {"case_sd": 0.0, "interaction_sd": 0.0, "training_sd": 0.0} if quiet else {}
    sums = simulate(World(truth, **still), np.random.default_rng(seed))
    return main_effects(knobs(rows), bootstrap(sums, variance_components(sums), 300))


def test_no_interval_leaves_what_scores_can_be() -> None:
    """However wide the draws are: differences from -1 to 1, those of differences from -2 to 2."""
    sums = simulate(World((0.0,) * 12), np.random.default_rng(0))
    drawn = bootstrap(sums, variance_components(sums), 300)
    wide = drawn.estimate + 10_000 * (drawn.draws - drawn.estimate)
    drawn = dataclasses.replace(drawn, draws=wide)
    found = main_effects(knobs(GRID), drawn)
    ends = [(one.low, one.high) for one in found]
    ends += [(level.low, level.high) for one in found for level in one.levels]
    worse = [level for one in found for level in one.levels[1:]]
    ends += [(level.behind_low, level.behind_high) for level in worse]
    assert min(map(min, ends)) >= -1
    assert max(map(max, ends)) <= 1
    crossed = interaction(knobs(GRID), found, drawn)
    assert crossed
    assert crossed.largest
    assert (crossed.largest.low, crossed.largest.high) == pytest.approx((-2, 2))


def test_full_grid_gives_plain_means() -> None:
    sums = simulate(World((0.0,) * 12), np.random.default_rng(0))
    drawn = bootstrap(sums, draws=100)
    for effect in main_effects(knobs(GRID), drawn):
        values = np.array([str(v) for v in knobs(GRID)[effect.knob]])
        means = {v: drawn.estimate[values == v].mean() for v in set(values)}
        assert {level.value: level.mean for level in effect.levels} == pytest.approx(means)
        order = [level.mean for level in effect.levels]
        assert order == sorted(order, reverse=True)
        assert effect.span == pytest.approx(max(means.values()) - min(means.values()))
        assert sum(level.candidates for level in effect.levels) == 12
        assert sum(lv.effect * lv.candidates for lv in effect.levels) == pytest.approx(0, abs=1e-12)


def test_shares_of_a_full_grid_are_the_analysis_of_variance() -> None:
    sums = simulate(World((0.0,) * 12), np.random.default_rng(1))
    drawn = bootstrap(sums, draws=100)
    table = drawn.estimate.reshape(3, 2, 2)
    total = np.square(table - table.mean()).sum()
    found = {e.knob: e.share for e in main_effects(knobs(GRID), drawn)}
    for axis, name in enumerate(("network", "rate", "flip")):
        others = tuple(a for a in range(3) if a != axis)
        means = table.mean(axis=others)
        between = np.square(means - means.mean()).sum() * 12 / len(means)
        assert found[name] == pytest.approx(between / total)


def test_holes_in_the_grid_do_not_bend_the_effects() -> None:
    """Plain means would credit the rate with the networks that it was tried with."""
    holes = [row for row in GRID if not (row[0] == "fpn" and row[1] == 1e-4)]
    by_name = {e.knob: e for e in effects(holes, quiet=True)}
    assert by_name["network"].span == pytest.approx(0.04)
    assert by_name["rate"].span == pytest.approx(0.005)
    assert by_name["flip"].span == pytest.approx(0, abs=1e-12)


def test_the_knob_that_matters_comes_first() -> None:
    top, *rest = effects(GRID)
    assert top.knob == "network"
    assert [level.value for level in top.levels] == ["unetpp", "unet", "fpn"]
    assert top.low > 0
    assert all(effect.span < top.span for effect in rest)


def test_knobs_that_change_together_are_one() -> None:
    values = {**knobs(GRID), "loss": [f"of {row[1]}" for row in GRID], "fixed": [1] * 12}
    sums = simulate(World((0.0,) * 12), np.random.default_rng(0))
    found = main_effects(values, bootstrap(sums, draws=50))
    names = {effect.knob for effect in found}
    assert names == {"network", "rate + loss", "flip"}
    joined = next(effect for effect in found if effect.knob == "rate + loss")
    assert {level.value for level in joined.levels} == {"0.001 + of 0.001", "0.0001 + of 0.0001"}


def test_a_knob_that_others_explain_is_not_told() -> None:
    names = [f"{row[0]} {row[1]}" for row in GRID]
    sums = simulate(World((0.0,) * 12), np.random.default_rng(0))
    found = main_effects({**knobs(GRID), "name": names}, bootstrap(sums, draws=50))
    told = {effect.knob for effect in found if effect.levels}
    assert told == {"flip"}
    assert found[0].knob == "flip"
    assert math.isnan(found[-1].span)


def test_no_knob_and_wrong_lengths() -> None:
    drawn = bootstrap(simulate(World((0.0, 0.0)), np.random.default_rng(0)), draws=20)
    assert main_effects({"fixed": [1, 1]}, drawn) == ()
    with pytest.raises(RunError, match="knob rate: expected 2 values, one a candidate, got 3"):
        main_effects({"rate": [1, 2, 3]}, drawn)


def test_intervals_of_effects_cover_the_truth() -> None:
    n, inside = 120, np.zeros(2)
    truth = {"unet": 0.0, "unetpp": 0.02, "fpn": -0.02}
    for seed in range(n):
        network = next(e for e in effects(GRID, seed) if e.knob == "network")
        level = next(lv for lv in network.levels if lv.value == "unetpp")
        inside += [level.low <= truth["unetpp"] <= level.high, network.low <= 0.04 <= network.high]
    assert (inside >= binom.ppf(0.001, n, 0.95)).all(), inside / n


def test_levels_are_measured_from_the_best_with_an_interval_and_their_cost() -> None:
    sums = simulate(World(tuple(GAIN[r[0]] for r in GRID)), np.random.default_rng(2))
    drawn = bootstrap(sums, variance_components(sums), 300)
    costs = [10.0 if row[0] == "unet" else 30.0 for row in GRID]
    network = next(e for e in main_effects(knobs(GRID), drawn, costs) if e.knob == "network")
    best, *others = network.levels
    assert best.behind == 0
    assert math.isnan(best.behind_low)
    for level in others:
        assert level.behind == pytest.approx(best.mean - level.mean)
        assert level.behind_low < level.behind < level.behind_high
        middle = (level.behind_low + level.behind_high) / 2
        assert middle == pytest.approx(level.behind)
    assert {lv.value: round(lv.cost) for lv in network.levels} == {
        "unet": 10,
        "unetpp": 30,
        "fpn": 30,
    }
    assert (network.span, network.low, network.high) == (
        others[-1].behind,
        others[-1].behind_low,
        others[-1].behind_high,
    )
    assert all(math.isnan(lv.cost) for lv in main_effects(knobs(GRID), drawn)[0].levels)


def test_intervals_of_levels_hold_for_all_knobs_at_once() -> None:
    """Of 100 sweeps of equal candidates, at most 5 % call any knob's best level better."""
    rng, told = np.random.default_rng(11), 0
    for _ in range(100):
        sums = simulate(World((0.0,) * 12, n_cases=40), rng)
        found = main_effects(knobs(GRID), bootstrap(sums, variance_components(sums), 400))
        told += any(lv.behind_low > 0 for effect in found for lv in effect.levels)
    assert told <= binom.ppf(0.999, 100, 0.05)


def test_without_a_spread_a_difference_has_no_width() -> None:
    found = effects(GRID, quiet=True)
    assert found[0].low == pytest.approx(found[0].span) == found[0].high


def test_one_case_a_fold_gives_no_interval() -> None:
    sums = simulate(World((0.0,) * 12, n_cases=5), np.random.default_rng(0))
    top = main_effects(knobs(GRID), bootstrap(sums, variance_components(sums), 50))[0]
    assert math.isnan(top.low)
    assert top.span > 0


def test_some_of_the_candidates_are_drawn_as_before() -> None:
    sums = simulate(World((0.0,) * 4), np.random.default_rng(3))
    drawn = dataclasses.replace(
        bootstrap(sums, variance_components(sums), 200), training=np.array([0, 1, 1, 3])
    )
    some = drawn.only(np.array([1, 2, 3]))
    rows = np.array([[0, 1, -1, 0], [0, 0, 1, -1], [0, 1, 0, -1]], np.float64)
    assert (some.intervals(rows[:, 1:]) == drawn.intervals(rows)).all()
    assert some.training.tolist() == [0, 0, 2]
    assert some.spread
    assert drawn.spread
    assert (some.spread.luck_variance == drawn.spread.luck_variance[:, 1:]).all()


def test_candidates_of_unknown_knobs_take_no_part() -> None:
    """What is said of knobs is what is said of the candidates whose knobs are known."""
    truth = tuple(sum(GAIN[v] for v in row[:2]) for row in GRID)
    sums, given = simulate(World(truth), np.random.default_rng(2)), knobs(GRID)
    unknown = {
        name: [None if i in (0, 7) else value for i, value in enumerate(values)]
        for name, values in given.items()
    }
    found = analyse(sums, knobs=unknown, draws=200)
    kept = np.array([i for i in range(len(GRID)) if i not in (0, 7)])
    drawn = bootstrap(sums, variance_components(sums), 200).only(kept)
    wanted = main_effects({n: [v[i] for i in kept] for n, v in given.items()}, drawn)
    assert len(found.candidates) == len(GRID)
    for one, other in zip(found.effects, wanted, strict=True):
        assert (one.knob, one.span, one.low) == (other.knob, other.span, other.low)
