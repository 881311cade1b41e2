"""Probabilities kept, predicted anew, and averaged with those of mirrored slices."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from gitract_core.data.slices import SliceIndex
from gitract_core.device import Runtime
from gitract_core.errors import RunError
from gitract_core.prediction.inference import predict_scan
from gitract_core.prediction.members import Members, Predictor
from gitract_core.prediction.probabilities import read_oof
from gitract_core.results.trial_result import TrialFiles
from gitract_core.spec import Candidate
from gitract_core.trial.held_out_prediction import open_oof
from gitract_core.trial.run import run_trial
from orchestrator.ensembles.making import make_ensemble
from orchestrator.ensembles.selection import Method
from orchestrator.report.paper.predictions import draw_predictions
from orchestrator.results.leaderboard import build_leaderboard
from orchestrator.sweeps.preparation import PreparedSweep
from tests.support.tiny_sweep import prepare_tiny

ONE_CHANNEL = Candidate.from_knobs({"input.channels": 1})


def run_all(sweep: PreparedSweep, *, keep: bool) -> PreparedSweep:
    for spec in sweep.specs:
        directory = sweep.directory.trials / spec.key
        run_trial(spec, sweep.data, directory, runtime=Runtime("cpu", 1, keep))
    return sweep


def test_flipping_averages_with_the_mirrored_prediction_mirrored_back() -> None:
    torch.manual_seed(0)
    network = nn.Conv2d(1, 3, 3, padding=1)  # sees left and right differently
    images = torch.randint(0, 256, (5, 16, 16), dtype=torch.uint8)
    mirrored = images.flip(-1)
    plain, back = (
        predict_scan(network, seen, ONE_CHANNEL, "fp32").astype(float)
        for seen in (images, mirrored)
    )
    expected = (plain + back[..., ::-1]) / 2
    assert np.abs(plain - back[..., ::-1]).max() > 5
    found = predict_scan(network, images, ONE_CHANNEL, "fp32", flip=True)
    assert np.abs(found - expected).max() <= 1


def test_what_is_predicted_anew_is_what_was_kept(tiny: Path, tmp_path: Path) -> None:
    kept = run_all(prepare_tiny(tiny, tmp_path / "kept", {"loss": "bce + dice"}), keep=True)
    lost = run_all(prepare_tiny(tiny, tmp_path / "lost", {"loss": "bce + dice"}), keep=False)
    for spec in kept.specs:
        first, second = (sweep.directory.trial(spec) for sweep in (kept, lost))
        assert first.oof.is_file()
        assert not second.oof.is_file()
        values = json.loads(first.result.read_text()), json.loads(second.result.read_text())
        assert values[0]["scores"] == values[1]["scores"]
        before = open_oof(spec, first, kept.data)
        again = open_oof(spec, second, lost.data, Runtime("cpu", 1))
        assert list(before) == list(again)
        assert all(np.array_equal(before[scan], again[scan]) for scan in before)
        assert second.oof.is_file()


def test_missing_weights_are_told(tiny: Path, tmp_path: Path) -> None:
    sweep = run_all(prepare_tiny(tiny, tmp_path / "run"), keep=False)
    spec = sweep.specs[0]
    sweep.directory.trial(spec).best.unlink()
    with pytest.raises(RunError, match=r"best\.safetensors"):
        open_oof(spec, sweep.directory.trial(spec), sweep.data)


def test_post_processing_is_reused_without_kept_probabilities(tiny: Path, tmp_path: Path) -> None:
    changes = ({"loss": "bce + dice"}, {"loss": "bce + dice", "postprocess.threshold": 0.3})
    sweep = run_all(prepare_tiny(tiny, tmp_path / "run", *changes), keep=False)
    for spec in sweep.specs:
        cost = json.loads(sweep.directory.trial(spec).result.read_text())["cost"]
        assert ("training_of_trial" in cost) == (spec.candidate.postprocess.threshold == 0.3)
        assert not sweep.directory.trial(spec).oof.is_file()


def test_figure_11_predicts_anew_what_was_not_kept(tiny: Path, tmp_path: Path) -> None:
    """The page must not load torch: there the remedy is named."""
    sweep = run_all(prepare_tiny(tiny, tmp_path / "run", {"loss": "bce + dice"}), keep=False)
    line = build_leaderboard(sweep.directory).ranked[0]
    with pytest.raises(RunError, match="gitract-cv audit or ensemble"):
        read_oof(sweep.directory.trial(sweep.specs[0]).oof, "case1_day0")
    figure = draw_predictions(sweep.directory, line, SliceIndex.from_directory(tiny))
    assert len(figure.axes) >= 6


def test_flips_are_tried_and_kept_only_where_they_help(tiny: Path, tmp_path: Path) -> None:
    sweep = run_all(prepare_tiny(tiny, tmp_path / "run", {"loss": "bce + dice"}), keep=True)
    made = make_ensemble(sweep.directory, build_leaderboard(sweep.directory), Method(1, flip=True))
    plain = make_ensemble(sweep.directory, build_leaderboard(sweep.directory), Method(1))
    assert made.flipped is not None
    assert made.members.flip == (made.flipped > plain.announced.score)
    assert made.announced.score == max(made.flipped, plain.announced.score)
    saved = Members.load(made.directory)
    assert saved == made.members
    images = SliceIndex.from_directory(tiny / "train")
    runtime = Runtime("cpu", 1)
    scan = images.scans[0]
    masks = [
        Predictor(dataclasses.replace(saved, flip=flip), made.directory, runtime).masks(
            images, scan
        )
        for flip in (False, True)
    ]
    assert not np.array_equal(*masks)
    stores = [
        TrialFiles(sweep.directory.trials / spec.key).directory / "oof_flip.npz"
        for spec in sweep.specs
    ]
    assert all(store.is_file() for store in stores)


def test_flips_that_change_nothing_are_not_kept(tiny: Path, tmp_path: Path) -> None:
    """Networks that say nothing yet: the score is the same with them, for twice the time."""
    early = {"optimizer.learning_rate": 1e-6, "training.epochs": 1}
    sweep = run_all(prepare_tiny(tiny, tmp_path / "run", early), keep=True)
    made = make_ensemble(sweep.directory, build_leaderboard(sweep.directory), Method(1, flip=True))
    assert made.flipped == made.announced.score
    assert not made.members.flip
