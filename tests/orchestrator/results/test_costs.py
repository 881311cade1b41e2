"""What a candidate costs, on trials whose wall times are noise."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gitract_core.results.trial_result import TrialResult, read_history
from gitract_core.spec import Candidate, TrialSpec
from gitract_core.trial.run import run_trial
from orchestrator.results.candidate_scores import CandidateScores
from orchestrator.results.costs import training_costs
from orchestrator.results.leaderboard import build_leaderboard
from orchestrator.results.verdict import judge
from tests.support.tiny_sweep import prepare_tiny

SLICES, BATCH = 320, 16


def line(
    seconds: tuple[float, ...], epochs: tuple[int, ...] | int = 10, **knobs: Any
) -> CandidateScores:
    """A candidate whose trials took so many seconds an epoch."""
    knobs = {"optimizer.batch_size": BATCH} | {n.replace("__", "."): v for n, v in knobs.items()}
    candidate = Candidate.from_knobs(knobs)
    ran = epochs if isinstance(epochs, tuple) else (epochs,) * len(seconds)
    results = []
    for fold, (each, count) in enumerate(zip(seconds, ran, strict=True)):
        results.append(
            TrialResult(
                TrialSpec(candidate, fold, len(seconds), 0, "data", "plan"),
                {"score": 0.5, "dice": 0.5, "hausdorff": 0.5},
                {},
                {"best_epoch": 1, "epochs": count},
                {"seconds": each * count, "epoch_seconds": each, "peak_memory_bytes": 1},
                {"parameters": 5, "training_slices": SLICES},
            )
        )
    return CandidateScores(candidate, str(knobs), tuple(results))


def test_two_learning_rates_of_one_network_cost_the_same() -> None:
    """Though one of them had the machine for itself."""
    quiet = line((1.0, 1.1, 0.9), optimizer__learning_rate=0.01)
    busy = line((1.6, 1.2, 1.5), optimizer__learning_rate=0.001)
    first, second = training_costs([quiet, busy])
    assert first == second == pytest.approx(3 * 10 * np.median([1.0, 1.1, 0.9, 1.6, 1.2, 1.5]))


@pytest.mark.parametrize(
    "knob",
    [
        {"network__depth": 3},
        {"loss": "dice"},
        {"input__size": 64},
        {"augmentation__kinds": "elastic"},
        {"optimizer__batch_size": 8},
        {"training__precision": "fp32"},
    ],
)
def test_another_kind_of_work_has_its_own_time(knob: dict[str, Any]) -> None:
    slow, quick = line((2.0, 2.0)), line((1.0, 1.0), **knob)
    assert training_costs([slow, quick]) == pytest.approx([2 * 10 * 2.0, 2 * 10 * 1.0])


@pytest.mark.parametrize(
    "knob",
    [
        {"optimizer__schedule": "cosine"},
        {"optimizer__weight_decay": 0.1},
        {"training__patience": 3},
        {"training__monitor": "dice"},
        {"postprocess__threshold": 0.4},
    ],
)
def test_what_a_step_does_not_do_does_not_cost(knob: dict[str, Any]) -> None:
    first, second = training_costs([line((2.0, 2.0)), line((1.0, 1.0), **knob)])
    assert first == second == pytest.approx(2 * 10 * 1.5)


def test_steps_are_a_candidate_s_own() -> None:
    """Patience that ends trials early saves time; twice the epochs take twice the time."""
    short = line((1.0, 1.0), (4, 6))
    long = line((1.0, 1.0), 20, training__epochs=50)
    assert training_costs([short, long]) == pytest.approx([10.0, 40.0])


def test_the_whole_run_says_how_long_a_step_takes() -> None:
    asked, another = line((1.0,)), line((3.0,), optimizer__learning_rate=0.1)
    assert training_costs([asked]) == pytest.approx([10.0])
    assert training_costs([asked], [asked, another]) == pytest.approx([20.0])


def test_results_from_before_give_what_they_have() -> None:
    """Neither the median epoch nor the slices: epochs stand for steps, and the mean for both."""
    old = line((1.0, 3.0))
    bare = tuple(
        dataclasses.replace(r, environment={"parameters": 5}, cost={"seconds": r.cost["seconds"]})
        for r in old.finished
    )
    before = dataclasses.replace(old, results=bare)
    assert training_costs([before]) == pytest.approx([2 * 10 * 2.0])
    assert training_costs([before, line((5.0,))])[0] == pytest.approx(2 * 10 * 2.0)


def test_without_a_finished_fold_a_cost_is_unknown() -> None:
    nothing = CandidateScores(Candidate(), "none", (None, None))
    free = dataclasses.replace(line((1.0,)), results=_timeless(line((1.0,))))
    assert all(math.isnan(cost) for cost in training_costs([nothing, free]))


def _timeless(one: CandidateScores) -> tuple[TrialResult | None, ...]:
    return tuple(dataclasses.replace(r, cost={"seconds": 0.0}) for r in one.finished)


def test_a_trial_keeps_the_time_of_its_epochs(tiny: Path, tmp_path: Path) -> None:
    sweep = prepare_tiny(tiny, tmp_path / "run", {"training.epochs": 3})
    for spec in sweep.specs:
        run_trial(spec, sweep.data, sweep.directory.trial(spec).directory)
    result = sweep.directory.result(sweep.specs[0])
    assert result
    slowest = max(r.seconds for r in read_history(sweep.directory.trial(result.spec).history))
    assert 0 < result.cost["epoch_seconds"] <= slowest
    board = build_leaderboard(sweep.directory)
    found = judge(board)
    assert found
    expected = pytest.approx(training_costs(board.ranked)[0])
    assert found.statistics.candidates[0].cost == expected
    assert board.to_rows()[0]["cost_seconds"] == expected
