"""train.csv and the tree of PNG files, damaged in every way that we could think of."""

from __future__ import annotations

import json
import os
import shutil
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from gitract_core.errors import counted
from tests.support.refusing import refused, run_cli

SWEEP = "sweep --local --data tiny --space space.yaml --out new"
COMMANDS = (SWEEP, "eda --data tiny", "plan --data tiny --space space.yaml")
FIRST = "case1_day0_slice_0001"

Change = Callable[[bytes], bytes]


def first_field(value: str) -> Change:
    """Another text in the first row's ``segmentation``."""
    return lambda csv: csv.replace(b"large_bowel,\n", f"large_bowel,{value}\n".encode(), 1)


def with_crlf_ends(csv: bytes) -> bytes:
    return csv.replace(b"\r\n", b"\n")


UNREADABLE: dict[str, Change] = {
    "empty": lambda _: b"",
    "header alone": lambda csv: csv.partition(b"\n")[0],
    "cut short": lambda csv: csv[: len(csv) // 2],
    "bytes": lambda _: np.random.default_rng(0).bytes(5000),
    "NUL in a class": lambda csv: csv.replace(b"stomach", b"sto\0mach", 1),
    "latin-1": lambda csv: csv + "é,é,é\n".encode("latin1"),
    "UTF-16": lambda csv: csv.decode().encode("utf-16"),
    "a row twice": lambda csv: csv + csv.splitlines(keepends=True)[1],
    "a row missing": lambda csv: b"".join(csv.splitlines(keepends=True)[:-1]),
    "an id that leads out": lambda csv: csv.replace(FIRST.encode(), b"../../x", 1),
    "an id in other digits": lambda csv: csv.replace(
        b"case1_", "case\N{ARABIC-INDIC DIGIT ONE}_".encode(), 1
    ),
    "an unknown class": lambda csv: csv.replace(b"stomach", b"spleen", 1),
    "a missing column": lambda csv: csv.replace(b"segmentation", b"mask", 1),
    "more fields than columns": lambda csv: csv + b"a,b,c,d,e\n",
    "an open quote": lambda csv: csv + b'"',
    "commas alone": lambda _: b",,,\n" * 50,
}


@pytest.mark.parametrize("damage", UNREADABLE)
def test_validate_says_what_is_wrong_with_train_csv(home: Path, damage: str) -> None:
    file = home / "tiny/train.csv"
    file.write_bytes(UNREADABLE[damage](with_crlf_ends(file.read_bytes())))
    ended = run_cli("validate", "--data", "tiny")
    *faults, last = ended.out.splitlines()
    assert (ended.code, ended.err) == (1, "")
    assert counted(len(faults), "fault") in last
    assert faults
    for fault in faults:
        assert "tiny" in fault
        assert ": expected " in fault


def test_validate_lists_every_fault_a_line_each_when_piped(home: Path) -> None:
    folder = home / "tiny/train/case1/case1_day0/scans"
    for number in (2, 3):
        file = next(folder.glob(f"slice_{number:04d}_*"))
        file.rename(file.with_name(file.name.replace("48_40", "40_48")))
    file = next(folder.glob("slice_0004_*"))
    file.rename(file.with_name(file.name.replace("slice", "slce")))
    table = home / "tiny/train.csv"
    table.write_bytes(first_field("1 2 3")(with_crlf_ends(table.read_bytes())))
    ended = run_cli("validate", "--data", "tiny")
    *faults, last = ended.out.splitlines()
    assert (ended.code, len(faults)) == (1, 4), ended.out
    assert "4 faults" in last
    listed = json.loads(run_cli("validate", "--data", "tiny", "--json").out)
    assert listed["faults"] == faults


BAD_MASKS = {
    "inf": "inf 3",
    "beyond the end": "1 999999999999999999",
    "a number of 30 digits": "1 " + "9" * 30,
    "negative": "-1 3",
    "one number": "5",
    "other digits": "\N{ARABIC-INDIC DIGIT ONE} \N{ARABIC-INDIC DIGIT TWO}",
    "overlapping": "1 1 " * 100_000,
    "a formula": "=1+1",
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("damage", UNREADABLE)
def test_train_csv(home: Path, command: str, damage: str) -> None:
    file = home / "tiny/train.csv"
    file.write_bytes(UNREADABLE[damage](with_crlf_ends(file.read_bytes())))
    refused(home, command, naming="tiny")


@pytest.mark.parametrize("command", [SWEEP, "eda --data tiny"])
@pytest.mark.parametrize("damage", BAD_MASKS)
def test_run_length_text_in_train_csv(home: Path, command: str, damage: str) -> None:
    file = home / "tiny/train.csv"
    file.write_bytes(first_field(BAD_MASKS[damage])(with_crlf_ends(file.read_bytes())))
    line = refused(home, command, naming=FIRST)
    assert "train.csv" in line
    assert "large_bowel" in line


@pytest.mark.parametrize("damage", BAD_MASKS)
def test_validate_lists_bad_masks(home: Path, damage: str) -> None:
    file = home / "tiny/train.csv"
    file.write_bytes(first_field(BAD_MASKS[damage])(with_crlf_ends(file.read_bytes())))
    ended = run_cli("validate", "--data", "tiny")
    assert ended.code == 1
    assert FIRST in ended.out.replace("\n", "")


def chunk(kind: bytes, content: bytes) -> bytes:
    body = kind + content
    return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))


