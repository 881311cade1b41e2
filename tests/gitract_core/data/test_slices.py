from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from gitract_core.data.slices import SliceIndex, SliceKey
from gitract_core.errors import DataError
from tests.support.tiny_contest import SCANS


def _first_image(root: Path) -> Path:
    return root / "train/case1/case1_day0/scans/slice_0001_48_40_1.50_1.50.png"


def test_index_has_a_row_a_slice_in_natural_order(tiny: Path) -> None:
    index = SliceIndex.from_directory(tiny)
    assert len(index.table) == sum(scan[-1] for scan in SCANS)
    assert index.scans == ["case1_day0", "case1_day3", "case7_day0", "case12_day2", "case20_day1"]
    first = index.table.iloc[0]
    assert (first["height"], first["width"], first["spacing_x_mm"]) == (40, 48, 1.5)
    assert index.annotated
    assert index.organ_counts.tolist() == [
        3 if 2 <= n <= 4 else 0 for *_, slices in SCANS for n in range(1, slices + 1)
    ]


def test_bare_folder_of_scans_has_no_masks(tiny: Path) -> None:
    index = SliceIndex.from_directory(tiny / "train")
    assert not index.annotated
    with pytest.raises(DataError, match=r"train\.csv"):
        _ = index.organ_counts
    assert SliceIndex.from_directory(tiny / "train" / "case1").scans == ["case1_day0", "case1_day3"]


def test_key_parses_ids_strictly() -> None:
    key = SliceKey.parse("case123_day20_slice_0065")
    assert (key.id, key.scan) == ("case123_day20_slice_0065", "case123_day20")
    for text in ("", "case1_day0_slice_65", "../case1_day0_slice_0001", "case1_day0_slice_0001x"):
        with pytest.raises(DataError, match="slice id"):
            SliceKey.parse(text)
    with pytest.raises(DataError, match="slice from 1"):
        SliceKey(1, 1, 0)


def test_fingerprint_follows_content_and_not_place(tiny: Path, own_tiny: Path) -> None:
    same = SliceIndex.from_directory(own_tiny).fingerprint
    assert SliceIndex.from_directory(tiny).fingerprint == same
    image = cv2.imread(str(_first_image(own_tiny)), cv2.IMREAD_UNCHANGED)
    image[0, 0] += 1
    cv2.imwrite(str(_first_image(own_tiny)), image)
    other_image = SliceIndex.from_directory(own_tiny).fingerprint
    table = own_tiny / "train.csv"
    table.write_text(table.read_text().replace("stomach,\n", "stomach,1 2\n", 1))
    other_mask = SliceIndex.from_directory(own_tiny).fingerprint
    assert len({same, other_image, other_mask}) == 3


def test_scans_can_be_left_out(tiny: Path) -> None:
    index = SliceIndex.from_directory(tiny)
    assert "case7_day0" not in index.without(["case7_day0"]).scans
    with pytest.raises(DataError, match=r"case7_day1.*did you mean 'case7_day0'"):
        index.without(["case7_day1"])


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("id,class,segmentation", "id,class,rle", "column 'segmentation'"),
        ("large_bowel", "colon", "row 2: expected one row a class, got 'colon'"),
        ("stomach", "stomac", "did you mean 'stomach'"),
        ("case1_day0_slice_0001,stomach,\n", "", "three rows"),
        ("case1_day0_slice_0001,stomach", "case1_day0_slice_0001,small_bowel", "again"),
        ("case1_day0_slice_0001", "case1_day0_slice_1", "row 2.*caseN_dayN_slice_NNNN"),
        ("case1_day0_slice_0001", "case1_day0_slice_0099", "an image of this slice"),
    ],
)
def test_faulty_table_is_named(own_tiny: Path, old: str, new: str, message: str) -> None:
    table = own_tiny / "train.csv"
    text = table.read_text()
    count = 3 if old.endswith("_0001") else 1
    assert old in text
    table.write_text(text.replace(old, new, count))
    with pytest.raises(DataError, match=message):
        SliceIndex.from_directory(own_tiny)


def test_missing_pieces_are_named(own_tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere: expected a folder"):
        SliceIndex.from_directory(tmp_path / "nowhere")
    (tmp_path / "void").mkdir()
    with pytest.raises(DataError, match="at least one slice image"):
        SliceIndex.from_directory(tmp_path / "void")
    _first_image(own_tiny).unlink()
    with pytest.raises(DataError, match=r"case1_day0_slice_0001.*an image of this slice"):
        SliceIndex.from_directory(own_tiny)
    (own_tiny / "train.csv").unlink()
    with pytest.raises(DataError, match=r"train\.csv: expected a file"):
        SliceIndex.from_directory(own_tiny)


def test_size_other_than_the_name_is_refused(own_tiny: Path) -> None:
    cv2.imwrite(str(_first_image(own_tiny)), np.zeros((48, 40), np.uint16))
    with pytest.raises(DataError, match=r"height 40 and width 48.*got height 48 and width 40"):
        SliceIndex.from_directory(own_tiny)


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "a PNG, got an empty file"), (b"GIF89a" * 20, "a PNG"), (None, "cut short")],
)
def test_damaged_image_is_named(own_tiny: Path, content: bytes | None, message: str) -> None:
    image = _first_image(own_tiny)
    image.write_bytes(image.read_bytes()[:-30] if content is None else content)
    with pytest.raises(DataError, match=rf"slice_0001.*{message}"):
        SliceIndex.from_directory(own_tiny)


def test_other_names_are_refused(own_tiny: Path) -> None:
    image = _first_image(own_tiny)
    shutil.copy(image, image.with_name("slice_1.png"))
    with pytest.raises(DataError, match=r"slice_1\.png: expected"):
        SliceIndex.from_directory(own_tiny)


def test_a_second_image_of_a_slice_is_refused(own_tiny: Path) -> None:
    image = _first_image(own_tiny)
    shutil.copy(image, image.with_name("slice_0001_48_40_1.63_1.63.png"))
    with pytest.raises(DataError, match="one image a slice"):
        SliceIndex.from_directory(own_tiny)


@pytest.mark.real
def test_real_scans_are_read(real_data: Path) -> None:
    index = SliceIndex.from_directory(real_data / "mini")
    assert index.scans == ["case6_day20", "case16_day0"]
    assert set(zip(index.table["height"], index.table["width"], strict=True)) == {(310, 360)}
    test = SliceIndex.from_directory(real_data / "mini" / "test")
    assert len(test.table) == 108
    assert not test.annotated
