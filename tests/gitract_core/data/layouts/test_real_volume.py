"""A real abdominal MR volume with labels, in four orientations: the same slices and masks."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from gitract_core.data.slices import SliceIndex
from gitract_core.data.validation import find_faults
from gitract_core.data.volumes import load_scan
from gitract_core.eda import Annotations, explore

ORGANS = "organs: {stomach: 6, small_bowel: 13, duodenum: 14, colon: 15, background: [%s]}\n"
OTHERS = (1, 2, 3, 4, 5, 7, 8, 9, 11, 19, 20, 21, 23, 24, 25, 46, 47, 48, 49)


def as_pairs(root: Path, real: Path, codes: str) -> Path:
    source = real / "totalsegmentator_mr"
    for name, folder in (("example_mr_sm", "images"), ("example_seg_mr", "labels")):
        image = nib.load(source / f"{name}.nii.gz")
        turn = nib.orientations.ornt_transform(
            nib.orientations.io_orientation(image.affine), nib.orientations.axcodes2ornt(codes)
        )
        (root / folder).mkdir(parents=True, exist_ok=True)
        nib.save(image.as_reoriented(turn), root / folder / "mr.nii.gz")
    (root / "dataset.yaml").write_text(ORGANS % ", ".join(map(str, OTHERS)))
    return root


@pytest.mark.real
def test_four_orientations_are_one_scan(tmp_path: Path, real_data: Path) -> None:
    seen = []
    for codes in ("LPS", "RAS", "ASR", "SPL"):
        root = as_pairs(tmp_path / codes, real_data, codes)
        assert find_faults(root, "one-a-file").faults == ()
        index = SliceIndex.from_directory(root, patients="one-a-file")
        seen.append(load_scan(index, "mr"))
        assert explore(Annotations.of_index(index)).inventory.slices == 20
    truth = np.asarray(
        nib.load(real_data / "totalsegmentator_mr" / "example_seg_mr.nii.gz").dataobj
    )
    for one in seen:
        assert np.array_equal(one.images, seen[0].images)
        assert one.masks is not None
        assert seen[0].masks is not None
        assert np.array_equal(one.masks, seen[0].masks)
        assert one.spacing_mm == pytest.approx((3.0, 3.0, 3.0), abs=0.01)
        counted = [int(mask.sum()) for mask in one.masks]
        assert counted == [int((truth == value).sum()) for value in (6, 13, 14, 15)]


@pytest.mark.real
def test_labels_that_no_organ_has_are_named(tmp_path: Path, real_data: Path) -> None:
    root = as_pairs(tmp_path / "d", real_data, "LPS")
    (root / "dataset.yaml").write_text(ORGANS % "1, 2")
    (fault,) = find_faults(root, "one-a-file").faults
    assert "got 3 (" in fault
    assert "list them in dataset.yaml under background" in fault
