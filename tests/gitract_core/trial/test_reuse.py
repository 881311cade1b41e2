"""Candidates that differ in post-processing alone share one training."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from gitract_core.results.trial_result import TrialFiles
from gitract_core.spec import TrialSpec
from gitract_core.trial.run import iterate_trial, run_trial
from orchestrator.results.leaderboard import build_leaderboard
from tests.support.tiny_sweep import prepare_tiny

CHANGES = (
    {"loss": "bce + dice"},
    {"loss": "bce + dice", "postprocess.threshold": 0.3},
    {"loss": "bce"},
)


def _values(files: TrialFiles) -> dict[str, object]:
    values: dict[str, object] = json.loads(files.result.read_text())
    for name in ("cost", "seal", "files"):  # a history holds seconds
        del values[name]
    return values


def test_a_reused_training_gives_what_a_training_of_its_own_gives(
    tiny: Path, tmp_path: Path
) -> None:
    sweep = prepare_tiny(tiny, tmp_path / "run", *CHANGES)
    plain, lower = (s for s in sweep.specs if s.fold == 0 and s.candidate.loss == "bce + dice")
    trials = sweep.directory.trials
    run_trial(plain, sweep.data, trials / plain.key)
    assert list(iterate_trial(lower, sweep.data, trials / lower.key)) == []  # no epoch was run
    alone = tmp_path / "alone" / lower.key
    assert run_trial(lower, sweep.data, alone).spec == lower
    reused = TrialFiles(trials / lower.key)
    assert _values(reused) == _values(TrialFiles(alone))
    assert _values(reused)["scores"] != _values(TrialFiles(trials / plain.key))["scores"]
    assert os.path.samefile(reused.best, TrialFiles(trials / plain.key).best)
    assert (reused.scores.read_bytes()) == TrialFiles(alone).scores.read_bytes()


def test_a_damaged_or_missing_training_is_not_reused(tiny: Path, tmp_path: Path) -> None:
    sweep = prepare_tiny(tiny, tmp_path / "run", *CHANGES)
    plain, lower = (s for s in sweep.specs if s.fold == 0 and s.candidate.loss == "bce + dice")
    trials = sweep.directory.trials
    run_trial(plain, sweep.data, trials / plain.key)
    TrialFiles(trials / plain.key).result.write_text("{")
    assert len(list(iterate_trial(lower, sweep.data, trials / lower.key))) == 3


@pytest.mark.parametrize("other", [{"loss": "bce"}, {"optimizer.learning_rate": 0.02}])
def test_another_training_is_never_reused(
    tiny: Path, tmp_path: Path, other: dict[str, object]
) -> None:
    sweep = prepare_tiny(tiny, tmp_path / "run", {"loss": "bce + dice"}, other)
    specs: list[TrialSpec] = [s for s in sweep.specs if s.fold == 0]
    for spec in specs:
        assert len(list(iterate_trial(spec, sweep.data, sweep.directory.trials / spec.key))) == 3


def test_trainings_come_first_and_an_ensemble_takes_each_once(tiny: Path, tmp_path: Path) -> None:
    sweep = prepare_tiny(tiny, tmp_path / "run", *CHANGES)
    order = [s.candidate.postprocess.threshold for s in sweep.specs]
    assert order == [0.5] * 4 + [0.3] * 2
    for spec in sweep.specs:
        run_trial(spec, sweep.data, sweep.directory.trials / spec.key)
    board = build_leaderboard(sweep.directory)
    assert len(board.ranked) == 3
    assert {line.candidate.loss for line in board.top(2)} == {"bce", "bce + dice"}
