"""``validate`` names every fault of a data set, and each once."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from gitract_core.data.column_major import column_major_words
from gitract_core.data.rle import decode, encode
from gitract_core.data.scan_table_faults import scan_doubts
from gitract_core.data.slices import SliceIndex
from gitract_core.data.validation import find_faults
from gitract_core.errors import DataError
from tests.support.tiny_contest import write_tiny_contest

SCANS = "train/case1/case1_day0/scans"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_tiny_contest(tmp_path / "tiny")


def file_of(data: Path, number: int) -> Path:
    return next((data / SCANS).glob(f"slice_{number:04d}_*"))


def rename(data: Path, number: int, old: str, new: str) -> None:
    file = file_of(data, number)
    file.rename(file.with_name(file.name.replace(old, new)))


def mend_csv(data: Path, old: str, new: str) -> None:
    table = data / "train.csv"
    text = table.read_text()
    assert old in text
    table.write_text(text.replace(old, new, 1))


def without_slice(data: Path) -> None:
    """An image and its rows."""
    file_of(data, 4).unlink()
    lines = (data / "train.csv").read_text().splitlines(keepends=True)
    kept = (line for line in lines if "case1_day0_slice_0004" not in line)
    (data / "train.csv").write_text("".join(kept))


def darker(data: Path) -> None:
    file = file_of(data, 3)
    image = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
    assert cv2.imwrite(str(file), (image // 8).astype(np.uint8))


def flat(data: Path) -> None:
    for file in (data / SCANS).iterdir():
        assert cv2.imwrite(str(file), np.full((40, 48), 9, np.uint16))


Fault = Callable[[Path], object]
FAULTS: dict[str, tuple[Fault, list[str]]] = {
    "none": (lambda _: None, []),
    "a misspelled file": (lambda d: rename(d, 3, "slice", "slce"), ["slce_0003"]),
    "a deleted image": (lambda d: file_of(d, 3).unlink(), ["id case1_day0_slice_0003"]),
    "a deleted slice": (without_slice, ["case1_day0: expected slices without a gap, got no slice"]),
    "a JPEG": (lambda d: rename(d, 3, ".png", ".jpg"), ["_1.50.jpg: expected a PNG image"]),
    "spacing 0": (lambda d: rename(d, 3, "1.50_1.50", "0.00_1.50"), ["spacing above 0"]),
    "another spacing": (
        lambda d: rename(d, 3, "1.50_1.50", "1.50_9.00"),
        ["slices (1.50 x 1.50 mm), got 1.50 x 9.00"],
    ),
    "8 bits": (darker, ["expected 16 bits, as the scan's other slices, got 8 bits"]),
    "no contrast": (flat, ["a scan with contrast, got the value 9 in all pixels"]),
    "a row twice": (
        lambda d: mend_csv(
            d, "case1_day0_slice_0001,stomach,\n", 2 * "case1_day0_slice_0001,stomach,\n"
        ),
        ["row 5: expected one row a slice and class"],
    ),
    "a bad id": (
        lambda d: mend_csv(d, "case1_day0_slice_0001", "case1_slice_1"),
        ["row 2", "fewer"],
    ),
    "a row missing": (
        lambda d: mend_csv(d, "case1_day0_slice_0001,stomach,\n", ""),
        ["id case1_day0_slice_0001: expected three rows"],
    ),
    "an unknown class": (
        lambda d: mend_csv(d, "slice_0001,stomach", "slice_0001,stomac"),
        ["did you mean 'stomach'", "fewer"],
    ),
    "a bad mask": (
        lambda d: mend_csv(d, "slice_0001,stomach,", "slice_0001,stomach,1 2 3"),
        ["case1_day0_slice_0001, stomach"],
    ),
}


def written_as_lf(data: Path) -> None:
    table = data / "train.csv"
    table.write_bytes(table.read_bytes().replace(b"\r\n", b"\n"))


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_is_told_once(data: Path, fault: str) -> None:
    change, expected = FAULTS[fault]
    written_as_lf(data)
    change(data)
    found = find_faults(data)
    assert len(found.faults) == len(expected), found.faults
    for line, words in zip(found.faults, expected, strict=True):
        assert words in line
        assert "\n" not in line


def test_all_faults_are_told_together(data: Path) -> None:
    written_as_lf(data)
    file_of(data, 1).unlink()
    rename(data, 3, "slice", "slce")
    rename(data, 4, "1.50_1.50", "0.00_0.00")
    mend_csv(data, "slice_0005,stomach,", "slice_0005,stomach,1 2 3")
    mend_csv(data, "case7_day0_slice_0001,stomach,\n", "")
    cut = next((data / "train/case20/case20_day1/scans").glob("slice_0002_*"))
    cut.write_bytes(cut.read_bytes()[:-30])
    faults = find_faults(data).faults
    assert len(faults) == 6, faults
    for words in (
        "case1_day0_slice_0001",
        "slce_0003",
        "0.00_0.00",
        "slice_0005, stomach",
        "case7_day0",
    ):
        assert sum(words in line for line in faults) == 1
    assert sum(cut.name in line for line in faults) == 1


def test_png_in_capitals_is_read_and_hidden_files_are_not(data: Path) -> None:
    before = SliceIndex.from_directory(data).fingerprint
    rename(data, 3, ".png", ".PNG")
    (data / SCANS / "._slice_0002_48_40_1.50_1.50.png").write_bytes(b"\0\5\x16\7")
    assert SliceIndex.from_directory(data).fingerprint == before
    assert find_faults(data).faults == ()


def test_a_few_chosen_slices_are_no_fault(data: Path) -> None:
    lines = (data / "train.csv").read_text().splitlines(keepends=True)
    for number in (2, 3, 4):
        file_of(data, number).unlink()
        lines = [line for line in lines if f"case1_day0_slice_000{number}" not in line]
    rename(data, 6, "slice_0006", "slice_0016")
    text = "".join(lines).replace("case1_day0_slice_0006", "case1_day0_slice_0016")
    (data / "train.csv").write_text(text)
    found = find_faults(data)
    assert found.faults == ()
    (note,) = found.notes
    assert note == "1 scan has fewer slices than gaps between them (case1_day0): chosen slices?"


def test_masks_written_column_by_column_are_noticed_as_a_whole(data: Path) -> None:
    index = SliceIndex.from_directory(data)
    lines = (data / "train.csv").read_text().splitlines()
    sizes = index.table.set_index("id")
    made = []
    for line in lines[1:]:
        name, organ, text = line.split(",")
        height, width = sizes.loc[name, ["height", "width"]]
        turned = encode(decode(text, height, width).T.copy()) if text else ""
        made.append(f"{name},{organ},{turned}")
    assert find_faults(data).faults == ()
    (data / "train.csv").write_text("\n".join([lines[0], *made]) + "\n")
    faults = find_faults(data).faults
    assert "train.csv: looks column-major" in faults[0]
    square = [(encode(np.eye(8, dtype=bool)), (8, 8))] * 30
    assert column_major_words(square) == ""


def test_what_is_no_data_set_is_wrong_use(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for name in ("empty", "nowhere"):
        with pytest.raises(DataError, match=name):
            find_faults(tmp_path / name)


def test_a_table_that_cannot_be_read_is_a_fault(data: Path) -> None:
    (data / "train.csv").write_bytes(b"")
    (fault,) = find_faults(data).faults
    assert "train.csv: expected" in fault
    shutil.rmtree(data / "train")
    (fault,) = find_faults(data).faults
    assert "train: expected a folder of cases" in fault


def test_predictions_are_warned_of_what_the_table_and_headers_tell(data: Path) -> None:
    index = SliceIndex.from_directory(data)
    assert scan_doubts(data, index.rows_of_scan("case1_day0")) == []
    darker(data)
    rename(data, 4, "1.50_1.50", "9.00_9.00")
    index = SliceIndex.from_directory(data)
    (line,) = scan_doubts(data, index.rows_of_scan("case1_day0"))
    assert "got 9.00 x 9.00" in line
    assert line.endswith("(and 1 more)")
    rename(data, 4, "9.00_9.00", "1.50_1.50")
    index = SliceIndex.from_directory(data)
    (line,) = scan_doubts(data, index.rows_of_scan("case1_day0"))
    assert "expected 16 bits, as the scan's other slices, got 8 bits" in line


def test_slices_beyond_9999_keep_their_order(data: Path) -> None:
    for number in (5, 6):
        rename(data, number, f"slice_000{number}", f"slice_{9994 + number}")
    table = (data / "train.csv").read_text()
    for number in (5, 6):
        old = f"case1_day0_slice_000{number}"
        table = table.replace(old, f"case1_day0_slice_{9994 + number}")
    (data / "train.csv").write_text(table)
    index = SliceIndex.from_directory(data)
    rows = index.rows_of_scan("case1_day0")
    assert rows["slice"].tolist() == [1, 2, 3, 4, 9999, 10000]
    assert rows["id"].iloc[-1] == "case1_day0_slice_10000"
    assert find_faults(data).faults == ()
    rename(data, 1, "slice_0001", "slice_00001")
    name, *_ = find_faults(data).faults
    assert "slice_00001" in name
    assert "got another name" in name
