"""Statistics against textbook formulas and slow loops, to the last digit.

Simulations with a known truth allow an error of some percent, in which a wrong n hides.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.special import digamma, polygamma, stdtr
from scipy.stats import ttest_1samp

from benchmarks.studies.bbc_cv import bbc_cv
from orchestrator.statistics import (
    Bootstrap,
    CaseSums,
    Components,
    analyse,
    bootstrap,
    compare_with_first,
    corrected_t,
    holm,
    repeated,
    settle,
    variance_components,
)
from orchestrator.statistics.intervals.simultaneous import behind_first
from orchestrator.statistics.variance import components as components_module
from orchestrator.statistics.variance import luck as luck_module
from orchestrator.statistics.variance import luck_units as luck_units_module
from orchestrator.statistics.variance.luck import Moderated, moderated_variances
from orchestrator.statistics.variance.plausible import LuckUnits, Split
from orchestrator.statistics.variance.splits import splits_by_score
from tests.support.simulated_sweeps import World, simulate

WORKED = np.array([0.010, 0.004, 0.012, 0.002, 0.009])


def table_of(
    scores: np.ndarray, folds: np.ndarray, training: Sequence[int] = (), rows: float = 10.0
) -> CaseSums:
    """A table with the given case scores, (candidates, cases), all cases of one size."""
    ones = np.ones_like(scores)
    values = np.stack([rows * scores, rows * ones, scores, ones], axis=-1)[:, :, None]
    names = tuple(f"c{place}" for place in range(len(scores)))
    cases = tuple(map(str, range(scores.shape[1])))
    return CaseSums(names, cases, folds, values, np.array(training, np.int64))


def known_luck(variance: float, df: int = 10**7, sampling: float = 0.0) -> Components:
    """Components whose luck of training is as good as known."""
    return Components(0, 0, 0, 0, variance, variance + sampling, sampling, df)


def test_sums_of_plans_are_added_and_not_replaced() -> None:
    plans = simulate(World((0.0, 0.1), n_cases=10, n_plans=3), np.random.default_rng(0)).tables
    both = repeated(plans)
    assert both.values == pytest.approx(plans[0].values + plans[1].values + plans[2].values)
    assert both.fold_scores() == pytest.approx(np.hstack([p.fold_scores() for p in plans]))


def test_holm_never_falls_below_a_smaller_p() -> None:
    """.01 x 3 = .03, .02 x 2 = .04, .021 x 1 = .021, which is below the one before."""
    assert holm([0.021, 0.01, 0.02]) == pytest.approx([0.04, 0.03, 0.04])
    assert holm([0.5, 0.6]) == pytest.approx([1, 1])
    assert holm([0.03, 0.03, 0.03]) == pytest.approx([0.09] * 3)


def test_the_report_s_corrected_test_has_the_ratio_of_one_to_k_less_one() -> None:
    """Four folds are trained on for one that is judged: t 2.61, p .0591, and not 2.77, .0504."""
    scores = np.full((2, 10), 0.5)
    folds = np.arange(10) // 2
    scores[0] += WORKED[folds] + np.tile([-0.001, 0.001], 5)
    found = analyse(table_of(scores, folds), draws=50)
    test = found.candidates[1].corrected_t
    assert test.mean == pytest.approx(WORKED.mean())
    assert (round(test.t, 2), round(test.p, 4)) == (2.61, 0.0591)
    own = found.candidates[0].corrected_t
    expected = corrected_t(0.5 + WORKED, 1 / 4)
    assert (own.mean, own.low, own.high) == pytest.approx(
        (expected.mean, expected.low, expected.high)
    )


def test_the_corrected_test_over_repeats_keeps_the_ratio_of_one_plan() -> None:
    """Fifteen folds, still four parts trained on for one judged: 1/15 + 1/4."""
    sums = simulate(World((0.05, 0.0), n_plans=3), np.random.default_rng(5))
    found = analyse(sums, draws=50).candidates[1].corrected_t
    d = np.subtract(*sums.fold_scores())
    t = d.mean() / math.sqrt((1 / 15 + 1 / 4) * d.var(ddof=1))
    assert found.t == pytest.approx(t)
    assert found.p == pytest.approx(2 * stdtr(14, -abs(t)))


def test_intervals_of_the_corrected_test_have_the_level_asked_for() -> None:
    found = corrected_t(WORKED, 0, level=0.8)
    usual = ttest_1samp(WORKED, 0).confidence_interval(0.8)
    assert (found.low, found.high) == pytest.approx((usual.low, usual.high))
    two = corrected_t([0.01, 0.03])
    assert two.t == pytest.approx(0.02 / math.sqrt((1 / 2 + 1) * 0.0002))


def test_components_are_those_of_the_classical_table() -> None:
    """Mean squares by loops over a balanced table of candidates, folds and cases."""
    random = np.random.default_rng(2)
    a, f, n = 4, 3, 5
    y = 0.5 + random.normal(0, 0.05, (a, 1, 1)) + random.normal(0, 0.05, (1, f, 1))
    y = y + random.normal(0, 0.03, (1, f, n)) + random.normal(0, 0.04, (a, f, 1))
    y = y + random.normal(0, 0.01, (a, f, n))
    found = variance_components(table_of(y.reshape(a, -1), np.repeat(np.arange(f), n)))
    mean = {
        "a": y.mean(axis=(1, 2)),
        "f": y.mean(axis=(0, 2)),
        "fi": y.mean(axis=0),
        "af": y.mean(axis=2),
    }
    squares = dict.fromkeys(("a", "f", "i", "af", "ai"), 0.0)
    for c in range(a):
        squares["a"] += f * n * (mean["a"][c] - y.mean()) ** 2 / (a - 1)
        for k in range(f):
            both = mean["af"][c, k] - mean["a"][c] - mean["f"][k] + y.mean()
            squares["af"] += n * both**2 / ((a - 1) * (f - 1))
            for i in range(n):
                own = y[c, k, i] - mean["af"][c, k] - mean["fi"][k, i] + mean["f"][k]
                squares["ai"] += own**2 / ((a - 1) * f * (n - 1))
    for k in range(f):
        squares["f"] += a * n * (mean["f"][k] - y.mean()) ** 2 / (f - 1)
        for i in range(n):
            squares["i"] += a * (mean["fi"][k, i] - mean["f"][k]) ** 2 / (f * (n - 1))
    assert found.interaction == pytest.approx(squares["ai"])
    assert found.case == pytest.approx((squares["i"] - squares["ai"]) / a)
    assert found.training == pytest.approx((squares["af"] - squares["ai"]) / n)
    assert found.candidate == pytest.approx((squares["a"] - squares["af"]) / (f * n))
    between_folds = squares["f"] - squares["af"] - squares["i"] + squares["ai"]
    assert found.fold == pytest.approx(between_folds / (a * n))
    assert found.mean_square == pytest.approx(squares["af"] / n)
    assert found.sampling == pytest.approx(squares["ai"] / n)
    assert found.training_df == (a - 1) * (f - 1)
    assert min(found.case, found.training, found.candidate, found.fold) > 0


def test_components_of_repeats_are_those_of_their_mean() -> None:
    """Of trainings a third for three plans; of cases and folds as they are."""
    world = World((0.0, 0.05, -0.05), training_sd=0.03, n_plans=3)
    sums = simulate(world, np.random.default_rng(4))
    each = [variance_components(table) for table in sums.tables]
    found = variance_components(sums)
    for name in ("fold", "case", "interaction"):
        assert getattr(found, name) == pytest.approx(np.mean([getattr(e, name) for e in each]))
    for name in ("training", "mean_square", "sampling"):
        assert getattr(found, name) == pytest.approx(np.mean([getattr(e, name) for e in each]) / 3)
    assert found.training_df == sum(one.training_df for one in each) == 3 * 2 * 4
    spread = np.var(sums.fold_scores().mean(axis=1), ddof=1)
    assert found.candidate == pytest.approx(spread - found.mean_square / 5)


@pytest.mark.parametrize("n_plans", [1, 2])
def test_luck_of_each_candidate_is_counted_once(
    monkeypatch: pytest.MonkeyPatch, n_plans: int
) -> None:
    """Plain variances in the place of moderated ones: of fold scores, less what cases make."""

    def plain(table: np.ndarray, df: int) -> Moderated:
        squares = np.square(table).sum(axis=1) / df
        return Moderated(tuple(squares.tolist()), (float(df),) * len(table))

    def both(table: np.ndarray, df: int) -> tuple[Moderated, Moderated]:
        return plain(table, df), plain(table, df)

    monkeypatch.setattr(luck_units_module, "moderated_variances", plain)
    monkeypatch.setattr(luck_units_module, "own_variances", both)
    monkeypatch.setattr(luck_units_module, "independent_rows", lambda *_: 4.0)
    world = World((0.0,) * 5, n_cases=20, training_sd=0.05, n_plans=n_plans)
    sums = simulate(world, np.random.default_rng(6))
    found = variance_components(sums).luck
    assert found
    between, inside = np.zeros(5), np.zeros(5)
    for table in sums.tables:
        between += table.fold_scores().var(axis=1, ddof=1) / n_plans
        shares = components_module.linearized_scores(table)
        for fold, label in enumerate(table.fold_labels):
            own = shares[:, table.folds == label] - table.fold_scores()[:, fold, None]
            inside += np.square(own).sum(axis=1) / (20 - 5) / n_plans
    assert found.mean_square == pytest.approx(between / n_plans)
    assert found.sampling == pytest.approx(inside / 4 / n_plans)  # four cases a fold
    assert found.df == pytest.approx((4.0 * n_plans,) * 5)


def restricted(centered: np.ndarray, variances: np.ndarray, df: int) -> float:
    """Log likelihood of rows about what they share in each column, which is not known."""
    precision = 1 / variances
    left = centered - precision @ centered / precision.sum()
    log_det = np.log(variances).sum() + math.log(precision.sum())
    return float(-df / 2 * log_det - (precision @ np.square(left).sum(axis=1)) / 2)


def test_a_split_has_the_likelihood_of_its_rows_at_its_own_weights() -> None:
    """Two steady rows of three: by hand, and a product over rows that is exact there."""
    centered = np.array([[0.03, 0.0, -0.03], [0.01, 0.02, -0.03], [0.3, -0.1, -0.2]])
    (split,) = splits_by_score(centered, np.array([0.6, 0.61, 0.4]), 2, 1.0)
    assert split.steady == (True, True, False)
    middle = np.array([0.02, 0.01, -0.03])
    inside = 2 * (0.01**2 + 0.01**2) / 2
    outside = float(np.square(centered[2] - middle).sum()) / 2
    weights = np.array([1 / inside, 1 / inside, 1 / outside])
    weights /= weights.sum()
    assert split.df == pytest.approx(2 * (1 - weights))
    left = np.square(centered - weights @ centered).sum(axis=1)
    assert split.mean_square == pytest.approx(left / split.df)
    lower = (0.605 - 0.4) / math.sqrt(outside)
    prior = math.log(min(200, 40 * lower**4))  # one split of three candidates
    for scale in (1.0, 5.0):
        variances = scale * inside * weights[0] / weights
        logs = -np.array(split.df) / 2 * (np.log(variances) + split.mean_square / variances)
        product = logs.sum() + split.log_weight - prior
        assert product == pytest.approx(restricted(centered, variances, 2))


def test_no_split_is_made_of_worse_candidates_that_vary_no_more_nor_of_better_ones() -> None:
    steady, loose = np.array([[0.02, -0.02, 0.0]]), np.array([[0.3, -0.1, -0.2]])
    other, rows = steady[:, ::-1] / 2, np.array([0.6, 0.5, 0.4])
    assert splits_by_score(np.vstack([loose, steady, other]), rows, 2, 1.0) == ()
    assert splits_by_score(np.vstack([steady, steady, loose]), rows, 2, 1.0) == (), "no spread"
    assert splits_by_score(np.vstack([steady, loose]), rows[:2], 2, 1.0) == ()
    found = splits_by_score(np.vstack([loose, steady, other]), rows[::-1], 2, 1.0)
    assert [split.steady for split in found] == [(False, True, True)]


def test_a_split_tells_the_luck_of_both_groups_where_much_is_known() -> None:
    squares, many = (2e-4, 2e-4, 5e-3), (10.0**5,) * 3
    split = Split((True, True, False), squares, many, 5.0)
    units = LuckUnits(squares, many, (1e-4,) * 3, 10.0**6, splits=(split,))
    luck = units.draw(4000, np.random.default_rng(0))[1]
    assert luck.mean(axis=0) == pytest.approx([1e-4, 1e-4, 49e-4], rel=0.13)
    assert units.typical() == pytest.approx([1e-4, 1e-4, 49e-4], rel=0.13)


def test_plausible_luck_is_what_is_known_where_much_is_known() -> None:
    """With very many degrees of freedom it is the mean square less the cases' part."""
    units = LuckUnits((5e-4, 1.1e-3), (10.0**5,) * 2, (1e-4, 1e-4), 10.0**6)
    factor, luck = units.draw(4000, np.random.default_rng(0))
    assert factor == pytest.approx(np.ones(4000))
    assert luck.mean(axis=0) == pytest.approx([4e-4, 1e-3], rel=0.13)  # cells of the grid: .25


