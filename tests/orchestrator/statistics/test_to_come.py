"""The interval of the score of patients to come covers how much such patients differ."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import binom

from gitract_core.prediction.announced_scores import AnnouncedScores
from orchestrator.ensembles.to_come import interval_to_come
from orchestrator.statistics import CaseSums, bootstrap
from orchestrator.statistics.intervals.to_come import score_to_come
from tests.support.simulated_sweeps import World, simulate


@pytest.mark.parametrize("n_new", [1, 2, 10])
@pytest.mark.parametrize("n_cases", [11, 40])
def test_it_holds_the_score_of_new_patients(n_cases: int, n_new: int) -> None:
    """In 95 % of sweeps; the interval of the mean patient in far fewer, where the set is small."""
    random, hold, mean, width, scores, n = np.random.default_rng(n_new), 0, 0, [], [], 150
    for seed in range(n):
        both = simulate(World((0.0,), n_cases=n_cases + n_new), random)
        sums = part(both, slice(n_new, None))
        new = float(part(both, slice(n_new), folds=False).scores()[0])
        low, high = score_to_come(sums, n_new, draws=400, seed=seed)
        hold += low <= new <= high
        width.append(high - low)
        scores.append(new)
        low, high = bootstrap(sums, None, 400, seed).intervals()[0]
        mean += low <= new <= high
    assert binom.ppf(0.001, n, 0.95) <= hold <= 0.995 * n, hold / n
    least = np.ptp(np.quantile(scores, [0.025, 0.975])) * math.sqrt(1 + n_new / n_cases)
    assert np.mean(width) < 1.5 * least  # the mean patient is not known exactly either
    assert mean < 0.9 * n


def part(sums: CaseSums, cases: slice, folds: bool = True) -> CaseSums:
    """Some cases of a table."""
    names = sums.cases[cases]
    of_case = np.arange(len(names)) % 5 if folds else np.zeros(len(names), int)
    return CaseSums(sums.names, names, of_case, sums.values[:, cases])


def test_folds_of_a_single_case_and_few_cases() -> None:
    sums = simulate(World((0.0,), n_cases=7), np.random.default_rng(0))
    low, high = score_to_come(sums, 2, draws=200)
    assert 0 <= low < sums.fold_scores().mean() < high <= 1
    two = simulate(World((0.0,), n_cases=2, n_folds=2), np.random.default_rng(0))
    assert math.isnan(score_to_come(two, 2)[0])


def announced(sums: CaseSums, **more: object) -> AnnouncedScores:
    columns = sums.score.columns
    per_case = {
        case: {name: row[:, i].tolist() for i, name in enumerate(columns)}
        for case, row in zip(sums.cases, sums.values[0], strict=True)
    }
    values = {"score": 0.6, "interval": (0.5, 0.7), "in_sample": 0.6, "single": 0.6, "gain": 0.0}
    return {**values, "gain_interval": (0.0, 0.0), "per_case": per_case, **more}  # type: ignore[typeddict-item]


def test_it_follows_from_what_an_ensemble_announces() -> None:
    sums = simulate(World((0.0,), n_cases=20), np.random.default_rng(1))
    folds = dict(zip(sums.cases, sums.folds.tolist(), strict=True))
    found = interval_to_come(announced(sums, fold_of_case=folds), 3)
    assert found == pytest.approx(score_to_come(sums, 3))
    older = interval_to_come(announced(sums), 3)
    assert older[0] < sums.scores()[0] < older[1]
    nothing = announced(sums)
    del nothing["per_case"]
    assert math.isnan(interval_to_come(nothing, 3)[0])
