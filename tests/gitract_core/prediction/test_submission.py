from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from gitract_core.errors import SubmissionError
from gitract_core.prediction.submission import (
    COLUMNS,
    Fault,
    check_submission,
    read_submission,
    summarize_submission,
    write_submission,
)
from tests.support.tiny_contest import CLASSES, slow_encode

SIZES = pd.DataFrame(
    {
        "id": [f"case1_day0_slice_{n:04d}" for n in (1, 2, 3)],
        "height": [20, 20, 20],
        "width": [30, 30, 30],
    }
)
ROWS = [
    (name, organ, "35 4 65 4 95 4" if organ == "stomach" else "")
    for name in SIZES["id"]
    for organ in CLASSES
]


@pytest.fixture
def table() -> pd.DataFrame:
    return pd.DataFrame(ROWS, columns=["id", "class", "predicted"])


def faults_of(table: pd.DataFrame, sizes: pd.DataFrame = SIZES) -> list[str]:
    return [str(fault) for fault in check_submission(table, sizes)]


def test_written_and_read_back(tmp_path: Path) -> None:
    path = tmp_path / "new" / "submission.csv"
    write_submission(path, iter(ROWS))
    assert path.read_bytes().startswith(b"id,class,predicted\ncase1_day0_slice_0001,large_bowel,\n")
    read = read_submission(path)
    assert [tuple(row) for row in read.to_numpy()] == ROWS
    assert check_submission(path, SIZES) == []
    assert check_submission(str(path), SIZES) == []


def test_rows_are_streamed(tmp_path: Path) -> None:
    """What is written while rows still come is not yet the file."""
    path = tmp_path / "submission.csv"
    seen: list[bool] = []

    def rows() -> Any:
        for row in ROWS:
            seen.append(path.exists())
            yield row

    write_submission(path, rows())
    assert seen == [False] * len(ROWS)
    assert path.exists()


@pytest.mark.parametrize("before", [None, "old"])
def test_nothing_half_written_stays(tmp_path: Path, before: str | None) -> None:
    path = tmp_path / "submission.csv"
    if before is not None:
        path.write_text(before)

    def rows() -> Any:
        yield from ROWS[:2]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_submission(path, rows())
    assert [p.name for p in tmp_path.iterdir()] == ([path.name] if before else [])
    assert before is None or path.read_text() == before


UNREADABLE = {
    "empty": b"",
    "not text": b"id,class,predicted\n\xff\xfe,a,b\n",
    "rows longer than the header": b"id,class,predicted\na,b,c,d\n",
    "one row longer": b"id,class,predicted\na,b,c\na,b,c,d\n",
}


