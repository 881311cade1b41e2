"""What masks rest on is told: the data, the Dice out of fold, the run's best ensemble."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from gitract_core.device import Runtime
from gitract_core.errors import RunError
from gitract_core.metrics.score import COMPETITION
from gitract_core.organs import CONTEST
from gitract_core.prediction.members import Members
from gitract_core.results.trial_result import TrialFiles, TrialResult
from gitract_core.trial.run import run_trial
from orchestrator.ensembles.basis import Basis, basis_of, find_members
from orchestrator.ensembles.bundle import write_bundle
from orchestrator.ensembles.making import make_ensemble
from orchestrator.ensembles.selection import Method
from orchestrator.results.leaderboard import build_leaderboard
from tests.support.command_line import cli
from tests.support.tiny_sweep import prepare_tiny


@pytest.fixture(scope="module")
def run(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of a data set that says it is a phantom, with one ensemble."""
    home = tmp_path_factory.mktemp("basis")
    shutil.copytree(tiny, home / "data")
    (home / "data/phantom.json").write_text("{}")
    sweep = prepare_tiny(home / "data", home / "run", {"loss": "bce + dice"})
    for spec in sweep.specs:
        run_trial(spec, sweep.data, sweep.directory.trials / spec.key)
    make_ensemble(sweep.directory, build_leaderboard(sweep.directory), Method(1))
    return home / "run"


def basis(path: Path) -> Basis:
    manifest = find_members(path)
    return basis_of(manifest, Members.load(manifest))


def test_an_ensemble_rests_on_the_scores_of_all_folds(run: Path) -> None:
    found = basis(run / "ensembles/top1-equal")
    assert found.synthetic
    results = [TrialResult.load(TrialFiles(d).result) for d in (run / "trials").glob("[!.]*")]
    cases = [case for result in results for case in result.per_case.values()]
    for place, organ in enumerate(CONTEST):
        dice = sum(c["dice_sum"][place] for c in cases) / sum(c["dice_rows"][place] for c in cases)
        assert found.dice[organ] == pytest.approx(dice)
    assert COMPETITION.columns[:2] == ("dice_sum", "dice_rows")


def test_a_trial_rests_on_its_fold_and_a_bundle_on_what_it_was_made_of(
    run: Path, tmp_path: Path
) -> None:
    trial = next((run / "trials").glob("[!.]*"))
    scores = TrialResult.load(TrialFiles(trial).result).scores["per_class"]
    assert basis(trial).dice == {organ: scores[organ]["dice"] for organ in CONTEST}
    for source in (trial, run / "ensembles/top1-equal"):
        bundle = write_bundle(source, tmp_path / source.name, None, Runtime("cpu", 1))
        assert basis(bundle.directory) == basis(source)
    old = tmp_path / trial.name / "bundle.json"
    old.write_text(json.dumps({"seconds_per_scan": None, "device": "cpu"}))
    assert basis(old.parent) == Basis()


def test_a_run_means_its_best_ensemble(run: Path, tmp_path: Path) -> None:
    one = run / "ensembles/top1-equal/members.json"
    assert find_members(run) == one
    shutil.copytree(run, tmp_path / "run")
    shutil.rmtree(tmp_path / "run/ensembles")
    with pytest.raises(RunError, match=r"expected a run with an ensemble, got none; make one"):
        find_members(tmp_path / "run")


def test_predict_says_what_it_rests_on(run: Path, tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 900, (40, 40, 4)).astype(np.uint16)
    nib.save(nib.Nifti1Image(values, np.diag([-1.5, -1.5, -3.0, 1.0])), tmp_path / "a.nii")
    done = cli(tmp_path, "predict", run, "--images", "a.nii", "--out", "o")
    dice = basis(run).dice["stomach"]
    assert dice is not None
    assert re.search(rf"stomach \d+ ml \(Dice {f'{dice:.2f}'.removeprefix('0')}\)", done.stdout)
    assert "o/a_stomach.nii.gz" in done.stdout
    first, second, *_ = done.stderr.splitlines()
    assert first == f"ensemble {run / 'ensembles/top1-equal'}"
    assert second.startswith("warning: these networks learned from synthetic data")
    own = cli(tmp_path, "predict", run, "--images", run.parent / "data/train", "--out", "s.csv")
    assert "synthetic" not in own.stderr
