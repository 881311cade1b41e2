"""Faults of data sets in other layouts: one clear line each."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gitract_core.data.slices import SliceIndex
from gitract_core.errors import GitractError
from tests.support.other_layouts import (
    BY_LETTER,
    SCANS,
    image_of,
    label_map,
    write_nnunet,
    write_pairs,
    write_volume,
)


def fault(root: Path, patients: str | None = BY_LETTER) -> str:
    with pytest.raises(GitractError) as raised:
        SliceIndex.from_directory(root, patients=patients)
    text = str(raised.value)
    assert "\n" not in text
    assert ": expected " in text
    return text


def described(root: Path, **changes: Any) -> Path:
    values = json.loads((root / "dataset.json").read_text()) | changes
    (root / "dataset.json").write_text(json.dumps(values))
    return root


def yaml(root: Path, text: str) -> Path:
    (root / "dataset.yaml").write_text(text)
    return root


def test_without_patients_the_first_words_name_the_remedy(tmp_path: Path) -> None:
    text = fault(write_nnunet(tmp_path / "d"), None)
    assert text.endswith(
        "pass --patients: one-a-file, a pattern whose first group is the patient, "
        "or a table scan,patient"
    )


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ("(p1)_", "got p2_a, which it does not fit (3 of 5 scans)"),
        ("p1", "a pattern without a group"),
        ("(p1", "a bad pattern"),
        ("p(.*)", "scan p1_a"),
    ],
)
def test_a_pattern_must_fit_every_scan(rule: str, words: str, tmp_path: Path) -> None:
    root = write_nnunet(tmp_path / "d")
    if rule == "p(.*)":  # fits, but names no patient that may stand in ids
        for file in [*root.glob("*/p1_a*")]:
            file.rename(file.with_name(file.name.replace("p1_a", "p1 a")))
        words = "rename it, for example to p1_a"
    assert words in fault(root, rule)


def test_a_table_must_hold_every_scan(tmp_path: Path) -> None:
    table = tmp_path / "who.csv"
    root = write_nnunet(tmp_path / "d")
    for text, words in (
        ("scan,case\np1_a,1\n", "a column 'patient', got scan, case"),
        ("scan,patient\np1_a,1\np1_a,2\n", "p1_a twice"),
        ("scan,patient\np1_a,1\n", "a row of scan p1_b, got none"),
        ("scan,patient\np1_a,a b\n", "1 to 64 of"),
    ):
        table.write_text(text)
        assert words in fault(root, str(table))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"labels": {"background": 0}}, "a label beside background"),
        ({"labels": {"a": 1, "b": [0, 2]}}, "label b: expected a region without 0"),
        (
            {"labels": {"a": 1, "b": 1, "c": 2}},
            "a value of its own for each label, got one for a and b",
        ),
        ({"labels": {"a": "1"}}, "label a: expected a label value from 0"),
        ({"channel_names": {"1": "T1"}}, 'channel_names as in {"0": "T2"}'),
        ({"file_ending": ".nrrd"}, "convert the images to NIfTI"),
        ({"channel_names": {"0": "T1", "1": "T2"}}, "p1_a_0001.nii.gz: expected an image"),
    ],
)
def test_dataset_json(change: dict[str, Any], words: str, tmp_path: Path) -> None:
    assert words in fault(described(write_nnunet(tmp_path / "d"), **change))


def test_files_that_lack_each_other(tmp_path: Path) -> None:
    root = write_nnunet(tmp_path / "d")
    (root / "labelsTr" / "p1_a.nii.gz").unlink()
    (root / "imagesTr" / "p1_b_0000.nii.gz").unlink()
    text = fault(root)
    assert "labelsTr/p1_a.nii.gz: expected a label map, got none" in text
    assert "(and 1 more" in text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("organ: {liver: 1}", "key organ: expected a key (organs,"),
        ("organs: {liver: 0}", "organs, liver: expected label values from 1"),
        ("organs: {liver: 1, spleen: 2, background: [2]}", "spleen: expected values not under"),
        ("organs: {liver: 1, spleen: [b]}", "label values alone, or names alone"),
        ("organs: {liver: 1}\npairs: [[liver, kidney]]", "organs of the data set, got kidney"),
        ("gray: percentil", "did you mean 'percentile'"),
        ("gray: {window: [5, 1]}", "a window of two numbers, low and high"),
        ("slice_axis: axail", "did you mean 'axial'"),
        ("annotated: some", "all or listed or slices"),
        ("patients: 3", "in quotes"),
        ("channels: [T1]", "channels with the ends of their files"),
        ("organs: [", "readable YAML"),
        ("- 1", "keys and values"),
    ],
)
def test_dataset_yaml(text: str, words: str, tmp_path: Path) -> None:
    assert words in fault(yaml(write_pairs(tmp_path / "d"), text))


def test_label_maps_need_names_and_the_line_says_which_values_there_are(tmp_path: Path) -> None:
    root = write_pairs(tmp_path / "d")
    (root / "dataset.yaml").unlink()
    assert "write it, as in organs: {organ_1: 1, organ_2: 2}" in fault(root)


def lonely(root: Path) -> None:
    write_volume(root / "labels" / "other.nii.gz", label_map())


def fractions(root: Path) -> None:
    write_volume(root / "labels" / "p1_a.nii.gz", label_map() * np.float32(0.5))


def other_size(root: Path) -> None:
    write_volume(root / "labels" / "p1_a.nii.gz", label_map()[:-1])


def both_kinds(root: Path) -> None:
    write_volume(root / "labels" / "p1_a_liver.nii.gz", label_map() // 2)


def no_images(root: Path) -> None:
    for file in (root / "images").iterdir():
        file.unlink()


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lonely, "other.nii.gz: expected an image of this name"),
        (fractions, "whole numbers, a label each"),
        (other_size, "expected the image's (24, 20, 6) voxels, got (23, 20, 6)"),
        (both_kinds, "label maps alone, or mask files alone"),
        (no_images, "images: expected NIfTI files"),
    ],
)
def test_labels(damage: Callable[[Path], None], words: str, tmp_path: Path) -> None:
    root = write_pairs(tmp_path / "d")
    damage(root)
    assert words in fault(root)


def test_a_mask_file_holds_one_organ(tmp_path: Path) -> None:
    root = write_pairs(tmp_path / "d", files=True)
    write_volume(root / "labels" / "p1_a_liver.nii.gz", label_map())
    assert "a mask: 0 outside and one value inside" in fault(root)
    write_volume(root / "labels" / "p1_a_liver.nii.gz", label_map() // 2)
    write_volume(root / "labels" / "p1_a_kidney.nii.gz", label_map() // 2)
    (root / "dataset.yaml").write_text("organs: [liver, spleen]")
    assert "p1_a_kidney.nii.gz: expected masks of liver, spleen" in fault(root)


def test_an_organ_may_not_be_called_as_a_column(tmp_path: Path) -> None:
    root = write_nnunet(tmp_path / "d", labels={"background": 0, "slice": 1, "spleen": 2})
    assert "another name of an organ, got slice" in fault(root)


def test_channels_of_one_scan_lie_at_one_place(tmp_path: Path) -> None:
    root = write_nnunet(tmp_path / "d", channels=("T1", "T2"))
    write_volume(root / "imagesTr" / "p1_a_0001.nii.gz", image_of(label_map())[:-1])
    assert "p1_a_0001.nii.gz: expected the image's (24, 20, 6) voxels" in fault(root)


def test_the_contest_needs_no_rule(tiny: Path) -> None:
    assert "leave it out" in fault(tiny, "one-a-file")


@pytest.mark.parametrize(
    ("ignore", "words"),
    [
        (2, "label ignore: expected a value of its own, got 2, which spleen has too"),
        (0, "label ignore: expected a value of its own, got 0, which background has too"),
        ([3, 4], "label ignore: expected one value, got [3, 4]"),
    ],
)
def test_the_ignore_label_has_one_value_of_its_own(
    ignore: object, words: str, tmp_path: Path
) -> None:
    root = write_nnunet(tmp_path / "d")
    labels = {"background": 0, "liver": 1, "spleen": 2, "ignore": ignore}
    assert words in fault(described(root, labels=labels))


def test_a_table_with_a_column_twice_is_refused(tmp_path: Path) -> None:
    root = write_nnunet(tmp_path / "d")
    table = tmp_path / "patients.csv"
    table.write_text("scan,patient,patient\n" + "".join(f"{s},a,b\n" for s in SCANS))
    assert "expected each column once, got patient twice" in fault(root, str(table))


def test_a_table_with_semicolons_is_told_to_have_commas(tmp_path: Path) -> None:
    root = write_nnunet(tmp_path / "d")
    table = tmp_path / "patients.csv"
    table.write_text("scan;patient\n" + "".join(f"{s};a\n" for s in SCANS))
    assert "separate columns by commas" in fault(root, str(table))