def test_plausible_luck_without_cases_is_nearly_chi_square() -> None:
    """The cases give nothing: quantiles of df s^2 / chi-square(df), log-uniform prior."""
    from scipy.stats import chi2

    units = LuckUnits((1e-3,), (4.0,), (1e-9,), 100.0)
    luck = units.draw(100_000, np.random.default_rng(0))[1][:, 0]
    for share in (0.1, 0.5, 0.9):
        expected = 4 * 1e-3 / chi2.ppf(1 - share, 4)
        assert np.quantile(luck, share) == pytest.approx(expected, rel=0.12)


def test_without_any_spread_there_is_no_luck() -> None:
    factor, luck = LuckUnits((0.0,), (4.0,), (0.0,), 10.0).draw(5, np.random.default_rng(0))
    assert (factor == 1).all()
    assert (luck == 0).all()


FOLDS = np.arange(20) % 5
LEVEL = np.array([0.6, 0.6, 0.5, 0.4])[:, None]
FLAT = LEVEL + np.zeros(20)


def test_luck_widens_a_draw_by_a_fold_s_variance_over_the_folds() -> None:
    """Cases without any spread: all that is drawn is luck, 5e-4 over five folds."""
    drawn = bootstrap(table_of(FLAT, FOLDS), known_luck(5e-4), 40_000)
    assert drawn.draws.var(axis=0) == pytest.approx(np.full(4, 1e-4), rel=0.04)
    assert np.abs(np.corrcoef(drawn.draws.T) - np.eye(4)).max() < 0.03
    assert drawn.training_variance == pytest.approx(np.full(4, 1e-4))


