"""Choosing members and rules: the choice itself, and that its announced score is honest."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from gitract_core.errors import RunError
from gitract_core.knobs import PostprocessKnobs
from gitract_core.metrics import COMPETITION, pool_scores, score_scan
from gitract_core.organs import CONTEST
from gitract_core.prediction.common_view import at_size
from gitract_core.prediction.postprocess import native_masks
from gitract_core.trial.run import run_trial
from orchestrator.ensembles.making import announce, make_ensemble
from orchestrator.ensembles.selection import (
    Method,
    choose_rules,
    cross_fit,
    fold_mean,
    recipe_sums,
    rule_grid,
)
from orchestrator.out_of_fold.average_scores import Bag, OofMeter, lowest_terms
from orchestrator.results.leaderboard import build_leaderboard
from tests.support.tiny_sweep import prepare_tiny

ROWS, VOLUMES = 30, 2


class FakeMeter:
    """Candidates whose scores are drawn: quality + case + noise; averages lose part of the noise.

    Rules shift a candidate's score by noise of their own.
    """

    def __init__(self, seed: int, *, spread: float = 0.0, n_cases: int = 40, n_rules: int = 1):
        random = np.random.default_rng(seed)
        self.lines, self.rules = (None,) * 6, (None,) * n_rules
        self.source, self.score = SimpleNamespace(organs=CONTEST), COMPETITION
        self.cases, self.folds = np.arange(n_cases), np.arange(n_cases) % 5
        self.quality = 0.7 + random.normal(0, spread, len(self.lines))
        case = random.normal(0, 0.05, (n_cases, 3))
        self.values = self.quality[:, None, None] + case + self._noise(random, n_cases)
        self.rule_noise = random.normal(0, 0.03, (n_rules, n_cases, 3))
        self.rule_noise[0] = 0

    def _noise(self, random: np.random.Generator, n_cases: int) -> np.ndarray:
        return random.normal(0, 0.04, (len(self.lines), n_cases, 3))

    def truth(self, bag: Bag) -> float:
        """The score on infinitely many new cases."""
        return float(np.average(self.quality, weights=bag))

    def measure(self, wanted: Iterable[tuple[Bag, int]]) -> None:
        pass

    def sums(self, bag: Bag, rule: int = 0) -> np.ndarray:
        values = np.average(self.values, axis=0, weights=bag) + self.rule_noise[rule]
        counts = np.ones_like(values)
        columns = [ROWS * values, ROWS * counts, VOLUMES * values, VOLUMES * counts]
        return np.stack(columns, axis=-1)

    def rule_sums(self, bag: Bag) -> np.ndarray:
        return np.stack([self.sums(bag, rule) for rule in range(len(self.rules))])


def meter(seed: int, **kinds: Any) -> OofMeter:
    return cast(OofMeter, FakeMeter(seed, **kinds))


def score(sums: np.ndarray, cases: np.ndarray) -> float:
    return float(COMPETITION.of(sums[cases].sum(axis=(0, 1))))


def test_the_rules_are_the_best_of_all_combinations() -> None:
    for seed in range(8):
        random = np.random.default_rng(seed)
        totals = np.empty((5, 3, 4))
        totals[..., 1], totals[..., 3] = random.integers(20, 40, (5, 3)), 3
        totals[..., 0] = totals[..., 1] * random.uniform(0.4, 0.8, (5, 3))
        totals[..., 2] = totals[..., 3] * random.uniform(0.6, 0.9, (5, 3))
        scores = {
            choice: float(COMPETITION.of(sum(totals[r, o] for o, r in enumerate(choice))))
            for choice in itertools.product(range(5), repeat=3)
        }
        assert scores[cast(Any, choose_rules(totals))] == pytest.approx(max(scores.values()))


def test_equal_weights_take_the_best_on_the_given_cases() -> None:
    made = meter(1, spread=0.02)
    found = cross_fit(made, Method(3))
    everywhere = np.ones(40, bool)
    singles = [tuple(int(i == p) for i in range(6)) for p in range(6)]
    order = sorted(range(6), key=lambda p: -score(made.sums(singles[p]), everywhere))
    assert {p for p, n in enumerate(found.recipe.bag) if n} == set(order[:3])
    assert set(found.recipe.bag) == {0, 1}


def test_greedy_selection_is_that_of_a_plain_loop_and_keeps_the_best_step() -> None:
    for seed in range(5):
        made = meter(seed, spread=0.01)
        everywhere = np.ones(40, bool)
        members: list[int] = []
        best: tuple[float, list[int]] = (-1.0, [])
        for _ in range(6):
            tried = [
                score(made.sums(tuple((*members, p).count(i) for i in range(6))), everywhere)
                for p in range(6)
            ]
            members.append(int(np.argmax(tried)))
            if max(tried) > best[0]:
                best = (max(tried), list(members))
        found = cross_fit(made, Method(6, "greedy"))
        assert found.recipe.bag == tuple(best[1].count(i) for i in range(6))


@pytest.mark.parametrize("method", [Method(2), Method(5, "greedy"), Method(1, tune=True)])
def test_a_fold_takes_no_part_in_its_own_choice(method: Method) -> None:
    before = FakeMeter(2, n_rules=4)
    after = FakeMeter(2, n_rules=4)
    held_out = after.folds == 3
    after.values[5, held_out] += 0.3  # a candidate and a rule that shine on fold 3 alone
    after.rule_noise[2, held_out] += 0.3
    first, second = (cross_fit(cast(OofMeter, m), method) for m in (before, after))
    assert first.by_fold[3] == second.by_fold[3]
    assert second.in_sample_score > first.in_sample_score
    mine = recipe_sums(cast(OofMeter, after), second.by_fold[3])[held_out]
    assert np.array_equal(second.announced[held_out], mine)


@pytest.mark.parametrize("method", [Method(1), Method(3), Method(6, "greedy")])
def test_the_announced_score_is_that_on_new_cases_and_the_one_in_sample_is_not(
    method: Method,
) -> None:
    """Sixty recorded sweeps with known truth: announced less truth is 0 within its own error."""
    announced, naive = [], []
    for seed in range(60):
        made = FakeMeter(seed, spread=0.005)
        found = cross_fit(cast(OofMeter, made), method)
        case_luck = np.mean(made.values.mean(axis=0)) - np.mean(made.quality)
        truths = [made.truth(recipe.bag) for recipe in found.by_fold]
        announced.append(found.score - case_luck - float(np.mean(truths)))
        naive.append(found.in_sample_score - case_luck - made.truth(found.recipe.bag))
    error = np.std(announced, ddof=1) / np.sqrt(len(announced))
    assert abs(np.mean(announced)) < max(3 * error, 0.001)
    assert abs(np.mean(announced)) < 0.003
    assert np.mean(naive) > 3 * error


def test_rules_chosen_among_equals_look_good_in_sample_and_earn_nothing() -> None:
    found = [cross_fit(meter(seed, n_rules=8), Method(1, tune=True)) for seed in range(40)]
    plain = [cross_fit(meter(seed, n_rules=8), Method(1)) for seed in range(40)]
    gain = np.array([f.score - p.score for f, p in zip(found, plain, strict=True)])
    seeming = np.array(
        [f.in_sample_score - p.in_sample_score for f, p in zip(found, plain, strict=True)]
    )
    assert seeming.min() > 0
    assert abs(gain.mean()) < 3 * gain.std(ddof=1) / np.sqrt(len(gain))


def test_fold_means_are_means_of_pooled_folds() -> None:
    sums = meter(4, n_cases=7).sums((1, 0, 0, 0, 0, 0))
    by_hand = []
    for fold in range(5):
        part = sums[np.arange(7) % 5 == fold].reshape(-1, 4).sum(axis=0)
        by_hand.append(0.4 * part[0] / part[1] + 0.6 * part[2] / part[3])
    assert fold_mean(sums, np.arange(7) % 5) == pytest.approx(np.mean(by_hand))


def test_bags_are_equal_in_lowest_terms() -> None:
    assert lowest_terms((2, 0, 2)) == (1, 0, 1)
    assert lowest_terms((3, 2, 0)) == (3, 2, 0)


def test_the_grid_starts_with_the_base_rule_and_has_no_doubles() -> None:
    base = PostprocessKnobs(threshold=0.45)
    grid = rule_grid(base)
    assert grid[0] == base
    assert len(set(grid)) == len(grid) == 1 + 5 * 2 * 2 * 4
    assert {rule.parts for rule in grid} == {"all", "largest"}


@pytest.mark.parametrize(("top", "weights"), [(0, "equal"), (3, "best")])
def test_methods_check_themselves(top: int, weights: str) -> None:
    with pytest.raises(RunError, match="--"):
        Method(top, weights)


@pytest.fixture(scope="module")
def finished(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    changes = ({"loss": "bce + dice", "training.epochs": 6}, {"loss": "bce"})
    sweep = prepare_tiny(tiny, tmp_path_factory.mktemp("recipes") / "run", *changes)
    for spec in sweep.specs:
        run_trial(spec, sweep.data, sweep.directory.trials / spec.key)
    return sweep.directory


def test_measured_sums_give_the_scores_of_the_averaged_masks(finished: Any) -> None:
    board = build_leaderboard(finished)
    rules = (
        PostprocessKnobs(),
        PostprocessKnobs(threshold=0.2, z_sigma=1.0, fill_gaps=2, smallest_mm3=60.0),
    )
    made = OofMeter(finished, board.ranked, rules)
    assert made.cases.tolist() == ["1", "7", "12", "20"]
    for bag, rule in itertools.product([(1, 0), (1, 2)], range(2)):
        scores = []
        for name in made.source.scans:
            parts = made.source.parts(name)
            average = sum(n * p for n, p in zip(bag, parts.each, strict=True)) / sum(bag)
            scan = parts.scan_of(np.asarray(average, np.float32))
            masks = native_masks(scan.probabilities, scan.grid, rules[rule])
            scores.append(score_scan(masks, scan.truth))
        sums = made.sums(bag, rule).sum(axis=0)
        expected = pool_scores(scores)
        assert float(COMPETITION.of(sums.sum(axis=0))) == pytest.approx(expected.score)
        small = expected.per_class["small_bowel"]["score"]
        assert float(COMPETITION.of(sums[1])) == pytest.approx(small)


def test_what_training_measured_is_what_the_meter_measures(finished: Any) -> None:
    board = build_leaderboard(finished)
    made = OofMeter(finished, board.ranked, (PostprocessKnobs(),))
    known = [made.sums(bag) for bag in ((1, 0), (0, 1))]
    made._known.clear()
    for before, bag in zip(known, ((1, 0), (0, 1)), strict=True):
        assert np.allclose(made.sums(bag), before)
    for line, sums in zip(board.ranked, known, strict=True):
        assert fold_mean(sums, made.folds) == pytest.approx(line.mean())


def test_a_bag_is_measured_at_the_largest_size_among_its_own_members(
    tiny: Path, tmp_path: Path
) -> None:
    """As ``Predictor`` averages them: a candidate that takes no part changes nothing."""
    changes = ({"input.size": 16}, {"input.size": 16, "loss": "bce"}, {"input.size": 32})
    sweep = prepare_tiny(tiny, tmp_path / "run", *changes)
    for spec in sweep.specs:
        run_trial(spec, sweep.data, sweep.directory.trials / spec.key)
    lines = sorted(build_leaderboard(sweep.directory).ranked, key=lambda c: c.candidate.input.size)
    pool, alone = (
        OofMeter(sweep.directory, some, (PostprocessKnobs(),)) for some in (lines, lines[:2])
    )
    pool._known.clear()
    alone._known.clear()
    assert np.array_equal(pool.sums((1, 1, 0)), alone.sums((1, 1)))
    for place, line in enumerate(lines):
        bag = tuple(int(place == other) for other in range(3))
        assert fold_mean(pool.sums(bag), pool.folds) == pytest.approx(line.mean())
    scan = pool.source.parts(pool.source.scans[0])
    expected = sum(at_size(part, 32) for part in scan.each) / 3
    assert np.allclose(pool.source.scan(scan.scan).probabilities, expected, atol=1e-3)


def test_an_ensemble_announces_its_cross_fitted_score_and_writes_what_it_chose(
    finished: Any,
) -> None:
    board = build_leaderboard(finished)
    made = make_ensemble(finished, board, Method(3, "greedy", tune=True))
    assert made.directory.name == "top3-greedy-tuned"
    weights = [m.weight for m in made.members.members]
    assert sum(weights) == pytest.approx(1)
    shares = {line.candidate.key: share for line, share in made.chosen}
    for member in made.members.members:
        assert member.weight == pytest.approx(shares[member.candidate.key] / 2)
    assert made.members.postprocess == made.rules
    found = announce(
        *(
            cross_fit(OofMeter(finished, board.ranked, rule_grid(PostprocessKnobs())), method)
            for method in (made.method, Method(1))
        )
    )
    assert found == made.announced
    assert np.mean(found.folds) == pytest.approx(found.score)
