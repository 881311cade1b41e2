from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from benchmarks.studies.bbc_cv import bbc_cv
from orchestrator.statistics import CaseSums, variance_components
from tests.support.simulated_sweeps import World, simulate


def expected_lead(n_candidates: int, sd: float) -> float:
    """Mean lead over their true score of the best of equal candidates: the largest of n normals."""

    def density(x: float) -> float:
        return float(x * n_candidates * norm.pdf(x) * norm.cdf(x) ** (n_candidates - 1))

    return float(quad(density, -10, 10)[0]) * sd


def slow_bbc(sums: CaseSums, draws: int, seed: int) -> float:
    """The paper's estimate, case by case."""
    random, n = np.random.default_rng(seed), sums.n_cases
    counts = random.multinomial(n, np.full(n, 1 / n), size=draws)
    judged = []
    for count in counts:
        inside = [i for i in range(n) for _ in range(count[i])]
        outside = [i for i in range(n) if not count[i]]
        chosen = max(range(len(sums.names)), key=lambda c: score(sums, c, inside))
        others = np.mean([score(sums, c, outside) for c in range(len(sums.names))])
        judged.append(score(sums, chosen, outside) - others)
    return float(np.mean(judged))


def score(sums: CaseSums, candidate: int, cases: list[int]) -> float:
    total = sum(sums.values[candidate, i].sum(axis=0) for i in cases)
    return float(0.4 * total[0] / total[1] + 0.6 * total[2] / total[3])


def test_against_a_slow_loop() -> None:
    sums = simulate(World((0.0, 0.0, 0.01), n_cases=12, n_folds=3), np.random.default_rng(1))
    result = bbc_cv(sums, draws=40, seed=3)
    pooled = sums.scores()
    gain = slow_bbc(sums, 40, 3)
    expected = pooled[result.winner] - pooled.mean() - gain
    assert result.optimism == pytest.approx(expected, rel=1e-9)
    assert result.score == sums.fold_scores().mean(axis=1).max()
    assert result.corrected == result.score - result.optimism
    assert result.low < result.corrected < result.high


@pytest.mark.parametrize("training_sd", [0.0, 0.006])
def test_equal_candidates_are_corrected_to_within_noise(training_sd: float) -> None:
    """The winner's lead over what all are worth on the same cases: there before, gone after."""
    random, lead, left, inside = np.random.default_rng(7), [], [], []
    world = World(training_sd=training_sd)
    for seed in range(120):
        sums = simulate(world, random)
        parts = variance_components(sums) if training_sd else None
        result = bbc_cv(sums, parts, 150, seed)
        level = sums.fold_scores().mean()  # of all candidates: the true score, on these cases
        lead.append(result.score - level)
        left.append(result.corrected - level)
        inside.append(result.low <= world.mean <= result.high)
    noise = np.std(left) / math.sqrt(len(left))
    spread = math.sqrt(17 * training_sd**2 + 0.03**2)  # of 85 cases in 5 folds, per sqrt(85)
    assert np.mean(lead) == pytest.approx(expected_lead(10, spread / math.sqrt(85)), rel=0.15)
    assert abs(np.mean(left)) < 3.5 * noise
    assert noise < np.mean(lead) / 12
    assert np.mean(inside) > 0.9


def test_the_paper_alone_leaves_the_luck_of_training() -> None:
    random, left = np.random.default_rng(8), []
    for seed in range(80):
        sums = simulate(World(training_sd=0.01), random)
        left.append(bbc_cv(sums, None, 100, seed).corrected - sums.fold_scores().mean())
    assert np.mean(left) > 5 * np.std(left) / math.sqrt(len(left))


def test_a_clear_winner_keeps_its_score() -> None:
    sums = simulate(World((0.1, 0.0, 0.0)), np.random.default_rng(2))
    assert abs(bbc_cv(sums).optimism) < 0.0005


def test_no_choice_no_optimism() -> None:
    result = bbc_cv(simulate(World((0.0,)), np.random.default_rng(0)))
    assert (result.optimism, result.corrected) == (0, result.score)


def test_no_case_left_to_judge_by() -> None:
    result = bbc_cv(simulate(World((0.0, 0.0), n_cases=1, n_folds=1), np.random.default_rng(0)))
    assert math.isnan(result.corrected)
    assert result.score > 0
