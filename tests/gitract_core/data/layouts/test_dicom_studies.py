"""DICOM studies as data sets: what is read of them, and what is said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread

from gitract_core.data.annotation import State
from gitract_core.data.native import native_scan
from gitract_core.data.slices import SliceIndex
from gitract_core.data.sources import find_sources
from gitract_core.data.validation import find_faults
from gitract_core.data.volumes import load_scan
from gitract_core.errors import DataError
from tests.support.dicom_studies import (
    ORGANS,
    SIZE,
    SLICES,
    mask,
    series,
    structures,
    study,
    write,
)
from tests.support.structure_files import box, contour, rtstruct, segmentation

BOWEL, STOMACH = ORGANS["Small Bowel"], ORGANS["stomach"]


@pytest.fixture
def three(tmp_path: Path) -> Path:
    """Side by side, in a folder of its own, and two scans of a patient."""
    root = tmp_path / "studies"
    study(root / "a" / "day1", "p1", 0)
    study(root / "a" / "day2", "p1", 1, within="MR")
    study(root / "b", "p2", 2, {"SMALL_BOWEL": BOWEL, "Stomach": (0, 0, 0, 0)})
    return root


def masks_of(index: SliceIndex, scan: str) -> dict[str, np.ndarray]:
    volume = load_scan(index, scan)
    assert volume.masks is not None
    return dict(zip(index.organs, volume.masks, strict=True))


def test_scans_patients_organs_and_masks(three: Path) -> None:
    index = SliceIndex.from_directory(three)
    assert index.layout == "DICOM studies"
    assert index.scan_table.values.tolist() == [["a_day1", "p1"], ["a_day2", "p1"], ["b", "p2"]]
    assert tuple(index.organs) == ("small_bowel", "stomach")
    for scan in ("a_day1", "a_day2"):
        found = masks_of(index, scan)
        assert (found["small_bowel"] == mask(BOWEL)).all()
        assert (found["stomach"] == mask(STOMACH)).all()
    assert (masks_of(index, "b")["small_bowel"] == mask(BOWEL)).all()
    rows = index.rows_of_scan("b")
    assert rows[["spacing_x_mm", "spacing_y_mm", "spacing_z_mm"]].to_numpy()[0].tolist() == [
        1.5,
        2.0,
        3.0,
    ]
    images = [image.pixel_array for image in series("p2", 2)]
    assert (native_scan(three, rows) == np.stack(images[::-1])).all()  # from the head down


def test_a_region_without_contours_is_empty_and_one_that_is_missing_unknown(tmp_path: Path) -> None:
    root = tmp_path / "studies"
    study(root / "a", "p1", 0)
    study(root / "b", "p2", 1, {"stomach": (0, 0, 0, 0)})
    index = SliceIndex.from_directory(root)
    assert index.scan_states.tolist() == [[State.DRAWN] * 2, [State.UNKNOWN, State.EMPTY]]
    assert any("(annotated: listed)" in line for line in index.assumed)
    (root / "dataset.yaml").write_text("annotated: all\n")
    index = SliceIndex.from_directory(root)
    assert index.scan_states.tolist() == [[State.DRAWN] * 2, [State.EMPTY] * 2]
    (root / "dataset.yaml").write_text("annotated: slices\n")
    states = SliceIndex.from_directory(root).states
    assert states[:SLICES, 0].tolist() == [State.UNKNOWN, *[State.DRAWN] * 3, State.UNKNOWN]


def test_names_of_regions_are_listed_in_dataset_yaml(tmp_path: Path) -> None:
    root = tmp_path / "studies"
    study(root / "a", "p1", 0, {"Bowel_Small": BOWEL, "MAGEN": STOMACH, "PTV_50": (0, 9, 0, 9)})
    study(root / "b", "p2", 1, {"loops of the sma": BOWEL, "BODY": (0, 9, 0, 9)})
    study(root / "c", "p3", 2, {"bowel small": BOWEL, "duodenum": (15, 18, 15, 18)})
    (root / "dataset.yaml").write_text(
        "organs:\n  stomach: Magen\n"
        "  small_bowel: [bowel-small, Loops of the small bowel, duodenum]\n"
    )
    index = SliceIndex.from_directory(root)
    assert tuple(index.organs) == ("stomach", "small_bowel")
    assert index.scan_states.tolist() == [[2, 2], [0, 2], [0, 2]]
    assert (masks_of(index, "a")["stomach"] == mask(STOMACH)).all()
    both = mask(BOWEL) | mask((15, 18, 15, 18))
    assert (masks_of(index, "c")["small_bowel"] == both).all()
    assert "Regions that are no organ are left aside: body (1), ptv_50 (1)." in index.assumed


def test_without_a_list_targets_and_the_body_are_no_organs(tmp_path: Path) -> None:
    root = tmp_path / "studies"
    images = write(root / "a", series("p1"))
    regions = {
        **ORGANS,
        "Body": BOWEL,
        "ptv 50": BOWEL,
        "GTVp": BOWEL,
        "Ring": BOWEL,
        "Port": BOWEL,
    }
    structures(images, regions, {"Ring": "CONTROL"}).save_as(root / "a/RS.dcm")
    index = SliceIndex.from_directory(root)
    assert tuple(index.organs) == ("port", "small_bowel", "stomach")
    assert any("body (1), gtvp (1), ptv_50 (1), ring (1)" in line for line in index.assumed)


def test_a_segmentation_instead_of_an_rtstruct(tmp_path: Path) -> None:
    root = tmp_path / "studies"
    study(root / "a", "p1", 0)
    write(root / "b" / "MR", series("p2", 1))
    feet_first = mask(STOMACH)[::-1]
    made = segmentation(root / "b/MR", {"Stomach": feet_first * 0.6}, "FRACTIONAL")
    (root / "b" / "SEG").mkdir()
    made.save_as(root / "b/SEG/1.dcm")
    index = SliceIndex.from_directory(root)
    assert index.scans == ["a", "b"]
    assert (masks_of(index, "b")["stomach"] == mask(STOMACH)).all()
    assert index.scan_states.tolist() == [[2, 2], [0, 2]]
    assert "Voxels of fractional segmentations are inside from 0.5 on." in index.assumed


def test_beside_a_series_with_structures_others_are_left_aside(tmp_path: Path) -> None:
    root = tmp_path / "studies"
    study(root / "a", "p1", 0)
    write(root / "a", series("p1", 7))  # in the same folder
    study(root / "b", "p2", 1, within="T2")
    write(root / "b" / "T1", series("p2", 8))
    write(root / "c" / "T1", series("p3", 3))  # nobody drew anything there
    index = SliceIndex.from_directory(root)
    assert index.scan_table.values.tolist() == [["a", "p1"], ["b", "p2"], ["c_T1", "p3"]]
    images = [image.pixel_array for image in series("p1", 0)]
    assert (native_scan(root, index.rows_of_scan("a")) == np.stack(images[::-1])).all()
    assert (masks_of(index, "a")["stomach"] == mask(STOMACH)).all()
    text = " ".join(index.assumed)
    assert "1 of 3 scans have no structure set" in text
    assert "2 series that no structure set refers to are left aside" in text
    assert not find_faults(root).faults


def test_two_series_of_a_study_with_a_structure_set_each(tmp_path: Path) -> None:
    root = tmp_path / "studies"
    for seed in (0, 1):
        images = write(root / "a" / f"MR{seed}", series("p1", seed))
        structures(images).save_as(root / "a" / f"RS{seed}")
    assert SliceIndex.from_directory(root).scans == ["a_MR0", "a_MR1"]


def test_other_objects_beside_a_series_are_no_scans(tmp_path: Path) -> None:
    root = tmp_path / "studies"
    images = study(root / "a", "p1", 0)
    dose = dcmread(root / "a" / "RS")
    dose.Modality = "RTDOSE"
    dose.save_as(root / "a" / "dose.dcm")
    scout = series("p1", 9)[0]
    scout.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    write(root / "a" / "scout", [scout])
    write(root / "a", [series("p1", 10)[0]])
    index = SliceIndex.from_directory(root)
    assert index.scans == ["a"]
    assert len(index.table) == len(images)
    assert "Left aside: RTDOSE (1), localizer (1), single image (1)." in index.assumed


def test_images_alone_and_without_a_patient(tmp_path: Path) -> None:
    root = tmp_path / "studies"
    write(root / "a", series("", 0))
    write(root / "b" / "c", series("p 2", 1))
    index = SliceIndex.from_directory(root)
    assert not index.annotated
    assert index.scan_table.values.tolist() == [["a", "a"], ["b_c", "b_c"]]
    assert index.layout == "DICOM series"


def test_ct_has_its_gray_window(tmp_path: Path) -> None:
    images = write(tmp_path / "d" / "a", series("p1", 0, "CT"))
    structures(images).save_as(tmp_path / "d" / "a" / "RS")
    index = SliceIndex.from_directory(tmp_path / "d")
    assert index.gray == "window_-160_240-v1"
    assert load_scan(index, "a").images.shape == (SLICES, *SIZE)


def test_a_folder_test_beside_studies_is_held_out(three: Path) -> None:
    write(three / "test" / "x", series("p9", 9))
    index = SliceIndex.from_directory(three)
    assert index.scans == ["a_day1", "a_day2", "b"]
    assert f"{SLICES} files in test/ left for testing." in index.assumed


def test_slices_along_another_axis(three: Path) -> None:
    (three / "dataset.yaml").write_text("slice_axis: coronal\n")
    index = SliceIndex.from_directory(three)
    assert (masks_of(index, "b")["small_bowel"] == mask(BOWEL).transpose(1, 0, 2)).all()


def test_what_is_drawn_by_points_alone_is_unknown(tmp_path: Path) -> None:
    root = tmp_path / "studies"
    images = write(root / "a", series("p1"))
    square = box(images[2], (2, 5), (2, 5))
    regions = {
        "stomach": [contour(square, images[2])],
        "bowel": [contour(square[:1], images[2], "POINT")],
    }
    rtstruct(images[0], regions).save_as(root / "a" / "RS", enforce_file_format=True)
    index = SliceIndex.from_directory(root)
    assert index.scan_states.tolist() == [[State.UNKNOWN, State.DRAWN]]
    assert "Of regions: 1 contours left aside (POINT) (1)." in index.assumed


def test_networks_of_ct_read_ct_of_a_clinic(tmp_path: Path) -> None:
    write(tmp_path / "a", series("p1", 0, "CT"))
    (source,) = find_sources(tmp_path, "dicom", raw=True)
    assert source.read().images.shape == (SLICES, *SIZE)
    (source,) = find_sources(tmp_path, "dicom")
    with pytest.raises(DataError, match=r"got 0 images .5 files left aside: CT"):
        source.read()