def test_luck_of_shared_networks_is_drawn_once() -> None:
    """The first two are the same networks: in a mean it stays whole, in a difference it is gone."""
    drawn = bootstrap(table_of(FLAT, FOLDS, [0, 0, 2, 3]), known_luck(5e-4), 40_000)
    assert drawn.draws[:, 0] == pytest.approx(drawn.draws[:, 1])
    contrasts = np.array(
        [[0.5, 0.5, 0, 0], [1, -1, 0, 0], [0.5, 0.5, -1, 0], [1, 0, -1, 0], [0, 1, 0, -1]]
    )
    expected = np.sqrt([1e-4, 0, 2e-4, 2e-4, 2e-4])
    assert drawn.training_variance == pytest.approx(np.full(4, 1e-4))
    assert np.std(drawn.draws @ contrasts.T, axis=0) == pytest.approx(expected, rel=0.03, abs=1e-9)


def slow_behind(drawn: Bootstrap, first: int, level: float) -> np.ndarray:
    """Simultaneous intervals pair by pair, (candidates, 2)."""
    n = len(drawn.estimate)
    pairs, deviates, t = [(i, j) for i in range(n) for j in range(i)], [], {}
    spread = drawn.spread
    assert spread
    own = spread.case_draws - drawn.estimate
    for i, j in pairs:
        of_cases = np.mean((own[:, i] - own[:, j]) ** 2)
        luck = spread.luck_variance[:, i] + spread.luck_variance[:, j]
        luck = luck * (drawn.training[i] != drawn.training[j])
        logs = np.log(spread.case_factor * of_cases + luck)
        of_logs = float(logs.var())
        df = 2 * brentq(lambda x, v=of_logs: polygamma(1, x) - v, 1e-2, 1e6)
        scale = math.exp((logs.mean() - math.log(df / 2) + digamma(df / 2)) / 2)
        t[i, j] = t[j, i] = scale, df
        distance = drawn.draws[:, i] - drawn.draws[:, j] - drawn.estimate[i] + drawn.estimate[j]
        deviates.append(as_normal(distance / scale, df))
    largest = np.quantile(np.max(deviates, axis=0), level)
    ends = np.zeros((n, 2))
    for i in set(range(n)) - {first}:
        scale, df = t[first, i]
        half = scale * brentq(lambda x, df=df: as_normal(x, df) - largest, 0, 1e3)
        behind = drawn.estimate[first] - drawn.estimate[i]
        ends[i] = behind - half, behind + half
    return ends


