"""Sentences about what would settle the first two, at the edges where one gives way to another."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest

from orchestrator.statistics import KnobEffect, Level, Statistics, analyse
from orchestrator.statistics.plain_words import describe
from orchestrator.statistics.questions.drivers import Driver
from orchestrator.statistics.variance.components import Settling
from tests.support.simulated_sweeps import World, simulate


@pytest.fixture(scope="module")
def level() -> Statistics:
    """Three candidates that cannot be told apart, on 20 cases."""
    found = analyse(simulate(World((0.0,) * 3, n_cases=20), np.random.default_rng(0)), draws=200)
    assert all(one.tied for one in found.candidates)
    assert found.in_words == describe(found)
    return found


def words(found: Statistics, **settling: Any) -> str:
    plan = Settling(0.02, 0.01, 0.03, **{"repeats": math.inf, "cases": 20.0, **settling})
    return describe(dataclasses.replace(found, settling=plan))


SENTENCES = [
    ({"repeats": 1, "repeats_with_cases": 1}, "find four times in five if it is real"),
    ({"repeats": 2, "repeats_with_cases": 2}, "1 more repeat of each training would settle"),
    ({"repeats": 50, "repeats_with_cases": 50}, "49 more repeats of each training would settle"),
    ({"repeats": 51, "cases": 30, "repeats_with_cases": 1}, "it takes about 10 more cases (a diff"),
    ({"cases": 30, "repeats_with_cases": 3}, "about 10 more cases and 2 more repeats of each"),
    ({"cases": 20, "repeats_with_cases": 2}, "about 1 more case and 1 more repeat of each"),
    ({"cases": 5000, "repeats_with_cases": 50}, "about 4980 more cases and 49 more repeats"),
    ({"cases": 5001, "repeats_with_cases": 1}, "more than 5000 cases or more than 50 repeats"),
    ({"cases": 30, "repeats_with_cases": 51}, "more than 5000 cases or more than 50 repeats"),
    ({"cases": math.nan, "repeats_with_cases": math.nan}, "cannot be said from this"),
]


@pytest.mark.parametrize(("settling", "sentence"), SENTENCES)
def test_what_would_settle_the_first_two(
    level: Statistics, settling: dict[str, float], sentence: str
) -> None:
    text = words(level, **settling)
    assert sentence in text
    if "(a diff" in text:
        assert "(a difference of 0.0200, found with a chance of 80%)" in text


def test_trainings_done_are_taken_off(level: Statistics) -> None:
    """Of six trainings, those of four plans are done."""
    done = dataclasses.replace(level, n_plans=4)
    assert "2 more repeats of each" in words(done, repeats=6, repeats_with_cases=6)
    assert "four times in five" in words(done, repeats=4, repeats_with_cases=4)
    text = words(done, cases=40, repeats_with_cases=6)
    assert "about 20 more cases and 2 more repeats" in text
    assert "more repeat" not in words(done, cases=40, repeats_with_cases=4)
    assert "20 cases in 4 times 5 folds" in text


def test_nothing_settles_what_is_equal_or_told_apart(level: Statistics) -> None:
    plan = Settling(0.0, 0.0, 0.03, math.inf, math.inf, math.inf)
    equal = dataclasses.replace(level, settling=plan)
    assert "No number of repeats or cases can part two" in describe(equal)
    first, second, third = level.candidates
    apart = dataclasses.replace(level, candidates=(first, _untied(second), third))
    assert "settle" not in words(apart, repeats=3, repeats_with_cases=3)
    assert "it is really better" in describe(apart)
    assert "chance alone may explain it" in describe(level)


def _untied(one: Any) -> Any:
    return dataclasses.replace(one, tied=False)


def test_the_tie_group_in_words(level: Statistics) -> None:
    first, second, third = level.candidates
    assert "None of the 3 candidates can be told" in describe(level)
    two = dataclasses.replace(level, candidates=(first, second, _untied(third)))
    expected = "2 of 3 candidates cannot be told from the first, itself included: "
    assert f"{expected}{first.name}; {second.name}." in describe(two)
    many = tuple(dataclasses.replace(second, name=f"n{place}") for place in range(5))
    five = dataclasses.replace(level, candidates=(first, *many[:4], _untied(third)))
    assert f"{first.name}; n0; n1; n2; n3." in describe(five)
    six = dataclasses.replace(level, candidates=(first, *many, _untied(third)))
    assert f"{first.name}; n0; n1; n2; and 2 more." in describe(six)


def test_the_cheapest_in_words(level: Statistics) -> None:
    lines = [
        dataclasses.replace(one, cost=cost)
        for one, cost in zip(level.candidates, (8.0, 2.0, 4.0), strict=True)
    ]
    second = dataclasses.replace(level, candidates=tuple(lines), cheapest=lines[1].name)
    assert f"or more) is {lines[1].name}, at 25 % of its cost." in describe(second)
    first = dataclasses.replace(second, cheapest=lines[0].name, margin=0.02)
    assert "No cheaper candidate is shown to be at most 0.02 worse than the first" in describe(
        first
    )
    lines[0] = dataclasses.replace(lines[0], cost=math.nan)
    unknown = dataclasses.replace(second, candidates=tuple(lines))
    assert f"or more) is {lines[1].name}." in describe(unknown)


def test_knobs_in_words(level: Statistics) -> None:
    values = (Level("5", 2, 0.8, 0.1, 0.0, 0.2), Level("4", 2, 0.6, -0.1, -0.2, 0.0))
    effect = KnobEffect("depth", values, 0.2, 0.1, 0.3, 0.9)
    unclear = dataclasses.replace(effect, low=0.0)
    unknown = dataclasses.replace(effect, low=math.nan, high=math.nan)
    joined = KnobEffect("all", (), math.nan, math.nan, math.nan, math.nan)
    gains = (
        "5 over 4 gains 0.2000 (all knobs at once, 95 % interval 0.1000 to 0.3000) averaged over "
        "all other knobs"
    )

    def text(*effects: KnobEffect) -> str:
        return describe(dataclasses.replace(level, effects=effects))

    assert f"The knob that matters most is depth: {gains}." in text(effect)
    assert f"matters most is depth: {gains}." in text(joined, effect)
    assert "No knob matters beyond chance; the largest effect is that of depth" in text(unclear)
    assert "The knob with the largest effect is depth: 5 over 4 gains 0.2000 av" in text(unknown)
    assert "Which knob matters cannot be told" in text(joined)
    assert "nob" not in text()


def test_an_effect_of_one_failing_level_in_words(level: Statistics) -> None:
    values = (Level("5", 2, 0.8, 0.1, 0.0, 0.2), Level("4", 2, 0.6, -0.1, -0.2, 0.0))
    effect = KnobEffect("depth", values, 0.2, 0.1, 0.3, 0.9)
    driven = Driver("depth", "5", "4", 0.2, "loss", ("bce",), -0.001)
    own = Driver("loss", "dice", "bce", 0.3, "loss", ("bce", "soft"), 0.02)

    def text(low: float, *found: Driver) -> str:
        told = (dataclasses.replace(effect, low=low),)
        return describe(dataclasses.replace(level, effects=told, drivers=found))

    other = "The effect of depth comes from bce, far below the rest: without it, 5 over 4 loses"
    assert f"{other} 0.0010, with it it gains 0.2000." in text(0.1, driven)
    both = "comes from bce and soft, far below the rest: without them, all values lie within 0.0200"
    assert f"{both}, with them within 0.3000." in text(
        0.1, dataclasses.replace(own, knob="depth", of_knob="depth")
    )
    assert "far below" not in text(0.1, own)  # of another knob than the one that is told
    assert "far below" not in text(-0.1, driven)


def test_a_choice_that_raised_nothing_is_no_minus_zero(level: Statistics) -> None:
    winner = dataclasses.replace(level.winner, optimism=-4e-16)
    text = describe(dataclasses.replace(level, winner=winner))
    assert "choosing it as the best has not raised its score." in text
    assert "0.0000 higher" not in text
