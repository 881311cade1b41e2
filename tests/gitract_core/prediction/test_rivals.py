"""Other tools' files in the axes of a data set, whatever its layout and slice axis."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from gitract_core.data.slices import SliceIndex
from gitract_core.data.volumes import scan_masks
from gitract_core.errors import DataError
from gitract_core.prediction.rivals.predicted import Predicted
from gitract_core.prediction.rivals.reading import Tree, read_predictions
from tests.support.dicom_studies import ORGANS, mask, study
from tests.support.other_layouts import AFFINE, SCANS, write_nnunet, write_volume
from tests.support.rivals import truth_of, write_maps, write_masks, write_tree

STUDY_AFFINE = np.array(
    [[-1.5, 0, 0, 20.0], [0, -2.0, 0, 30.0], [0, 0, 3.0, 0], [0, 0, 0, 1]], np.float64
)


def read(path: Path, index: SliceIndex) -> Predicted:
    found = read_predictions(path, index)
    assert isinstance(found, Predicted)
    return found


@pytest.mark.parametrize("axis", ["axial", "coronal", "sagittal"])
@pytest.mark.parametrize("write", [write_maps, write_masks])
def test_masks_lie_where_the_annotation_lies(tmp_path: Path, axis: str, write: object) -> None:
    data = write_nnunet(tmp_path / "data")
    (data / "dataset.yaml").write_text(f"slice_axis: {axis}\npatients: one-a-file\n")
    index = SliceIndex.from_directory(data)
    given = write(tmp_path / "given", truth_of(data))  # type: ignore[operator]
    predicted = read(given, index)
    assert predicted.scans == set(SCANS)
    for scan in SCANS:
        wanted = scan_masks(index.rows_of_scan(scan), organs=index.organs)
        assert wanted.any()
        assert (predicted.masks(scan) == wanted).all()


def test_masks_of_dicom_series(tmp_path: Path) -> None:
    study(tmp_path / "data" / "a", "p1", 0)
    study(tmp_path / "data" / "b", "p2", 1)
    index = SliceIndex.from_directory(tmp_path / "data")
    for scan in ("a", "b"):
        for organ, box in zip(index.organs, ORGANS.values(), strict=True):
            values = mask(box)[::-1].transpose(2, 1, 0).astype(np.uint8)
            write_volume(tmp_path / "given" / f"{scan}_{organ}.nii.gz", values, STUDY_AFFINE)
    predicted = read(tmp_path / "given", index)
    for scan in ("a", "b"):
        wanted = scan_masks(index.rows_of_scan(scan), organs=index.organs)
        assert wanted.any()
        assert (predicted.masks(scan) == wanted).all()
    file = tmp_path / "given" / "a_stomach.nii.gz"
    moved = STUDY_AFFINE.copy()
    moved[0, 3] += 5
    write_volume(file, np.zeros((24, 20, 5), np.uint8), moved)
    with pytest.raises(DataError, match=r"a corner 5.0 mm away"):
        read(tmp_path / "given", index).masks("a")


def test_axes_may_be_in_another_order(tmp_path: Path) -> None:
    """As tools leave them that turn every scan to one orientation."""
    data = write_nnunet(tmp_path / "data")
    index = SliceIndex.from_directory(data, patients="one-a-file")
    for scan, labels in truth_of(data).items():
        image = nib.Nifti1Image(labels, AFFINE)
        turned = image.as_reoriented(np.array([[1, -1], [2, 1], [0, -1]]))
        (tmp_path / "given").mkdir(exist_ok=True)
        nib.save(turned, tmp_path / "given" / f"{scan}.nii.gz")
        assert turned.shape != image.shape
    predicted = read(tmp_path / "given", index)
    for scan in SCANS:
        wanted = scan_masks(index.rows_of_scan(scan), organs=index.organs)
        assert (predicted.masks(scan) == wanted).all()


def test_regions_may_overlap(tmp_path: Path) -> None:
    """nnU-Net writes label maps for regions too: an organ is a list of values."""
    labels = {"background": 0, "both": [1, 2], "inner": [2]}
    data = write_nnunet(tmp_path / "data", labels=labels)
    index = SliceIndex.from_directory(data, patients="one-a-file")
    maps = truth_of(data)
    write_tree(tmp_path / "tree", maps, [{"train": [], "val": list(SCANS)}])
    (tmp_path / "tree" / "dataset.json").write_text((data / "dataset.json").read_text())
    found = read_predictions(tmp_path / "tree", index)
    assert isinstance(found, Tree)
    both, inner = found.folds[0].masks("p1_a")
    assert both.sum() == (maps["p1_a"] > 0).sum()
    assert inner.sum() == (maps["p1_a"] == 2).sum()
    assert (inner <= both).all()
