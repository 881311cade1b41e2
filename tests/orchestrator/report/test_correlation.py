"""How metrics go with the validation loss, against SciPy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from orchestrator.report.paper.correlation import (
    POOLED,
    Estimate,
    MetricRelation,
    bootstrapped_mean,
    correlation,
    draw_relations,
    jump,
    relations,
)
from tests.support.made_up_histories import candidate, history


def test_correlations_against_scipy() -> None:
    loss, values = np.random.default_rng(0).random((2, 15))
    assert correlation(loss, values, "spearman") == pytest.approx(stats.spearmanr(loss, values)[0])
    assert correlation(loss, values, "pearson") == pytest.approx(stats.pearsonr(loss, values)[0])
    loss[3] = np.nan
    kept = np.delete(loss, 3), np.delete(values, 3)
    assert correlation(loss, values, "spearman") == pytest.approx(stats.spearmanr(*kept)[0])
    for dull in (np.ones(15), np.full(15, np.nan)):
        assert np.isnan(correlation(loss, dull, "spearman"))
        assert np.isnan(correlation(loss, dull, "pearson"))
    assert np.isnan(correlation(loss[:2], values[:2], "pearson"))


def test_jumps_know_no_trend() -> None:
    random = np.random.default_rng(1)
    steps = random.normal(0, 0.1, 200)
    values = np.cumsum(steps)
    assert jump(values) == pytest.approx(np.std(steps[1:], ddof=1))
    assert jump(values + 0.05 * np.arange(200)) == pytest.approx(jump(values))
    assert np.isnan(jump(values[:2]))


def test_bootstrap_interval_is_that_of_scipy() -> None:
    values = np.random.default_rng(2).normal(size=25)
    ours = bootstrapped_mean([*values, float("nan")])
    theirs = stats.bootstrap((values,), np.mean, method="percentile", rng=1).confidence_interval
    assert (ours.trials, ours.mean) == (25, pytest.approx(values.mean()))
    assert (ours.low, ours.high) == (
        pytest.approx(theirs.low, abs=0.05),
        pytest.approx(theirs.high, abs=0.05),
    )
    assert np.isnan(bootstrapped_mean([0.5]).low)
    assert bootstrapped_mean([0.5]).mean == 0.5


def test_pooled_line_is_made_of_trials_and_not_of_candidates() -> None:
    falling = [0.9, 0.5, 0.4, 0.2]
    same = [history(i, falling, dice=[0.1, 0.2, 0.3, 0.4]) for i in range(3)]
    against = history(0, falling, dice=[0.4, 0.3, 0.2, 0.1])
    rows = relations([candidate("a", *same), candidate("b", against)])
    dice = {row.candidate: row.spearman for row in rows if row.metric == "dice"}
    assert {name: e.mean for name, e in dice.items()} == pytest.approx(
        {POOLED: (-3 + 1) / 4, "a": -1, "b": 1}
    )
    assert dice[POOLED].trials == 4
    figure = draw_relations(rows)
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts == ["a", "b", "all trials, mean and 95 % interval"]


def test_intervals_that_rounding_leaves_beside_the_mean_are_drawn() -> None:
    """By one unit in the last place the low end may be above the mean."""
    mean = 0.3
    beside = Estimate(mean, np.nextafter(mean, 1), np.nextafter(mean, 0), 5)
    draw_relations([MetricRelation(POOLED, "dice", beside, beside, beside)])