def as_normal(t: Any, df: float) -> Any:
    """Wallace's approximation: the normal deviate as improbable as t."""
    return (8 * df + 1) / (8 * df + 3) * np.sqrt(df * np.log(1 + t**2 / df))


@pytest.mark.parametrize("training", [[0, 1, 2, 3, 4], [0, 0, 2, 3, 3]])
def test_simultaneous_intervals_are_those_of_a_loop_over_pairs(training: list[int]) -> None:
    random = np.random.default_rng(9)
    difficulty = random.normal(0, 0.05, 40)
    own = random.normal(0, 0.02, (5, 40))
    scores = 0.6 + np.array([0.03, 0.026, 0.018, 0.01, -0.03])[:, None] + difficulty + own
    sums = table_of(scores, np.arange(40) % 5, training)
    drawn = bootstrap(sums, variance_components(sums), 400)
    first = int(np.argmax(drawn.estimate))
    for level in (0.5, 0.95):
        found = behind_first(drawn, first, level)
        expected = slow_behind(drawn, first, level)
        assert np.stack([found.low, found.high], axis=1) == pytest.approx(expected, abs=1e-6)
        assert ((found.p <= 1 - level) == (found.low > 0)).all()
    assert len(set(found.p.tolist())) >= 4, "not all the same"
    compared = compare_with_first(sums, drawn)
    assert compared.tied.tolist() == (compared.behind.low <= 0).tolist()
    assert compared.simultaneous_p.tolist() == found.p.tolist()
    assert not compared.tied.all()


