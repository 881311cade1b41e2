"""Ensembles and predictions of scans in other layouts: no labels are asked for, and no patients."""

from __future__ import annotations

import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from gitract_core.data.slices import SliceIndex
from gitract_core.errors import DataError
from gitract_core.trial.run import run_trial
from orchestrator.api.run import open_run
from orchestrator.sweeps.preparation import SweepRequest, prepare
from tests.support.other_layouts import BY_LETTER, write_nnunet, write_pairs
from tests.support.refusing import run_cli
from tests.support.tiny_sweep import tiny_space

KNOBS = {"training.epochs": 2, "postprocess.threshold": 0.1, "optimizer.learning_rate": 0.02}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set in nnU-Net's layout with coronal slices of two channels, and a finished run."""
    home = tmp_path_factory.mktemp("home")
    data = write_nnunet(home / "data", channels=("T1", "T2"))
    (data / "dataset.yaml").write_text("slice_axis: coronal\n")
    shutil.copytree(data / "imagesTr", data / "imagesTs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GITRACT_CACHE", str(home / "cache"))
        request = SweepRequest(data, tiny_space(KNOBS), home / "run", patients=BY_LETTER)
        sweep = prepare(request)
        for spec in sweep.specs:
            run_trial(spec, sweep.data, sweep.directory.trial(spec).directory)
    return home


@pytest.fixture(autouse=True)
def cache(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITRACT_CACHE", str(home / "cache"))


def test_an_ensemble_predicts_the_test_images_of_its_data_set(home: Path) -> None:
    ended = run_cli("ensemble", str(home / "run"), "--top", "1")
    assert ended.code == 0, ended
    assert "checked: in order" in " ".join(ended.out.split())
    masks = open_run(home / "run").ensemble(1).predict(home / "data" / "imagesTs")
    assert list(masks) == ["p1_a", "p1_b", "p2_a", "p3_a", "p4_a"]
    out = home / "masks"
    ended = run_cli("predict", str(home / "run"), "--images", str(home / "data"), "--out", str(out))
    assert ended.code == 0, ended
    wanted = masks["p1_a"]
    assert wanted.any()
    for channel, organ in enumerate(("liver", "spleen")):
        found = np.asarray(nib.load(out / f"p1_a_{organ}.nii.gz").dataobj)
        assert np.array_equal(found, wanted[channel].transpose(2, 0, 1)[:, :, ::-1])


def test_a_folder_of_one_channel_is_named_without_its_number(tmp_path: Path) -> None:
    images = write_nnunet(tmp_path / "d") / "imagesTr"
    index = SliceIndex.to_predict(images)
    assert index.scans[0] == "p1_a"
    assert not index.annotated


def test_labels_are_not_looked_at(tmp_path: Path) -> None:
    root = write_pairs(tmp_path / "d")
    for file in (root / "labels").iterdir():
        file.write_bytes(b"no")
    assert not SliceIndex.to_predict(root).annotated


def test_slices_along_another_axis_are_refused(home: Path) -> None:
    made = open_run(home / "run").ensemble(1)
    other = SliceIndex.to_predict(home / "data", channels=("T1", "T2"))
    predictor = made.predict(home / "data")._predictor
    with pytest.raises(DataError, match="coronal slices, as in training, got axial ones"):
        predictor.masks(other, "p1_a")
