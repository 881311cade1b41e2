"""Trials on other layouts end to end: the images that networks see in training and prediction."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from gitract_core.data.cache import build_cache, scan_images
from gitract_core.data.contents import Extent
from gitract_core.data.folds import FoldPlan
from gitract_core.data.slices import SliceIndex
from gitract_core.data.sources import find_sources
from gitract_core.device import Runtime
from gitract_core.errors import DataError
from gitract_core.prediction.clinical import predict_sources
from gitract_core.prediction.members import Members, Predictor
from gitract_core.prediction.postprocess import NativeGrid
from gitract_core.results.trial_result import TrialResult
from gitract_core.spec import Candidate, TrialSpec
from gitract_core.trial.data import TrialData
from gitract_core.trial.run import run_trial
from tests.support.other_layouts import (
    BY_LETTER,
    image_of,
    label_map,
    write_nnunet,
    write_pairs,
    write_volume,
)

ONE_THREAD = Runtime(device="cpu", threads=1)
KNOBS = {
    "network.widths": "4,8",
    "network.depth": 1,
    "input.size": 32,
    "training.epochs": 2,
    "training.patience": 2,
    "training.precision": "fp32",
    "optimizer.learning_rate": 0.02,
    "postprocess.threshold": 0.1,
}


def trained(root: Path, trial: Path) -> tuple[SliceIndex, Members, Predictor]:
    index = SliceIndex.from_directory(root, patients=BY_LETTER)
    plan = FoldPlan.make(index, 2, 0)
    candidate = Candidate.from_knobs(KNOBS)
    spec = TrialSpec(candidate, 0, 2, 0, index.fingerprint, plan.fingerprint)
    data = TrialData(root, index.fingerprint, plan, gray=index.gray, patients=BY_LETTER)
    run_trial(spec, data, trial, runtime=ONE_THREAD)
    members = Members.load(trial)
    return index, members, Predictor(members, trial, ONE_THREAD)


def test_channels_windows_and_axis_are_the_same_when_files_are_predicted(tmp_path: Path) -> None:
    root = write_nnunet(tmp_path / "d", channels=("CT", "PET"))
    (root / "dataset.yaml").write_text("slice_axis: coronal\n")
    index, members, predictor = trained(root, tmp_path / "trial")
    assert (members.channels, members.axis) == (("CT", "PET"), "coronal")
    assert members.gray == "window_-160_240-v1+percentile99.5-v1"
    sources = find_sources(root / "imagesTr", "nifti", raw=True, channels=members.channels)
    assert [source.name for source in sources] == index.scans
    predict_sources(predictor, sources[:1], tmp_path / "out", "nifti")
    wanted = predictor.masks(index, index.scans[0])
    assert wanted.any()
    for organ, mask in zip(index.organs, wanted, strict=True):
        found = nib.load(tmp_path / "out" / f"{index.scans[0]}_{organ}.nii.gz")
        image = nib.load(root / "imagesTr" / f"{index.scans[0]}_0000.nii.gz")
        assert np.allclose(found.affine, image.affine)
        # x, y, z of the file are left, back, head; coronal slices are (back; feet, left)
        assert np.array_equal(np.asarray(found.dataobj), mask.transpose(2, 0, 1)[:, :, ::-1])


def test_a_cache_holds_every_channel_scaled_by_its_own_rule(tmp_path: Path) -> None:
    root = write_nnunet(tmp_path / "d", channels=("CT", "PET"))
    index = SliceIndex.from_directory(root, patients=BY_LETTER)
    cache = build_cache(index, 16)
    rows = index.rows_of_scan("p1_a")
    assert cache.images.shape == (len(index.table), 2, 16, 16)
    seen = cache.images[rows.index]
    assert np.array_equal(seen, scan_images(root, rows, 16, gray=index.gray))
    assert not np.array_equal(seen[:, 0], seen[:, 1])
    assert (cache.channels, cache.index.channels) == (("CT", "PET"), ("CT", "PET"))


def test_images_of_other_channels_are_refused(tmp_path: Path) -> None:
    root = write_nnunet(tmp_path / "d", channels=("T1", "T2"))
    _, members, predictor = trained(root, tmp_path / "trial")
    single = write_pairs(tmp_path / "single")
    other = SliceIndex.from_directory(single, patients=BY_LETTER)
    with pytest.raises(DataError, match="images of the channels T1, T2, got image"):
        predictor.masks(other, other.scans[0])
    with pytest.raises(DataError, match="NAME_0000 to NAME_0001"):
        find_sources(single / "images", "nifti", channels=members.channels)
    (root / "imagesTr" / "p1_a_0001.nii.gz").unlink()
    with pytest.raises(DataError, match="1 of 2 for p1_a"):
        find_sources(root / "imagesTr", "nifti", channels=members.channels)


def test_unknown_entries_are_neither_trained_on_nor_scored(tmp_path: Path) -> None:
    plain = write_nnunet(tmp_path / "plain")
    ignoring = write_nnunet(
        tmp_path / "ignoring", labels={"background": 0, "liver": 1, "ignore": 2}
    )
    index, *_ = trained(ignoring, tmp_path / "trial")
    trained(plain, tmp_path / "other")
    result = TrialResult.load(tmp_path / "trial" / "result.json")
    assert result.known["liver"] < 1
    rows = sum(sum(case["dice_rows"]) for case in result.per_case.values())
    all_known = TrialResult.load(tmp_path / "other" / "result.json")
    others = sum(sum(case["dice_rows"]) for case in all_known.per_case.values())
    assert 0 <= rows < others
    assert index.known is not None


def test_doubts_compare_with_what_these_networks_learned_from(tmp_path: Path) -> None:
    root = write_nnunet(tmp_path / "d")
    _, members, predictor = trained(root, tmp_path / "trial")
    assert members.extent == Extent((4.0, 2.0, 1.5), (40.0, 36.0))
    alike = find_sources(root / "imagesTr", "nifti")[:1]
    coarse = tmp_path / "coarse" / "p9.nii.gz"
    write_volume(coarse, image_of(label_map()), np.diag([-3.0, -2.0, 4.0, 1.0]))
    (same,) = predict_sources(predictor, alike, tmp_path / "one", "nifti")
    assert same.doubts == ()
    (other,) = predict_sources(predictor, find_sources(coarse, "nifti"), tmp_path / "two", "nifti")
    assert any("pixels of 2.00 x 3.00 mm" in line for line in other.doubts)
    assert any("networks learned from about 2 x 1.5" in line for line in other.doubts)


def test_volumes_in_milliliters_use_the_distance_of_slices(tmp_path: Path) -> None:
    index = SliceIndex.from_directory(write_nnunet(tmp_path / "d"), patients=BY_LETTER)
    assert NativeGrid.of_scan(index.rows_of_scan("p1_a")).voxel_mm3 == 1.5 * 2.0 * 4.0
