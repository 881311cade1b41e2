"""The corrected t test, the comparisons with the first and the tie group."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import binom, rankdata, ttest_1samp, wilcoxon

from orchestrator.statistics import (
    CaseSums,
    bootstrap,
    compare_with_first,
    corrected_t,
    holm,
    variance_components,
)
from orchestrator.statistics.intervals.comparisons import wilcoxon_against
from orchestrator.statistics.intervals.signed_rank import signed_rank_p
from tests.support.simulated_sweeps import World, simulate

WORKED = (0.010, 0.004, 0.012, 0.002, 0.009)


def test_worked_numbers_of_the_corrected_test() -> None:
    corrected, naive = corrected_t(WORKED), corrected_t(WORKED, test_to_train=0)
    assert (round(corrected.t, 2), round(corrected.p, 4)) == (2.61, 0.0591)
    assert (round(naive.t, 2), round(naive.p, 4)) == (3.92, 0.0172)


def test_without_correction_it_is_the_usual_test() -> None:
    naive, usual = corrected_t(WORKED, test_to_train=0), ttest_1samp(WORKED, 0)
    assert (naive.t, naive.p) == pytest.approx((usual.statistic, usual.pvalue), rel=1e-12)
    interval = usual.confidence_interval(0.95)
    assert (naive.low, naive.high) == pytest.approx((interval.low, interval.high), rel=1e-12)


def test_sizes_are_in_cases() -> None:
    assert corrected_t(WORKED, test_to_train=17 / 68) == corrected_t(WORKED)
    repeated = corrected_t(WORKED * 3, test_to_train=0.25)  # 3 repeats of 5 folds
    expected = np.mean(WORKED) / math.sqrt((1 / 15 + 0.25) * np.var(WORKED * 3, ddof=1))
    assert repeated.t == pytest.approx(expected, rel=1e-12)


def test_interval_ends_where_the_test_turns() -> None:
    result = corrected_t(WORKED)
    for end in (result.low, result.high):
        assert corrected_t(np.array(WORKED) - end).p == pytest.approx(0.05, rel=1e-9)


def test_degenerate_differences() -> None:
    assert math.isnan(corrected_t([0.01]).p)
    assert (corrected_t([0.0, 0.0, 0.0]).t, corrected_t([0.0, 0.0, 0.0]).p) == (0.0, 1.0)
    same = corrected_t([0.1 + 0.2 - 0.3 + 0.01, 0.01, 0.01])
    assert (same.t, same.p) == (math.inf, 0.0)


def test_holm_against_its_definition() -> None:
    random = np.random.default_rng(0)
    for _ in range(20):
        p = random.random(6) ** 3
        order = sorted(range(6), key=lambda i: p[i])
        for k, i in enumerate(order):
            slow = max(min(1, (6 - j) * p[order[j]]) for j in range(k + 1))
            assert holm(p)[i] == pytest.approx(slow, rel=1e-12)
    assert holm([]).tolist() == []


def test_signed_rank_is_scipys_without_missing_cases() -> None:
    scores = np.random.default_rng(1).random((4, 30))
    scores[2, 5] = np.nan
    scores[3] = scores[1]
    p = wilcoxon_against(scores, 1)
    assert p[0] == wilcoxon(scores[1], scores[0]).pvalue
    known = np.arange(30) != 5
    assert p[2] == wilcoxon(scores[1][known], scores[2][known]).pvalue
    assert p[1] == p[3] == 1.0


def every_sign(differences: np.ndarray) -> float:
    """By the definition: among all patterns of signs, those as far from the middle."""
    size, ranks = len(differences), rankdata(np.abs(differences))
    signs = (np.arange(2**size)[:, None] >> np.arange(size)) & 1
    sums, observed = signs @ ranks, ranks[differences > 0].sum()
    return min(2 * min(np.mean(sums <= observed), np.mean(sums >= observed)), 1)


@pytest.mark.parametrize("size", [1, 2, 5, 11, 50, 51, 85])
def test_signed_rank_is_scipys(size: int) -> None:
    random = np.random.default_rng(size)
    for shift in (0.0, 0.3, -1.0, 20.0):
        differences = random.normal(shift, 1, size)
        expected = wilcoxon(differences).pvalue
        assert signed_rank_p(differences) == pytest.approx(expected, rel=1e-9, abs=1e-300)


def test_signed_rank_with_ties() -> None:
    random = np.random.default_rng(3)
    for size in (1, 3, 8, 12):
        differences = random.choice([-3, -2, -1, 1, 2, 3], size).astype(float)
        assert signed_rank_p(differences) == pytest.approx(every_sign(differences), rel=1e-12)
    many = random.choice([-2.0, -1.0, 1.0, 2.0, 3.0], 90)
    assert signed_rank_p(many) == pytest.approx(wilcoxon(many).pvalue, rel=1e-9)


def tie_group(sums: CaseSums, draws: int = 500) -> np.ndarray:
    drawn = bootstrap(sums, variance_components(sums), draws)
    return compare_with_first(sums, drawn).tied


@pytest.mark.parametrize(("n_cases", "n_candidates"), [(85, 6), (20, 6), (85, 2)])
def test_equal_candidates_stay_in_the_tie_group(n_cases: int, n_candidates: int) -> None:
    random, n = np.random.default_rng(n_cases + n_candidates), 120
    world = World((0.0,) * n_candidates, n_cases=n_cases)
    wrong = sum(not tie_group(simulate(world, random), 400).all() for _ in range(n))
    assert wrong <= binom.ppf(0.999, n, 0.05)


def test_wilcoxon_alone_puts_equal_candidates_out() -> None:
    """Why the rule asks for a second witness."""
    random, n, wrong = np.random.default_rng(0), 60, 0
    for _ in range(n):
        sums = simulate(World(), random)
        wrong += bool((compare_with_first(sums, bootstrap(sums, draws=50)).holm_p <= 0.05).any())
    assert wrong > binom.ppf(0.999, n, 0.05)


def test_the_best_stays_and_the_worse_leave() -> None:
    random, n, lost, left = np.random.default_rng(2), 40, 0, 0
    for _ in range(n):
        tied = tie_group(simulate(World((0.0, 0.0, -0.03, -0.03, -0.05)), random))
        lost += not tied[:2].all()
        left += int((~tied[2:]).sum())
    assert lost <= binom.ppf(0.999, n, 0.05)
    assert left / n > 2.7  # of 3


def test_lucky_training_is_not_a_difference() -> None:
    """Two candidates that differ on one fold alone, by much: these very networks differ."""
    sums = simulate(
        World((0.0, 0.0), training_sd=0, interaction_sd=0.003), np.random.default_rng(3)
    )
    values = sums.values.copy()
    values[0][sums.folds == 2, :, ::2] *= 0.94
    spoiled = CaseSums(sums.names, sums.cases, sums.folds, values)
    networks = compare_with_first(spoiled, bootstrap(spoiled))
    trained_anew = compare_with_first(spoiled, bootstrap(spoiled, variance_components(spoiled)))
    assert networks.first == trained_anew.first == 1
    assert networks.simultaneous_p[0] < 0.001
    assert trained_anew.simultaneous_p[0] > 0.05
    assert trained_anew.tied.all()


def test_twins_tie_and_one_case_a_fold_says_nothing() -> None:
    sums = simulate(World((0.0, -0.1), n_cases=40), np.random.default_rng(4))
    values = np.concatenate([sums.values, sums.values[:1]])
    twins = CaseSums(("a", "b", "a again"), sums.cases, sums.folds, values)
    assert tie_group(twins).tolist() == [True, False, True]
    single = simulate(World((0.0, -0.3), n_cases=5), np.random.default_rng(5))
    assert tie_group(single).all()


def test_too_few_cases_for_wilcoxon_leave_all_tied() -> None:
    """Five pairs cannot reach 5 %, however far apart: smallest p .0625."""
    world = World((0.0, -0.3), n_cases=5, n_folds=2, interaction_sd=0.001, training_sd=0)
    sums = simulate(world, np.random.default_rng(6))
    comparisons = compare_with_first(sums, bootstrap(sums))
    assert comparisons.holm_p[1] == pytest.approx(0.0625)
    assert comparisons.tied.all()


def test_a_difference_without_any_spread_is_certain() -> None:
    """Every case exactly as much worse: the standard error is 0, the difference is not."""
    same = np.tile(np.array([9.0, 10.0, 0.9, 1.0]), (20, 3, 1))
    worse = same * [0.8, 1, 0.8, 1]
    folds = np.arange(20) % 5
    sums = CaseSums(
        ("a", "b", "a again"), tuple(map(str, range(20))), folds, np.stack([same, worse, same])
    )
    found = compare_with_first(sums, bootstrap(sums, draws=200))
    assert found.simultaneous_p.tolist() == [1.0, 0.0, 1.0]
    assert found.tied.tolist() == [True, False, True]