@pytest.mark.parametrize("content", UNREADABLE.values(), ids=UNREADABLE)
def test_unreadable_files(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "submission.csv"
    path.write_bytes(content)
    with pytest.raises(SubmissionError, match=r"submission\.csv: expected a CSV table"):
        check_submission(path, SIZES)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(SubmissionError, match=r"none\.csv: expected a CSV table, got .*No such"):
        read_submission(tmp_path / "none.csv")


def test_sound_tables_of_every_kind(table: pd.DataFrame) -> None:
    for dtype in ("object", "str", "string"):
        masks = table["predicted"].astype(dtype)
        assert faults_of(table.assign(predicted=masks)) == []
        assert faults_of(table.assign(predicted=masks.where(masks != "", None))) == []
    assert faults_of(table[["class", "predicted", "id"]]) == []


def test_missing_column(table: pd.DataFrame) -> None:
    renamed = table.rename(columns={"predicted": "segmentation"})
    message = "row 1, file: expected columns id, class, predicted, got id, class, segmentation"
    assert faults_of(renamed) == [message]


def test_column_too_many_does_not_hide_other_faults(table: pd.DataFrame) -> None:
    first, second = faults_of(table.assign(extra=1).replace("35 4 65 4 95 4", "x"))[:2]
    assert first.endswith("got id, class, predicted, extra")
    assert second.startswith("row 4, case1_day0_slice_0001: stomach, RLE")


def test_one_row_only(table: pd.DataFrame) -> None:
    assert faults_of(table.iloc[:0])[-1] == "file: no rows"


BAD_TEXTS = {
    "35 4 65": "expected 'start length' pairs, got 3 numbers",
    "35 x": "pair 1: expected whole numbers",
    "0 4": "pair 1: expected a start and a length of 1 or more",
    "598 4": "pair 1: expected a run inside the 600 pixels, got '598 4', past the end",
    "35 4 37 2": "pair 2: expected a start after pixel 38",
    "65 4 35 4": "pair 2: expected a start after pixel 68",
}


@pytest.mark.parametrize("text", BAD_TEXTS)
def test_bad_text(table: pd.DataFrame, text: str) -> None:
    table.loc[5, "predicted"] = text
    (fault,) = faults_of(table)
    assert fault.startswith("row 7, case1_day0_slice_0002: stomach, RLE")
    assert BAD_TEXTS[text] in fault


def test_height_is_not_width(table: pd.DataFrame) -> None:
    """The last pixel depends on the slice's own size."""
    table.loc[5, "predicted"] = "590 11"
    assert faults_of(table) == []
    assert len(faults_of(table, SIZES.assign(height=[20, 19, 20]))) == 1


def test_rows_missing_too_many_and_twice(table: pd.DataFrame) -> None:
    odd = pd.concat([table.iloc[1:], table.iloc[3:4], table.iloc[4:5].assign(id="case2")])
    assert faults_of(odd) == [
        "row 10, case1_day0_slice_0002: large_bowel a second time, first in row 4",
        "row 11, case2: not a slice of these images",
        "case1_day0_slice_0001: row of class large_bowel is missing",
    ]


def test_unknown_class_and_missing_id(table: pd.DataFrame) -> None:
    table.loc[5, "class"] = "stomac"
    table.loc[7, "id"] = None
    assert faults_of(table) == [
        "row 7, case1_day0_slice_0002: unknown class 'stomac'; did you mean 'stomach'?",
        f"row 9, {table['id'].iloc[7]!s}: not a slice of these images",
        "case1_day0_slice_0002: row of class stomach is missing",
        "case1_day0_slice_0003: row of class small_bowel is missing",
    ]


def test_all_masks_empty(table: pd.DataFrame) -> None:
    assert faults_of(table.assign(predicted="")) == ["file: every mask is empty"]
    assert faults_of(table.assign(predicted=np.nan)) == ["file: every mask is empty"]


def test_order(table: pd.DataFrame) -> None:
    table.iloc[[3, 4]] = table.iloc[[4, 3]].to_numpy()
    assert faults_of(table) == [
        "row 5, case1_day0_slice_0002: small_bowel out of order: "
        "expected case1_day0_slice_0002, large_bowel here"
    ]
    assert "out of order" not in " ".join(faults_of(table.iloc[1:]))


def test_every_faulty_row_is_listed(table: pd.DataFrame) -> None:
    found = check_submission(table.assign(predicted="9 9 9"), SIZES)
    assert [fault.row for fault in found] == list(range(2, 11))
    assert {fault.id for fault in found} == set(SIZES["id"])


def test_fault_as_text() -> None:
    assert str(Fault(3, "a", "b")) == "row 3, a: b"
    assert str(Fault(None, "a", "b")) == "a: b"
    assert str(Fault(None, "", "b")) == "file: b"


def masks_of(height: int, width: int, seed: int) -> list[np.ndarray]:
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    centers = random.uniform(0.3, 0.7, (9, 2)) * (height, width)
    radii = random.uniform(2, 6, 9)
    return [np.hypot(y - a, x - b) < r for (a, b), r in zip(centers, radii, strict=True)]


@pytest.mark.parametrize("size", [(30, 50), (50, 30)])
def test_column_major_masks(table: pd.DataFrame, size: tuple[int, int]) -> None:
    sizes = SIZES.assign(height=size[0], width=size[1])
    masks = masks_of(*size, seed=0)
    assert faults_of(table.assign(predicted=[slow_encode(m) for m in masks]), sizes) == []
    by_columns = [slow_encode(np.ascontiguousarray(m.T)) for m in masks]
    (fault,) = faults_of(table.assign(predicted=by_columns), sizes)
    assert fault.startswith("file: looks column-major: ")
    assert fault.endswith(" components read by rows, 9 read by columns; write masks row by row")


def test_square_masks_cannot_tell(table: pd.DataFrame) -> None:
    sizes = SIZES.assign(height=40, width=40)
    by_columns = [slow_encode(np.ascontiguousarray(m.T)) for m in masks_of(40, 40, seed=0)]
    assert faults_of(table.assign(predicted=by_columns), sizes) == []


def test_noise_and_lines_are_not_taken_for_column_major(table: pd.DataFrame) -> None:
    random = np.random.default_rng(0)
    noise = [slow_encode(random.random((20, 30)) < 0.1) for _ in range(9)]
    assert faults_of(table.assign(predicted=noise)) == []
    upright, lying = np.zeros((2, 20, 30), bool)
    upright[3:18, 7] = lying[7, 3:28] = True
    for line in (upright, lying):
        assert faults_of(table.assign(predicted=slow_encode(line))) == []


@pytest.mark.real
def test_real_masks_by_rows_and_by_columns(real_data: Path) -> None:
    table = pd.read_csv(real_data / "masks_10_scans.csv", keep_default_na=False)
    table = table[table["id"].str.startswith("case16_day0_")].reset_index(drop=True)
    sizes = table.drop_duplicates("id")[["id", "height", "width"]]
    rows = table[["id", "class"]].assign(predicted=table["segmentation"])
    assert check_submission(rows, sizes) == []
    texts = [
        slow_encode(decoded(text, height, width).T) if text else ""
        for text, height, width in zip(
            table["segmentation"], table["height"], table["width"], strict=True
        )
    ]
    (fault,) = check_submission(rows.assign(predicted=texts), sizes)
    assert "looks column-major" in fault.message


def decoded(text: str, height: int, width: int) -> np.ndarray:
    flat = np.zeros(height * width, bool)
    numbers = [int(word) for word in text.split()]
    for start, length in zip(numbers[::2], numbers[1::2], strict=True):
        flat[start - 1 : start - 1 + length] = True
    return flat.reshape(height, width)


def test_a_summary_counts_masks_and_areas() -> None:
    rows = [("a", "stomach", "1 3 9 1"), ("b", "stomach", ""), ("a", "small_bowel", "2 0")]
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    found = summarize_submission(table)
    assert found["stomach"] == {"rows": 2, "masks": 1, "median_area_px": 4}
    assert (found["small_bowel"]["rows"], found["small_bowel"]["masks"]) == (1, 0)
    assert np.isnan(found["large_bowel"]["median_area_px"])
    with pytest.raises(SubmissionError, match="columns id, class, predicted"):
        summarize_submission(table.drop(columns="predicted"))


def test_blank_lines_are_told_and_counted(table: pd.DataFrame, tmp_path: Path) -> None:
    """Row numbers are those of the file, as an editor shows them."""
    lines = table.to_csv(index=False).splitlines()
    lines[3] = lines[3].replace("stomach", "liver")
    text = "\n".join([*lines[:3], "", *lines[3:], "", ""])
    (tmp_path / "blank.csv").write_text(text)
    found = [f for f in check_submission(tmp_path / "blank.csv", SIZES) if f.row]
    assert [(f.row, f.message.partition(";")[0]) for f in found] == [
        (4, "an empty row"),
        (5, "unknown class 'liver'"),
        (12, "an empty row"),
    ]
