"""What is read from other layouts, compared with the arrays that were written."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from gitract_core.data.annotation import State
from gitract_core.data.folds import FoldPlan
from gitract_core.data.slices import SliceIndex
from gitract_core.data.volumes import load_scan
from gitract_core.errors import DataError
from tests.support.other_layouts import (
    AFFINE,
    BY_LETTER,
    SCANS,
    SPACING,
    as_slices,
    image_of,
    label_map,
    write_nnunet,
    write_pairs,
    write_volume,
)


def read(root: Path, patients: str | None = BY_LETTER) -> SliceIndex:
    return SliceIndex.from_directory(root, patients=patients)


@pytest.mark.parametrize("layout", ["nnunet", "maps", "files"])
def test_a_scan_is_what_was_written(layout: str, tmp_path: Path) -> None:
    if layout == "nnunet":
        index = read(write_nnunet(tmp_path / "d"))
    else:
        index = read(write_pairs(tmp_path / "d", files=layout == "files"))
    assert index.scans == list(SCANS)
    assert index.organs.names == ("liver", "spleen")
    assert dict(zip(index.scan_table["scan"], index.scan_table["case"], strict=True)) == {
        scan: scan[:2] for scan in SCANS
    }
    for seed, scan in enumerate(SCANS):
        truth, volume = label_map(seed=seed), load_scan(index, scan)
        assert np.array_equal(volume.images, as_slices(image_of(truth, seed=seed)))
        assert volume.masks is not None
        for channel in (0, 1):
            assert np.array_equal(volume.masks[channel], as_slices(truth) == channel + 1)
    row = index.table.iloc[0]
    spacing = (row["spacing_x_mm"], row["spacing_y_mm"], row["spacing_z_mm"])
    assert spacing == SPACING
    assert row["id"] == "p1_a_slice_0001"
    assert index.known is None


def test_all_layouts_of_the_same_scans_train_alike(tmp_path: Path) -> None:
    indexes = [
        read(write_nnunet(tmp_path / "nnunet")),
        read(write_pairs(tmp_path / "maps")),
        read(write_pairs(tmp_path / "files", files=True)),
    ]
    assert len({FoldPlan.make(index, 2, 0).fingerprint for index in indexes}) == 1
    for organ in ("liver", "spleen"):
        assert len({tuple(index.table[organ]) for index in indexes}) == 1


def test_regions_overlap(tmp_path: Path) -> None:
    labels = {"background": 0, "whole": [1, 2], "core": 2}
    index = read(write_nnunet(tmp_path / "d", labels=labels))
    truth, masks = as_slices(label_map()), load_scan(index, "p1_a").masks
    assert masks is not None
    assert np.array_equal(masks[0], truth > 0)
    assert np.array_equal(masks[1], truth == 2)


def test_the_ignore_label_is_unknown_not_background(tmp_path: Path) -> None:
    root = write_nnunet(tmp_path / "d", labels={"background": 0, "liver": 1, "ignore": 2})
    index = read(root)
    states = index.states
    labels = as_slices(label_map())
    for place in range(len(labels)):
        ignored = bool((labels[place] == 2).any())
        assert (states[place, 0] == State.UNKNOWN) == ignored
    assert index.known is not None
    assert (index.table["liver"][~index.known[:, 0]] == "").all()


@pytest.mark.parametrize(
    ("rule", "absent", "slice_without"),
    [
        ("all", State.EMPTY, State.EMPTY),
        ("listed", State.UNKNOWN, State.EMPTY),
        ("slices", State.UNKNOWN, State.UNKNOWN),
    ],
)
def test_what_absence_means(rule: str, absent: State, slice_without: State, tmp_path: Path) -> None:
    root = write_pairs(tmp_path / "d")
    with (root / "dataset.yaml").open("a") as file:
        file.write(f"annotated: {rule}\n")
    only_liver = label_map() * (label_map() == 1)
    write_volume(root / "labels" / "p1_a.nii.gz", only_liver.astype(np.uint8))
    states = read(root).states[: label_map().shape[2]]
    assert set(states[:, 1]) == {absent}
    assert states[0, 0] == slice_without  # the outermost slice holds nothing
    assert states[2, 0] == State.DRAWN


def test_a_mask_file_that_is_missing_is_unknown_and_an_empty_one_is_empty(tmp_path: Path) -> None:
    root = write_pairs(tmp_path / "d", files=True)
    (root / "labels" / "p1_a_spleen.nii.gz").unlink()
    write_volume(root / "labels" / "p2_a_spleen.nii.gz", np.zeros_like(label_map()))
    index = read(root)
    states = dict(zip(index.scans, index.scan_states[:, 1], strict=True))
    assert states["p1_a"] == State.UNKNOWN
    assert states["p2_a"] == State.EMPTY
    assert states["p3_a"] == State.DRAWN
    assert any("unknown" in line for line in index.assumed)


def test_mask_files_may_lie_in_a_folder_and_overlap(tmp_path: Path) -> None:
    root = write_pairs(tmp_path / "d", files=True)
    for name in ("liver", "spleen"):
        whole = (label_map() > 0).astype(np.uint8)
        write_volume(root / "labels" / "p1_a" / f"{name}.nii.gz", whole)
        (root / "labels" / f"p1_a_{name}.nii.gz").unlink()
    masks = load_scan(read(root), "p1_a").masks
    assert masks is not None
    assert np.array_equal(masks[0], masks[1])
    assert masks[0].any()


@pytest.mark.parametrize("codes", ["RAS", "LPS", "PIR", "SLA", "ILP"])
def test_any_orientation_gives_the_same_slices(codes: str, tmp_path: Path) -> None:
    root = write_nnunet(tmp_path / "d")
    before = load_scan(read(root), "p1_a")
    for file in (root / "imagesTr" / "p1_a_0000.nii.gz", root / "labelsTr" / "p1_a.nii.gz"):
        image = nib.load(file)
        turn = nib.orientations.ornt_transform(
            nib.orientations.io_orientation(image.affine), nib.orientations.axcodes2ornt(codes)
        )
        nib.save(image.as_reoriented(turn), file)
    after = load_scan(read(root), "p1_a")
    assert np.array_equal(before.images, after.images)
    assert before.masks is not None
    assert after.masks is not None
    assert np.array_equal(before.masks, after.masks)


@pytest.mark.parametrize(
    ("axis", "spacing"),
    [("coronal", (1.5, 4.0, 2.0)), ("sagittal", (2.0, 4.0, 1.5))],
)
def test_slices_may_lie_along_another_axis(
    axis: str, spacing: tuple[float, float, float], tmp_path: Path
) -> None:
    root = write_pairs(tmp_path / "d")
    with (root / "dataset.yaml").open("a") as file:
        file.write(f"slice_axis: {axis}\n")
    index = read(root)
    volume = load_scan(index, "p1_a")
    turned = as_slices(image_of(label_map()))
    order = (1, 0, 2) if axis == "coronal" else (2, 0, 1)
    assert np.array_equal(volume.images, turned.transpose(order))
    assert volume.masks is not None
    assert np.array_equal(volume.masks[0], as_slices(label_map() == 1).transpose(order))
    row = index.table.iloc[0]
    assert (row["spacing_x_mm"], row["spacing_y_mm"], row["spacing_z_mm"]) == spacing


def test_several_channels_are_one_image(tmp_path: Path) -> None:
    index = read(write_nnunet(tmp_path / "d", channels=("T1", "T2")))
    assert index.channels == ("T1", "T2")
    images = load_scan(index, "p2_a").images
    whole = as_slices(image_of(label_map(seed=2), seed=2))
    assert np.array_equal(images, np.stack([whole, whole // 2], axis=1))


def test_ct_is_seen_through_a_window(tmp_path: Path) -> None:
    assert read(write_nnunet(tmp_path / "ct", channels=("CT",))).gray == "window_-160_240-v1"
    mixed = read(write_nnunet(tmp_path / "both", channels=("CT", "PET")))
    assert mixed.gray == "window_-160_240-v1+percentile99.5-v1"


def test_images_without_labels_need_no_patients(tmp_path: Path) -> None:
    write_volume(tmp_path / "d" / "a.nii.gz", image_of(label_map()))
    index = SliceIndex.from_directory(tmp_path / "d")
    assert not index.annotated
    assert index.scans == ["a"]


def test_a_table_tells_patients_and_more(tmp_path: Path) -> None:
    root = write_nnunet(tmp_path / "d")
    table = tmp_path / "who.csv"
    rows = [f"{scan},{scan[:2]},{site}" for scan, site in zip(SCANS, "AABBA", strict=True)]
    table.write_text("\n".join(["scan,patient,site", *rows]))
    index = read(root, str(table))
    assert list(index.scan_table["case"]) == [scan[:2] for scan in SCANS]
    assert list(index.scan_table["site"]) == list("AABBA")


def test_dataset_yaml_may_tell_patients(tmp_path: Path) -> None:
    root = write_pairs(tmp_path / "d")
    with (root / "dataset.yaml").open("a") as file:
        file.write('patients: "(p[0-9]+)_"\n')
    assert list(read(root, None).scan_table["case"]) == [scan[:2] for scan in SCANS]
    assert read(root, "one-a-file").scan_table["case"].nunique() == len(SCANS)


def test_every_fault_is_raised_together(tmp_path: Path) -> None:
    root = write_nnunet(tmp_path / "d")
    write_volume(root / "labelsTr" / "p1_a.nii.gz", label_map((1, 7)))
    shifted = AFFINE.copy()
    shifted[0, 3] = 9.0
    write_volume(root / "labelsTr" / "p2_a.nii.gz", label_map(), shifted)
    (root / "labelsTr" / "p3_a.nii.gz").write_bytes(b"\x1f\x8bno")
    with pytest.raises(DataError, match="and 2 more; gitract-cv validate lists them") as raised:
        read(root)
    faults = [str(fault) for fault in getattr(raised.value, "faults", ())]
    assert len(faults) == 3
    assert "expected label values 0, 1, 2, got 7 (" in faults[0]
    assert "9.0 mm away from the image's" in faults[1]
    assert "p3_a.nii.gz" in faults[2]


def test_a_changed_label_is_another_data_set(tmp_path: Path) -> None:
    root = write_nnunet(tmp_path / "d")
    before = read(root).fingerprint
    assert read(root).fingerprint == before
    described = json.loads((root / "dataset.json").read_text())
    described["labels"] = {"background": 0, "spleen": 1, "liver": 2}
    (root / "dataset.json").write_text(json.dumps(described))
    assert read(root).fingerprint != before


def test_other_patients_are_another_data_set(tmp_path: Path) -> None:
    root = write_nnunet(tmp_path / "d")
    assert read(root).fingerprint != read(root, "one-a-file").fingerprint


def test_scribbles_in_every_slice_leave_nothing_to_train_on(tmp_path: Path) -> None:
    root = write_nnunet(tmp_path / "d", labels={"background": 0, "liver": 1, "ignore": 2})
    for file in (root / "labelsTr").iterdir():
        scribbled = label_map((1, 1))
        scribbled[0, 0, :] = 2
        write_volume(file, scribbled)
    with pytest.raises(DataError, match="a mask in at least one slice, got none"):
        read(root).refuse_without_masks()
