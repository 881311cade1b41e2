"""Faults of data sets of DICOM studies: one clear line each, and all of them at once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from pydicom import dcmread

from gitract_core.data.slices import SliceIndex
from gitract_core.data.validation import find_faults
from gitract_core.errors import GitractError
from tests.support.dicom_studies import mask, series, structures, study, write
from tests.support.structure_files import segmentation


@pytest.fixture
def two(tmp_path: Path) -> Path:
    root = tmp_path / "studies"
    study(root / "a", "p1", 0)
    study(root / "b", "p2", 1)
    return root


def fault(root: Path, patients: str | None = None) -> str:
    with pytest.raises(GitractError) as raised:
        SliceIndex.from_directory(root, patients=patients)
    text = str(raised.value)
    assert "\n" not in text
    assert ": expected " in text
    return text


def another_frame_of_reference(root: Path) -> None:
    made = dcmread(root / "b/RS")
    made.ReferencedFrameOfReferenceSequence[0].FrameOfReferenceUID = "1.2.3"
    for roi in made.StructureSetROISequence:
        roi.ReferencedFrameOfReferenceUID = "1.2.3"
    made.save_as(root / "b/RS")


def no_series(root: Path) -> None:
    for file in (root / "b").glob("MR*"):
        file.unlink()


def two_structure_sets(root: Path) -> None:
    dcmread(root / "b/RS").save_as(root / "b/RS2")


def an_rtstruct_and_a_segmentation(root: Path) -> None:
    images = root / "images"
    write(images, series("p2", 1))
    made = segmentation(images, {"stomach": mask((2, 5, 2, 5))})
    for file in images.iterdir():
        file.unlink()
    made.save_as(root / "b" / "SEG")


def cut_short(root: Path) -> None:
    content = (root / "b/RS").read_bytes()
    (root / "b/RS").write_bytes(content[: len(content) // 2])


def a_series_in_two_folders(root: Path) -> None:
    write(root / "c", series("p2", 1))


def no_region_is_an_organ(root: Path) -> None:
    (root / "dataset.yaml").write_text("organs: {stomach: stomach, bowel: small bowel}\n")
    images = [dcmread(file) for file in (root / "b").glob("MR*")]
    structures(
        sorted(images, key=lambda i: i.ImagePositionPatient[2]),
        {"Magen": (2, 5, 2, 5), "BODY": (1, 9, 1, 9)},
    ).save_as(root / "b/RS")


def a_region_twice(root: Path) -> None:
    made = dcmread(root / "b/RS")
    made.StructureSetROISequence[0].ROIName = "Stomach"
    made.save_as(root / "b/RS")


def patient_of(root: Path, name: str) -> None:
    for file in (root / "b").glob("MR*"):
        made = dcmread(file)
        made.PatientID = name
        made.save_as(file)


def a_missing_slice(root: Path) -> None:
    images = {float(dcmread(f).ImagePositionPatient[2]): f for f in (root / "b").glob("MR*")}
    images[6.0].unlink()


def of_ct_and_mr(root: Path) -> None:
    images = write(root / "c", series("p3", 3, "CT"))
    structures(images).save_as(root / "c/RS")


def a_folder_with_a_blank(root: Path) -> None:
    (root / "b").rename(root / "b 2")


FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "another frame of reference": (
        another_frame_of_reference,
        "b/RS: expected the frame of reference of its series",
    ),
    "no series": (no_series, "b/RS: expected the series that it refers to"),
    "two structure sets": (two_structure_sets, "b/RS2: expected one structure set a series"),
    "an RTSTRUCT and a segmentation": (
        an_rtstruct_and_a_segmentation,
        "b/SEG: expected one structure set a series",
    ),
    "cut short": (cut_short, "b/RS: expected a whole RTSTRUCT"),
    "a series in two folders": (a_series_in_two_folders, "/c: expected a series of its own"),
    "no region is an organ": (
        no_region_is_an_organ,
        "b/RS: expected regions of stomach, bowel, got Magen, BODY; list its names in "
        "dataset.yaml, key organs",
    ),
    "a region twice": (a_region_twice, "b/RS: expected each region once, got stomach twice"),
    "no patient": (lambda root: patient_of(root, ""), "got none; pass --patients: one-a-file"),
    "a patient of other letters": (
        lambda root: patient_of(root, "p 2"),
        "got 'p 2'; write p_2 for example, or pass --patients",
    ),
    "a missing slice": (a_missing_slice, "expected images 3.00 mm apart, got 6.00 mm"),
    "images of two modalities": (of_ct_and_mr, "expected images of one Modality, got CT (in "),
    "a name with a blank": (a_folder_with_a_blank, "'b 2'; rename it, for example to b_2"),
}


@pytest.mark.parametrize("kind", FAULTS)
def test_fault(two: Path, kind: str) -> None:
    change, words = FAULTS[kind]
    change(two)
    assert words in fault(two)
    assert any(words in line for line in find_faults(two).faults)


def test_two_series_in_a_folder_without_structures(tmp_path: Path) -> None:
    for seed in (0, 1):
        write(tmp_path / "d" / "a", series("p1", seed))
    text = fault(tmp_path / "d")
    assert "a: expected one series, got several" in text
    assert "put each series in a folder of its own" in text


def test_all_faults_at_once(two: Path) -> None:
    study(two / "c", "p3", 3)
    study(two / "d", "p4", 4)
    cut_short(two)
    another = dcmread(two / "c/RS")
    another.StructureSetROISequence[0].ROIName = another.StructureSetROISequence[1].ROIName
    another.save_as(two / "c/RS")
    (two / "d").rename(two / "d d")
    lines = find_faults(two).faults
    assert len(lines) == 3, lines
    assert "(and 2 more; gitract-cv validate lists them)" in fault(two)


def test_faults_of_images_are_all_told(two: Path) -> None:
    for folder in "ab":
        images = {float(dcmread(f).ImagePositionPatient[2]): f for f in (two / folder).glob("MR*")}
        images[6.0].unlink()
    assert len(find_faults(two).faults) == 2


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("organs: {stomach: 1}", "key organs: expected names of regions, as structure sets have"),
        ("organs: {a: stomach, b: Stomach}", "each name at one organ, got stomach at two"),
        ("organs: {a: stomach, b: Magenn}", "organs, b: expected a region of this name, got none"),
        ("organs: {a: stomach, b: smal bowel}", "did you mean 'small_bowel'"),
        ("channels: {T1: a, T2: b}", "one channel, as each study is one series, got T1, T2"),
        ("pairs: [[stomach, spleen]]", "key pairs: expected organs of the data set"),
    ],
)
def test_dataset_yaml(two: Path, text: str, words: str) -> None:
    (two / "dataset.yaml").write_text(text + "\n")
    assert words in fault(two)


def test_more_regions_than_organs(tmp_path: Path) -> None:
    regions = {f"region {n}": (2, 4, 2, 4) for n in range(41)}
    study(tmp_path / "d" / "a", "p1", 0, regions)
    text = fault(tmp_path / "d")
    assert "key organs: expected 1 to 40 organs, got 41 among region 0, region 1," in text
    assert text.endswith("list the organs and their names")


def test_nothing_but_a_structure_set_or_a_localizer(tmp_path: Path) -> None:
    images = series("p1")
    scout = images[0]
    scout.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    write(tmp_path / "d" / "a", [scout])
    assert "expected DICOM series of two images or more, got none, and localizer (1)" in fault(
        tmp_path / "d"
    )
    structures(images).save_as(tmp_path / "d" / "a" / "RS")
    assert "RS: expected the series that it refers to" in fault(tmp_path / "d")


def test_patients_by_rule_come_before_patient_ids(two: Path) -> None:
    patient_of(two, "")
    index = SliceIndex.from_directory(two, patients="one-a-file")
    assert index.scan_table["case"].tolist() == ["a", "b"]