def test_distances_stay_within_what_scores_allow() -> None:
    scores = np.stack([np.tile([1.0, 0.9], 5), np.tile([0.0, 0.6], 5)])
    sums = table_of(scores, np.arange(10) % 5)
    drawn = bootstrap(sums, variance_components(sums), 400)
    assert np.ptp(drawn.differences(0)[1]) > 0.5
    found = behind_first(drawn, 0, 0.999999)
    assert found.high[1] == 1
    assert found.low[1] >= -1


def test_settling_adds_the_luck_of_both_and_of_shared_networks_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(LuckUnits, "typical", lambda self: np.array(self.mean_square))
    own = LuckUnits((1e-4, 9e-4, 16e-4, 25e-4), (9.0,) * 4, (0.0,) * 4, 9.0)
    parts = Components(0, 0, 0, 0, 1e-4, 1e-4, 0, 9, own, (0, 1, 2, 3))
    apart = settle(table_of(FLAT, FOLDS), parts, first=0, second=2)
    assert apart.present_sd == pytest.approx(math.sqrt((1e-4 + 16e-4) / 5))
    thrice = settle(table_of(FLAT, FOLDS), parts, first=1, second=3, repeats=3)
    assert thrice.present_sd == pytest.approx(math.sqrt((9e-4 + 25e-4) / 5))
    assert thrice.target_sd == pytest.approx(0.2 / 2.80159, rel=1e-5)
    needed = 3 * (9e-4 + 25e-4) / 5 / thrice.target_sd**2
    assert thrice.repeats == max(1, math.ceil(needed))
    together = settle(table_of(FLAT, FOLDS, [0, 1, 0, 3]), parts, first=0, second=2)
    assert together.present_sd == pytest.approx(0, abs=1e-9)
    assert together.repeats == 1


def slow_optimism(sums: CaseSums, variance: float, draws: int, seed: int) -> float:
    """BBC-CV draw by draw, each network's noise added where it chooses, taken off where judged."""
    random, n = np.random.default_rng(seed), sums.n_cases
    counts = random.multinomial(n, np.full(n, 1 / n), size=draws)
    noise = math.sqrt(variance / len(sums.fold_labels))
    noise = noise * random.standard_normal((draws, len(sums.names)))
    gains = []
    for count, luck in zip(counts, noise[:, sums.training], strict=True):
        inside = sums.scores(count) + luck
        outside = sums.scores((count == 0).astype(float)) - luck
        gains.append(outside[np.argmax(inside)] - outside.mean())
    pooled = sums.scores()
    return float(pooled[np.argmax(sums.fold_scores().mean(axis=1))] - pooled.mean()) - np.mean(
        gains
    )


