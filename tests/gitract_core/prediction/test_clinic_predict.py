"""``predict`` on a lab's own scans, as a user runs it: the same masks as by the contest's way."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from pydicom import dcmread

from gitract_core.clinic.file_kinds import format_of, kind_of
from gitract_core.data.rle import decode
from gitract_core.data.slices import SliceIndex
from gitract_core.data.sources import find_sources
from gitract_core.data.volumes import load_scan
from gitract_core.errors import DataError, RunError
from gitract_core.organs import CONTEST
from gitract_core.prediction.clinical import check_folder
from gitract_core.trial.run import run_trial
from tests.support.clinic_files import axial_series, block, dicom_slice, write_series
from tests.support.command_line import cli
from tests.support.tiny_sweep import prepare_tiny

AFFINE = np.diag([-1.5, -1.5, -3.0, 1.0])
SCAN = "case7_day0"


@pytest.fixture(scope="module")
def trial(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained trial's directory."""
    run = tmp_path_factory.mktemp("clinic") / "run"
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("GITRACT_CACHE", str(run.parent / "cache"))
        sweep = prepare_tiny(
            tiny, run, {"input.context": 3, "input.stride": 1, "training.epochs": 12}
        )
        spec = sweep.pending[0]
        run_trial(spec, sweep.data, sweep.directory.trial(spec).directory)
    return sweep.directory.trial(spec).directory


@pytest.fixture(scope="module")
def expected(tiny: Path, trial: Path) -> np.ndarray:
    """Masks (organs, slices, height, width) by the contest's way: PNG to submission."""
    out = trial.parent.parent / "case7.csv"
    cli(trial, "predict", trial, "--images", tiny / "train" / "case7", "--out", out)
    rows = pd.read_csv(out, keep_default_na=False).groupby("class", sort=False)["predicted"]
    masks = np.array([[decode(t, 36, 36) for t in rows.get_group(o)] for o in CONTEST.names])
    assert masks.any()
    return masks


def images_of(tiny: Path) -> np.ndarray:
    return load_scan(SliceIndex.from_directory(tiny), SCAN).images


def written(folder: Path, name: str) -> list[nib.Nifti1Image]:
    return [nib.load(folder / f"{name}_{organ}.nii.gz") for organ in CONTEST.names]


def test_nifti_gives_the_masks_of_the_contest_way(
    tiny: Path, trial: Path, expected: np.ndarray, tmp_path: Path
) -> None:
    volume = images_of(tiny).T  # left, back, feet
    (tmp_path / "in").mkdir()
    nib.save(nib.Nifti1Image(volume, AFFINE), tmp_path / "in/a.nii.gz")
    turned = np.diag([1.5, -1.5, 3.0, 1.0])
    nib.save(nib.Nifti1Image(volume[::-1, :, ::-1].astype(float), turned), tmp_path / "in/b.nii")
    done = cli(tmp_path, "predict", trial, "--images", "in")
    assert "6 files of 2 scans" in done.stdout
    assert "warning: a: field of view 54 x 54 mm" in done.stderr
    assert f"predictions/a_{CONTEST.names[0]}.nii.gz" in done.stdout
    for organ, a, b in zip(
        expected,
        written(tmp_path / "predictions", "a"),
        written(tmp_path / "predictions", "b"),
        strict=True,
    ):
        np.testing.assert_array_equal(np.asanyarray(a.dataobj).T, organ)
        np.testing.assert_array_equal(np.asanyarray(b.dataobj)[::-1, :, ::-1].T, organ)
        np.testing.assert_allclose(a.affine, AFFINE)
        np.testing.assert_allclose(b.affine, turned)


def test_contest_scans_as_nifti(
    tiny: Path, trial: Path, expected: np.ndarray, tmp_path: Path
) -> None:
    arguments = ("--images", tiny / "train" / "case7", "--format", "nifti", "--out", "o", "--json")
    made = json.loads(cli(tmp_path, "predict", trial, *arguments).stdout)
    for organ, image in zip(expected, written(tmp_path / "o", SCAN), strict=True):
        np.testing.assert_array_equal(np.asanyarray(image.dataobj).T, organ)
    volumes = expected.sum(axis=(1, 2, 3)) * 1.5 * 1.5 * 3 / 1000
    assert made["scans"][0]["volumes_ml"] == pytest.approx(volumes.tolist())
    listed = json.loads((tmp_path / "o/predictions.json").read_text())
    assert listed["scans"] == made["scans"]
    assert len(listed["members"][0]["sha256"]) == 64


def test_dicom_series_gives_the_same_masks(
    tiny: Path, trial: Path, expected: np.ndarray, tmp_path: Path
) -> None:
    slices = []
    for place, pixels in enumerate(images_of(tiny)):
        image = dicom_slice(pixels, (0.0, 0.0, -3.0 * place))
        image.PixelSpacing = [1.5, 1.5]
        slices.append(image)
    write_series(tmp_path / "ward" / "mr1", slices)
    cli(tmp_path, "predict", trial, "--images", "ward", "--format", "nifti", "--out", "o")
    for organ, image in zip(expected, written(tmp_path / "o", "mr1"), strict=True):
        feet_last = np.asanyarray(image.dataobj)[::-1]  # series: (feet to head, rows, columns)
        np.testing.assert_array_equal(feet_last, organ)
    cli(tmp_path, "predict", trial, "--images", "ward/mr1", "--out", "ward/rt")
    made = dcmread(tmp_path / "ward/rt/mr1_rtstruct.dcm")
    for organ, region in zip(expected, made.ROIContourSequence, strict=True):
        planes = {float(c.ContourData[2]) for c in getattr(region, "ContourSequence", [])}
        assert planes == {-3.0 * p for p in np.flatnonzero(organ.any(axis=(1, 2)))}
    assert [s.name for s in find_sources(tmp_path / "ward", "dicom")] == ["mr1"]