def png(width: int, height: int, rows: bytes, depth: int = 16, color: int = 0) -> bytes:
    """A PNG that claims a size, whatever its rows are."""
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def encoded(image: np.ndarray, kind: str = ".png") -> bytes:
    return cv2.imencode(kind, image)[1].tobytes()


BAD_IMAGES: dict[str, Change] = {
    "empty": lambda _: b"",
    "cut short": lambda old: old[: len(old) // 2],
    "text": lambda _: b"not a picture" * 100,
    "a JPEG": lambda _: encoded(np.zeros((40, 48), np.uint8), ".jpg"),
    "a TIFF": lambda _: encoded(np.zeros((40, 48), np.uint16), ".tiff"),
    "color": lambda _: encoded(np.zeros((40, 48, 3), np.uint8)),
    "another size": lambda _: encoded(np.zeros((48, 40), np.uint16)),
    "a bomb: 60000 x 60000 claimed": lambda _: png(60_000, 60_000, b"\0" * 10**6),
    "size zero": lambda _: png(0, 40, b""),
    "the right size claimed, no rows": lambda _: png(48, 40, b""),
    "the right size claimed, rows of a bomb": lambda _: png(48, 40, b"\0" * 10**8)[:-40],
    "damaged in the middle": lambda old: old[:200] + bytes(100) + old[300:],
}


@pytest.mark.parametrize("damage", BAD_IMAGES)
def test_image(home: Path, monkeypatch: pytest.MonkeyPatch, damage: str) -> None:
    monkeypatch.setenv("GITRACT_CACHE", str(home.parent / "cache"))  # none yet: images are read
    file = next((home / "tiny/train/case1/case1_day0/scans").glob("slice_0003_*"))
    file.write_bytes(BAD_IMAGES[damage](file.read_bytes()))
    refused(home, SWEEP, naming=file.name)


def test_image_that_claims_what_its_name_says_is_bounded_too(home: Path) -> None:
    folder = home / "tiny/train/case1/case1_day0/scans"
    file = folder / "slice_0003_60000_60000_1.50_1.50.png"
    next(folder.glob("slice_0003_*")).replace(file)
    file.write_bytes(png(60_000, 60_000, b"\0" * 10**6))
    refused(home, SWEEP, naming=file.name)


BAD_NAMES = {
    "other words": "image.png",
    "no spacing": "slice_0003_48_40.png",
    "slice zero": "slice_0000_48_40_1.50_1.50.png",
    "another size": "slice_0003_49_40_1.50_1.50.png",
    "other digits": "slice_000\N{ARABIC-INDIC DIGIT THREE}_48_40_1.50_1.50.png",
    "a second image of a slice": "slice_0002_48_40_1.60_1.50.png",
    "a line break": "slice_0003\n_48_40_1.50_1.50.png",
}


@pytest.mark.parametrize("damage", BAD_NAMES)
def test_name_of_an_image(home: Path, damage: str) -> None:
    folder = home / "tiny/train/case1/case1_day0/scans"
    next(folder.glob("slice_0003_*")).rename(folder / BAD_NAMES[damage])
    refused(home, SWEEP, naming="tiny")


def test_links_that_lead_in_circles_end(home: Path) -> None:
    train = home / "tiny/train"
    (train / "case1/again").symlink_to(train, target_is_directory=True)
    (train / "case1/case1_day0/scans/more").symlink_to(train / "case1", target_is_directory=True)
    ended = run_cli("validate", "--data", "tiny")
    assert (ended.code, "29 slices in 5 scans, 0 faults" in ended.out) == (0, True), ended


@pytest.mark.parametrize("place", ["case1", "case1/case1_day0", "case1/case1_day0/scans"])
def test_a_folder_behind_a_link_is_seen_by_every_command(home: Path, place: str) -> None:
    """As where days lie on several disks; one that leads nowhere is no reason to leave it out."""
    folder = home / "tiny/train" / place
    folder.rename(home / "elsewhere")
    folder.symlink_to(home / "elsewhere", target_is_directory=True)
    ended = run_cli("validate", "--data", "tiny")
    assert "29 slices in 5 scans, 0 faults" in ended.out, ended
    predict = "predict run/ensembles/one --images tiny/train --out new.csv"
    assert run_cli(*predict.split()).code == 0
    assert (home / "new.csv").read_bytes() == (
        home / "run/ensembles/one/submission.csv"
    ).read_bytes()
    (home / "elsewhere").rename(home / "gone")
    refused(home, predict.replace("new", "newer"), naming=place)


def test_a_link_to_itself(home: Path) -> None:
    (home / "tiny/train/loop").symlink_to(home / "tiny/train/loop")
    refused(home, SWEEP, naming="tiny/train/loop")


def test_a_name_that_no_record_can_hold(home: Path) -> None:
    name = os.fsdecode(b"data\xff")
    shutil.copytree(home / "tiny", home / name)
    command = f"sweep --local --data {name} --space space.yaml --out new"
    refused(home, command, naming="a name in UTF-8")


def test_folders_that_are_none(home: Path) -> None:
    (home / "file").write_text("")
    (home / "empty").mkdir()
    (home / "loop").symlink_to(home / "loop")
    for name in ("file", "empty", "loop", "missing"):
        refused(home, f"sweep --local --data {name} --space space.yaml --out new", naming=name)
