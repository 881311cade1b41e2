"""Ensembles with another tool's predictions: of the scans that it predicted, and of no others."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from gitract_core.data.slices import SliceIndex
from gitract_core.data.volumes import scan_masks
from gitract_core.device import Runtime
from gitract_core.prediction.members import Members, Predictor
from gitract_core.trial.run import run_trial
from orchestrator.api.run import open_run
from orchestrator.results.verification import verify_run
from tests.support.other_layouts import write_volume
from tests.support.refusing import refused, run_cli
from tests.support.tiny_sweep import prepare_tiny

NAME = "a rival"


@pytest.fixture(scope="module")
def made(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two candidates, trained for an epoch, with a perfect rival and an ensemble."""
    run = tmp_path_factory.mktemp("with_added") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GITRACT_CACHE", str(run.parent / "cache"))
        sweep = prepare_tiny(tiny, run, {"training.epochs": 1}, {"training.epochs": 2})
        for spec in sweep.specs:
            run_trial(spec, sweep.data, sweep.directory.trial(spec).directory)
        truth = tiny / "train.csv"
        given = {"declared": True, "test_predictions": truth, "test_images": tiny / "train"}
        open_run(run).add(NAME, truth, **given)  # type: ignore[arg-type]
        open_run(run).ensemble(2)
    return run


@pytest.fixture
def own(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the run, in the working directory."""
    monkeypatch.setenv("GITRACT_CACHE", str(made.parent / "cache"))
    monkeypatch.chdir(tmp_path)
    shutil.copytree(made, tmp_path / "run")
    return tmp_path / "run"


def test_it_has_its_share_and_is_announced_out_of_fold(own: Path) -> None:
    folder = own / "ensembles" / "top2-equal"
    members = Members.load(folder)
    assert [(one.name, one.weight) for one in members.given] == [(NAME, pytest.approx(0.5))]
    assert [m.weight for m in members.members] == [pytest.approx(0.25)] * 2
    announced = json.loads((folder / "oof_score.json").read_text())
    scores = {one["candidate"]: one["score"] for one in announced["candidates"]}
    assert scores[NAME] == 1.0
    assert announced["score"] > 0.8 > min(scores.values())
    assert "left_out" not in announced
    assert verify_run(open_run(own).directory).ok


def test_half_of_the_average_is_what_it_said(own: Path, tiny: Path) -> None:
    """Where its half says yes, any doubt of the others' half is too little; and the other way."""
    folder = own / "ensembles" / "top2-equal"
    index = SliceIndex.from_directory(tiny)
    predictor = Predictor(Members.load(folder), folder, Runtime("cpu"))
    for scan in index.scans[:2]:
        truth = scan_masks(index.rows_of_scan(scan), organs=index.organs)
        found = predictor.masks(index, scan)
        assert 2 * (truth & found).sum() / (truth.sum() + found.sum()) > 0.9
    one = np.asarray(predictor.given[0][1]["case1_day0"])
    assert one.shape == (3, 6, 32, 32)
    assert one.max() == 255


def test_a_submission_is_traced_to_its_predictions(own: Path, tiny: Path) -> None:
    asked = ("ensemble", "run", "--top", "2", "--images", str(tiny / "train"))
    assert run_cli(*asked).code == 0
    submission = own / "ensembles" / "top2-equal" / "submission.csv"
    assert run_cli("verify", str(submission)).code == 0
    test = own / "added" / NAME / "test.npz"
    test.write_bytes(test.read_bytes() + b"\0")
    verified = run_cli("verify", str(submission))
    assert verified.code == 1
    assert f"predictions of {NAME}" in verified.out
    assert run_cli("verify", "run").code == 1


def test_scans_that_it_did_not_predict_are_refused(own: Path, tiny: Path) -> None:
    rows = (tiny / "train.csv").read_text().splitlines(keepends=True)
    some = own.parent / "some.csv"
    some.write_text("".join(row for row in rows if row.startswith(("id", "case1_"))))
    given = ("--predictions", str(tiny / "train.csv"), "--declared", "--replace")
    test = ("--test-predictions", str(some), "--test-images", str(tiny / "train"))
    assert run_cli("add", "run", "--name", NAME, *given, *test).code == 0
    asked = ["ensemble", "run", "--top", "2", "--images", str(tiny / "train"), "--workers", "1"]
    ended = run_cli(*asked)
    assert ended.code in (1, 2)
    assert f"one that {NAME} predicted" in ended.err, ended
    assert "Traceback" not in ended.err


def test_scans_from_elsewhere_are_refused(own: Path) -> None:
    (own.parent / "lab").mkdir()
    affine = np.diag([-1.5, -1.5, 3.0, 1.0])
    values = np.random.default_rng(0).integers(0, 900, (40, 36, 6)).astype(np.uint16)
    write_volume(own.parent / "lab" / "scan.nii.gz", values, affine)
    asked = ["predict", "run/ensembles/top2-equal", "--images", "lab", "--out", "masks"]
    ended = run_cli(*asked)
    assert ended.code == 2
    assert f"predictions of {NAME}: expected scans of a data set" in ended.err, ended
    assert not (own.parent / "masks").exists()


def test_what_cannot_be_taken_elsewhere_is_not(own: Path) -> None:
    home, ensemble = own.parent, "run/ensembles/top2-equal"
    refused(home, ["export", ensemble, "--out", "b"], naming=f"predictions of {NAME}, of some")
    refused(home, ["remove", "run", NAME, "--yes"], naming="a candidate that no ensemble uses")


def test_without_predictions_of_test_scans_it_is_left_out(own: Path, tiny: Path) -> None:
    shutil.rmtree(own / "ensembles")
    given = ("--predictions", str(tiny / "train.csv"), "--declared", "--replace")
    assert run_cli("add", "run", "--name", NAME, *given).code == 0
    assert not list((own / "added").rglob("*.npz"))
    made = open_run(own).ensemble(2).made
    assert [line.added for line, _ in made.chosen] == [False, False]
    assert made.left_out == (
        f"{NAME}: added from another tool, without predictions of the test set "
        "(add --test-predictions)",
    )
    assert not Members.load(own / "ensembles" / "top2-equal").given