def test_label_maps_and_empty_masks_beside_scans_are_left_aside(
    tiny: Path, trial: Path, tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    volume = images_of(tiny).T
    nib.save(nib.Nifti1Image(volume, AFFINE), tmp_path / "in/a.nii.gz")
    parts = np.indices(volume.shape) // 12
    labels = (parts[0] + 3 * parts[1]).astype(np.uint8)
    nib.save(nib.Nifti1Image(labels, AFFINE), tmp_path / "in/a_labels.nii.gz")
    nib.save(nib.Nifti1Image(0 * labels, AFFINE), tmp_path / "in/a_mask.nii.gz")
    done = cli(tmp_path, "predict", trial, "--images", "in")
    assert "3 files of 1 scan," in done.stdout
    said = [line for line in done.stderr.splitlines() if "left aside" in line]
    assert [line.split()[1] for line in said] == ["a_labels", "a_mask"]
    for name, code in (("a_labels", 0), ("a_mask", 2)):
        images = f"in/{name}.nii.gz"
        done = cli(tmp_path, "predict", trial, "--images", images, "--out", "o", expect=code)
        assert ("is this a scan?" in done.stderr) == (code == 0)
    (tmp_path / "in/a.nii.gz").unlink()
    done = cli(tmp_path, "predict", trial, "--images", "in", "--out", "o2", expect=2)
    assert "a scan with contrast" in done.stderr
    assert not (tmp_path / "o2").exists()


def test_a_missing_slice_is_told_and_no_neighbor(tiny: Path, trial: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny / "train/case7", tmp_path / "in/case7")
    next((tmp_path / "in/case7/case7_day0/scans").glob("slice_0003_*")).unlink()
    told = "warning: case7_day0: no slice 3; its neighbors are segmented without"
    plain = cli(tmp_path, "predict", trial, "--images", "in")
    files = cli(tmp_path, "predict", trial, "--images", "in", "--format", "nifti", "--out", "o")
    assert told in plain.stderr
    assert told in files.stderr
    rows = pd.read_csv(tmp_path / "submission.csv", keep_default_na=False)
    for organ, image in zip(CONTEST.names, written(tmp_path / "o", SCAN), strict=True):
        masks = [decode(t, 36, 36) for t in rows["predicted"][rows["class"] == organ]]
        np.testing.assert_array_equal(np.asanyarray(image.dataobj).T, masks)


def test_scans_unlike_those_of_training_are_told(tiny: Path, trial: Path, tmp_path: Path) -> None:
    affine = np.diag([-3.0, -3.0, -3.0, 1.0])
    nib.save(nib.Nifti1Image(images_of(tiny).T, affine), tmp_path / "a.nii.gz")
    done = cli(tmp_path, "predict", trial, "--images", "a.nii.gz", "--json")
    said = [
        "pixels of 3.00 x 3.00 mm (height x width); networks learned from about 1.5 x 1.5",
        "field of view 108 x 108 mm (height x width); networks learned from about 400 x 400",
    ]
    made = json.loads(done.stdout)
    assert made["scans"][0]["doubts"] == said
    assert made["rests_on"]["synthetic"] is False
    assert done.stderr.splitlines() == [f"warning: a: {line}" for line in said]


def test_wrong_use_is_one_line(trial: Path, tmp_path: Path) -> None:
    nib.save(nib.Nifti1Image(block(), AFFINE), tmp_path / "a.nii")
    arguments = ("--images", "a.nii", "--format", "rtstruct")
    done = cli(tmp_path, "predict", trial, *arguments, expect=2)
    assert "a.nii: expected a DICOM series for an RTSTRUCT" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert [p.name for p in tmp_path.iterdir()] == ["a.nii"]
    with pytest.raises(DataError, match="expected contest images for a submission, got nifti"):
        format_of(tmp_path, "nifti", "csv")
    for folder in (tmp_path, tmp_path / "a.nii"):
        with pytest.raises(RunError, match="another folder than the images'"):
            check_folder(folder, tmp_path / "b" / "..")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="NIfTI files, a DICOM series or contest images"):
        kind_of(tmp_path / "empty")
    with pytest.raises(DataError, match="nowhere: expected a folder"):
        kind_of(tmp_path / "nowhere")


def test_kinds_and_formats(tiny: Path, tmp_path: Path) -> None:
    assert kind_of(tiny) == kind_of(tiny / "train" / "case7") == "contest"
    assert kind_of(write_series(tmp_path / "d" / "s", axial_series(block()))) == "dicom"
    (tmp_path / "d" / "DICOMDIR").write_bytes(b"\0" * 128 + b"DICM")
    (tmp_path / "d" / "note.txt").write_text("hello")
    assert kind_of(tmp_path / "d") == "dicom"
    assert [s.name for s in find_sources(tmp_path / "d", "dicom")] == ["s"]
    assert format_of(tiny, "contest", None) == "csv"
    assert format_of(tiny, "nifti", None) == "nifti"
    with pytest.raises(DataError, match=r"NIfTI file \(\.nii, \.nii\.gz\) or a folder"):
        kind_of(tmp_path / "d" / "note.txt")


def test_two_scans_of_one_name_are_refused(tmp_path: Path) -> None:
    for name in ("a.nii", "a.nii.gz"):
        nib.save(nib.Nifti1Image(block(), AFFINE), tmp_path / name)
    with pytest.raises(DataError, match="2 called a"):
        find_sources(tmp_path, "nifti")