@pytest.mark.parametrize("training", [[0, 1, 2], [0, 0, 2]])
def test_optimism_with_the_luck_of_training_against_a_slow_loop(training: list[int]) -> None:
    plain = simulate(World((0.0, 0.0, 0.01), n_cases=12, n_folds=3), np.random.default_rng(1))
    sums = CaseSums(plain.names, plain.cases, plain.folds, plain.values, np.array(training))
    found = bbc_cv(sums, known_luck(9e-4), 60, seed=3)
    assert found.optimism == pytest.approx(slow_optimism(sums, 9e-4, 60, 3))


def test_luck_of_shared_networks_does_not_choose_between_them() -> None:
    """Two rules on the same networks, one better on every case: nothing is left to luck."""
    random = np.random.default_rng(3)
    one = random.uniform(0.4, 0.8, 20)
    scores = np.stack([one, one - 0.01])
    with_luck, alone = known_luck(0.01), None
    shared = [bbc_cv(table_of(scores, FOLDS, [0, 0]), parts) for parts in (with_luck, alone)]
    assert shared[0].optimism == pytest.approx(shared[1].optimism)
    assert shared[0].optimism == pytest.approx(0, abs=1e-9)
    assert bbc_cv(table_of(scores, FOLDS), with_luck).optimism > 0.004


def test_moderation_finds_what_variances_have_in_common() -> None:
    """Variances drawn around 2 as if worth six numbers: those two are found again."""
    random = np.random.default_rng(0)
    truth = 6 * 2.0 / random.chisquare(6, 20_000)
    squares = truth * random.chisquare(4, 20_000) / 4
    prior, df = luck_module._prior(squares, np.full(20_000, 4.0))
    assert prior == pytest.approx(2, rel=0.03)
    assert df == pytest.approx(6, rel=0.06)


def test_moderated_variances_are_weighted_by_degrees_of_freedom(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of many rows no single one moves the mean: (6 x 2 + 4 s^2) / 10."""
    monkeypatch.setattr(luck_module, "_prior", lambda squares, df: (2.0, 6.0))
    random = np.random.default_rng(0)
    table = random.standard_normal((4000, 5)) * random.uniform(0.5, 3, (4000, 1))
    table -= table.mean(axis=1, keepdims=True)
    found = moderated_variances(table, 4)
    assert found
    expected = (6 * 2 + np.square(table).sum(axis=1)) / 10
    assert np.array(found.values) == pytest.approx(expected, rel=0.05)
    assert np.median(np.array(found.values) / expected) == pytest.approx(1, abs=2e-3)
    assert np.array(found.df) == pytest.approx(np.full(4000, 10), rel=1e-3)


def test_of_four_rows_each_has_a_variance_and_of_three_none() -> None:
    table = np.random.default_rng(1).standard_normal((4, 5)) * np.array([[1], [1], [1], [30]])
    table -= table.mean(axis=1, keepdims=True)
    assert moderated_variances(table, 4)
    assert moderated_variances(table, 2)
    assert moderated_variances(table[1:], 4) is None
    assert not Moderated((1.0, 1.0), (math.inf, 3.0)).alike
    assert Moderated((1.0, 1.0), (math.inf, math.inf)).alike


def test_the_one_named_is_near_the_first_in_nine_draws_of_ten() -> None:
    """A candidate is tied for being unsteady; with a margin that it never passes it is named."""
    scores = np.stack([np.linspace(0.5, 0.7, 20)] * 3)
    scores[1] += np.tile([0.05, -0.05], 10)  # unsteady: tied, and often the best
    scores[2] -= 0.02  # told apart only by the pooled score's own spread: never the best
    found, wide = (
        analyse(table_of(scores, FOLDS), costs=[3.0, 2.0, 1.0], margin=margin, draws=400)
        for margin in (0.005, 0.4)
    )
    by_name = {one.name: one for one in found.candidates}
    assert by_name["c2"].probability_first < 0.01
    assert by_name["c1"].tied
    assert 0.05 < by_name["c1"].chance_within_margin < 0.9
    assert (found.cheapest, wide.cheapest) == ("c0", "c2" if by_name["c2"].tied else "c1")
    assert {one.no_worse for one in wide.candidates} == {"yes"}  # .4 is more than they differ by
    assert by_name["c1"].probability_first > 0.05
    assert by_name["c1"].probability_among_best == by_name["c2"].probability_among_best == 1
