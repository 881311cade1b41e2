from __future__ import annotations

import json
import re
import time

import numpy as np
import pytest

from orchestrator.statistics import CaseSums, Statistics, analyse
from tests.support.simulated_sweeps import World, simulate


def study(world: World, seed: int = 0, draws: int = 300, **given: object) -> Statistics:
    sums = simulate(world, np.random.default_rng(seed))
    return analyse(sums, draws=draws, **given)  # type: ignore[arg-type]


WORLDS = {
    "one candidate": World((0.0,)),
    "one candidate, one case": World((0.0,), n_cases=1, n_folds=1),
    "one case a fold": World((0.0, 0.02, 0.01), n_cases=5),
    "two folds of one case": World((0.0, 0.02), n_cases=2, n_folds=2),
    "two folds of two cases": World((0.0, 0.02), n_cases=4, n_folds=2),
    "a fold of one case": World((0.0, 0.02), n_cases=7, n_folds=4),
    "one fold": World((0.0, 0.02, 0.04), n_cases=9, n_folds=1),
    "no noise at all": World((0.0, 0.02), case_sd=0, interaction_sd=0, training_sd=0),
    "equal, no noise": World((0.0, 0.0), case_sd=0, interaction_sd=0, training_sd=0),
    "clear": World((0.1, 0.0, 0.0)),
    "near": World((0.0,) * 10),
    "many": World((0.0,) * 30, n_cases=20),
    "fold plans": World((0.0, 0.004), n_plans=3),
}


@pytest.mark.parametrize("name", WORLDS)
def test_words_and_json_hold_no_nan(name: str) -> None:
    world = WORLDS[name]
    n = len(world.effects)
    result = study(world, costs=range(1, n + 1), knobs={"depth": list(range(n)), "loss": ["x"] * n})
    words = result.in_words
    assert not re.search(r"\b(nan|inf|none)\b", words.replace("None of", ""), re.IGNORECASE), words
    assert words.endswith(".")
    assert "  " not in words
    plain = json.loads(json.dumps(result.to_json(), allow_nan=False))
    assert plain["in_words"] == words
    assert len(plain["candidates"]) == n
    assert plain["candidates"][0]["name"] in plain["tie_group"]


def test_a_clear_first_is_called_better() -> None:
    result = study(World((0.0, 0.1, 0.05)))
    assert [c.name for c in result.candidates] == ["candidate 1", "candidate 2", "candidate 0"]
    assert [c.rank for c in result.candidates] == [1, 2, 3]
    assert [c.name for c in result.tie_group] == ["candidate 1"]
    assert "it is really better" in result.in_words
    assert "on 85 cases in 5 folds" in result.in_words
    assert "No other candidate comes near" in result.in_words
    first, second, _ = result.candidates
    assert second.behind == pytest.approx(first.score - second.score)
    assert second.behind_low < second.behind < second.behind_high
    assert second.corrected_t.mean == pytest.approx(second.behind)
    assert (first.probability_first, first.behind) == (1, 0)


def test_equal_candidates_are_not_called_better() -> None:
    result = study(World((0.0,) * 4), costs=[4.0, 3.0, 1.0, 2.0])
    assert len(result.tie_group) == 4
    assert result.cheapest in {one.name for one in result.candidates}
    words = result.in_words
    assert "not enough to call it better" in words
    assert "None of the 4 candidates can be told from the first" in words
    assert "really better" not in words
    assert result.winner.corrected < result.candidates[0].score
    assert f"{result.winner.corrected:.4f}" in words


def test_words_of_the_cheapest() -> None:
    world = World((0.0, -0.0008, -0.3), case_sd=0.01, interaction_sd=0.002, training_sd=0.001)
    dear = study(world, costs=[10.0, 2.0, 0.1]).in_words
    assert "2 of 3 candidates cannot be told" in dear
    assert (
        "The cheapest that is shown to be at most 0.005 worse than the first (with a probability "
        "of 90 % or more) is candidate 1, at 20 % of its cost." in dear
    )
    own = study(world, costs=[1.0, 2.0, 0.1]).in_words
    assert "No cheaper candidate is shown to be at most 0.005 worse than the first (with" in own


def test_words_about_what_cannot_be_said() -> None:
    assert "nothing to compare it with" in study(WORLDS["one candidate"]).in_words
    single = study(WORLDS["one case a fold"]).in_words
    assert "with a single case in a fold it cannot be said" in single
    assert "scores exactly the same" in study(WORLDS["equal, no noise"]).in_words


def test_words_about_what_would_settle_it() -> None:
    cases = study(World((0.003, 0.0), training_sd=0.0), seed=1).in_words
    assert re.search(r"about \d+ more cases \(a difference of 0\.\d{4}", cases), cases
    world = World((0.02, 0.0), interaction_sd=0.002, training_sd=0.02)
    found = [study(world, seed).in_words for seed in range(6)]
    assert any(re.search(r"\d+ more repeats? of each training would", w) for w in found), found


def test_words_about_knobs() -> None:
    world = World((0.0, 0.05, 0.0, 0.05))
    knobs = {"depth": [4, 5, 4, 5], "flip": [0, 0, 1, 1]}
    words = study(world, knobs=knobs).in_words
    assert "The knob that matters most is depth: 5 over 4 gains 0.0" in words
    level = study(World((0.0,) * 4), seed=5, knobs=knobs).in_words
    assert "No knob matters beyond chance" in level


def test_the_order_of_candidates_does_not_matter() -> None:
    sums = simulate(World((0.0, 0.03, -0.03)), np.random.default_rng(0))
    there, back = analyse(sums, draws=500), analyse(sums.take([2, 1, 0]), draws=500)
    assert [c.name for c in there.candidates] == [c.name for c in back.candidates]
    for a, b in zip(there.candidates, back.candidates, strict=True):
        assert a.score == pytest.approx(b.score)
        assert a.low == pytest.approx(b.low, abs=0.003)
        assert a.tied == b.tied


def test_equal_seeds_equal_figures() -> None:
    sums = simulate(World((0.0, 0.01)), np.random.default_rng(0))
    assert analyse(sums, draws=50).to_json() == analyse(sums, draws=50).to_json()


def test_a_case_without_organs_is_borne() -> None:
    sums = simulate(World((0.0, 0.05), n_cases=20), np.random.default_rng(0))
    values = sums.values.copy()
    values[:, 3] = 0
    result = analyse(CaseSums(sums.names, sums.cases, sums.folds, values), draws=100)
    json.dumps(result.to_json(), allow_nan=False)
    assert np.isfinite([result.winner.corrected, result.candidates[1].holm_p]).all()


def test_fast_enough_for_every_report() -> None:
    """10 candidates, 85 cases, 2,000 draws: 0.3 s on two cores; the limit is generous."""
    sums = simulate(World(), np.random.default_rng(0))
    knobs = {"depth": [4, 5] * 5, "loss": ["a"] * 5 + ["b"] * 5}
    start = time.perf_counter()
    analyse(sums, costs=range(10), knobs=knobs)
    assert time.perf_counter() - start < 3
