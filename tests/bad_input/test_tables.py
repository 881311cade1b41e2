"""A submission, the truth that it is scored against, and the note beside it."""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from gitract_core.organs import CONTEST
from tests.bad_input.test_data_folder import BAD_MASKS
from tests.support.damaged_files import DAMAGED
from tests.support.refusing import Ended, refused, run_cli
from tests.support.tiny_contest import SCANS

Change = Callable[[bytes], bytes]
SCORE = "score prediction.csv truth.csv"
CHECK = "check-submission run/ensembles/one/submission.csv --images tiny/train"
VERIFY = "verify run/ensembles/one/submission.csv --images tiny/train"
FIRST = b"case1_day0_slice_0001"

NO_TABLE: dict[str, Change] = {
    "empty": lambda _: b"",
    "bytes": lambda _: np.random.default_rng(0).bytes(5000),
    "latin-1": lambda csv: csv + "é,é,é\n".encode("latin1"),
    "UTF-16": lambda csv: csv.decode().encode("utf-16"),
    "more fields than columns": lambda csv: csv + b"a,b,c,d,e,f,g,h\n",
    "an open quote": lambda csv: csv + b'"',
    "a field of 20 MB, open": lambda csv: csv + b'"' + b"x" * 20_000_000,
}
BAD_ROWS: dict[str, Change] = {
    "header alone": lambda csv: csv.partition(b"\n")[0],
    "cut short": lambda csv: csv[: len(csv) // 2],
    "a NUL": lambda csv: csv.replace(b"stomach", b"sto\0mach", 1),
    "a row twice": lambda csv: csv + csv.splitlines(keepends=True)[1],
    "a row missing": lambda csv: b"".join(csv.splitlines(keepends=True)[:-1]),
    "an id that leads out": lambda csv: csv.replace(FIRST, b"../../x", 1),
    "an id that leads out, thrice": lambda csv: csv.replace(FIRST, b"../../x_slice_0001"),
    "an id in other digits": lambda csv: csv.replace(
        b"case1_", "case\N{ARABIC-INDIC DIGIT ONE}_".encode(), 1
    ),
    "an id of 100,000 characters": lambda csv: csv.replace(FIRST, b"x" * 100_000, 1),
    "an id that is a markup": lambda csv: csv.replace(FIRST, b"[/red][bold", 1),
    "an unknown class": lambda csv: csv.replace(b"stomach", b"spleen", 1),
    "a missing column": lambda csv: csv.replace(b"class", b"organ", 1),
    "commas alone": lambda _: b",,,,\n" * 50,
}
SIZES = {
    "zero": "0,48",
    "negative": "-40,48",
    "a fraction": "40.5,48",
    "infinite": "inf,48",
    "not a number": "nan,48",
    "text": "tall,48",
    "empty": ",",
    "huge": "1e308,1e308",
    "30 digits": f"{'9' * 30},48",
    "60000 x 60000": "60000,60000",
    "another than its neighbors'": "41,48",
}


@pytest.fixture
def tables(home: Path) -> Path:
    """``truth.csv`` with sizes and ``prediction.csv`` with the same masks."""
    sizes = {f"case{c}_day{d}": (h, w) for c, d, h, w, _ in SCANS}
    rows = (home / "tiny/train.csv").read_text().splitlines()[1:]
    truth, prediction = ["id,class,segmentation,height,width"], ["id,class,predicted"]
    for row in rows:
        height, width = sizes[row.partition("_slice_")[0]]
        truth.append(f"{row},{height},{width}")
        prediction.append(row)
    (home / "truth.csv").write_text("\n".join(truth) + "\n")
    (home / "prediction.csv").write_text("\n".join(prediction) + "\n")
    assert run_cli(*SCORE.split()).code == 0
    return home


@pytest.mark.parametrize("damage", [*NO_TABLE, *BAD_ROWS])
@pytest.mark.parametrize("name", ["prediction.csv", "truth.csv"])
def test_score(tables: Path, name: str, damage: str) -> None:
    file = tables / name
    file.write_bytes({**NO_TABLE, **BAD_ROWS}[damage](file.read_bytes()))
    # Where the truth is whole but another, it is the prediction that does not match.
    another = damage in ("cut short", "header alone", "an id that leads out, thrice")
    blamed = "prediction.csv" if another and name == "truth.csv" else name
    refused(tables, SCORE, naming=blamed)


@pytest.mark.parametrize("damage", BAD_MASKS)
@pytest.mark.parametrize("name", ["prediction.csv", "truth.csv"])
def test_run_length_text(tables: Path, name: str, damage: str) -> None:
    file = tables / name
    rows = file.read_text().splitlines()
    fields = rows[1].split(",")
    rows[1] = ",".join([*fields[:2], BAD_MASKS[damage], *fields[3:]])
    file.write_text("\n".join(rows))
    line = refused(tables, SCORE, naming=name)
    assert FIRST.decode() in line
    assert fields[1] in line


@pytest.mark.parametrize("damage", SIZES)
def test_sizes(tables: Path, damage: str) -> None:
    file = tables / "truth.csv"
    file.write_text(file.read_text().replace("40,48\n", SIZES[damage] + "\n", 1))
    refused(tables, SCORE, naming="truth.csv")


def test_sizes_that_contradict_the_images(tables: Path) -> None:
    file = tables / "truth.csv"
    same = run_cli(*SCORE.split(), "--images", "tiny", "--json")
    assert (same.code, same.out) == (0, run_cli(*SCORE.split(), "--json").out)
    file.write_text(file.read_text().replace("height,width", "width,height"))
    line = refused(tables, f"{SCORE} --images tiny", naming="truth.csv")
    assert "height 40 and width 48, as its image has, got height 48 and width 40" in line


def test_a_scan_that_claims_a_terabyte(tables: Path) -> None:
    """Every slice is of an admissible size; all together are not."""
    ids = [f"case1_day0_slice_{n:04d}" for n in range(1, 5000)]
    both = [(name, organ) for name in ids for organ in CONTEST.names]
    rows = "".join(f"{name},{organ},,4096,4096\n" for name, organ in both)
    (tables / "truth.csv").write_text(f"id,class,segmentation,height,width\n{rows}")
    rows = "".join(f"{name},{organ},\n" for name, organ in both)
    (tables / "prediction.csv").write_text(f"id,class,predicted\n{rows}")
    refused(tables, SCORE, naming="truth.csv")


def test_score_of_files_that_are_none(tables: Path) -> None:
    (tables / "loop.csv").symlink_to(tables / "loop.csv")
    for name in ("missing.csv", "loop.csv", "tiny", "run/sweep.json"):
        refused(tables, f"score {name} truth.csv", naming=name)
        refused(tables, f"score prediction.csv {name}", naming=name)
    (tables / "small.csv").write_text("id,class,segmentation\n")
    refused(tables, "score prediction.csv small.csv", naming="small.csv")
    refused(tables, "score prediction.csv small.csv --images missing", naming="missing")


def without(csv: bytes, column: int) -> bytes:
    return b"\n".join(b",".join(f for n, f in enumerate(row) if n != column) for row in fields(csv))


def fields(csv: bytes) -> list[list[bytes]]:
    return [line.split(b",") for line in csv.splitlines()]


@pytest.mark.parametrize("column", [3, 4])
def test_one_size_alone_is_as_none(tables: Path, column: int) -> None:
    """Height without width, and the other way round: with --images the sizes are the images'."""
    whole = run_cli(*SCORE.split(), "--json").out
    file = tables / "truth.csv"
    file.write_bytes(without(file.read_bytes(), column))
    assert run_cli(*SCORE.split(), "--images", "tiny/train", "--json").out == whole
    refused(tables, SCORE, naming="truth.csv")


def test_truth_without_ids(tables: Path) -> None:
    file = tables / "truth.csv"
    csv = b"\n".join(b",".join(row[:3]) for row in fields(file.read_bytes()))
    for changed in (csv.replace(b"id,", b"ID,", 1), csv.replace(b"id,", b"height,", 1)):
        file.write_bytes(changed)
        refused(tables, f"{SCORE} --images tiny/train", naming="truth.csv")


PACKED = ("gz", "bz2", "zip", "xz", "zst", "tar")


@pytest.mark.parametrize("suffix", PACKED)
def test_damaged_archives(tables: Path, suffix: str) -> None:
    """What a name says is compressed and is not, or is cut short."""
    name = f"packed.csv.{suffix}"
    good = gzip.compress((tables / "prediction.csv").read_bytes())
    torn = good[:200] + bytes(50) + good[250:]
    for content in (b"garbage", b"PK\3\4garbage", good[: len(good) // 2], torn, b""):
        (tables / name).write_bytes(content)
        refused(tables, f"score {name} truth.csv", naming=name)
        refused(tables, f"check-submission {name} --images tiny/train", naming=name)


@pytest.mark.parametrize("suffix", [*PACKED, "GZ", "tar.gz"])
def test_submissions_are_not_written_under_the_name_of_an_archive(home: Path, suffix: str) -> None:
    """They are plain text, which nobody could read again."""
    where = f"--images tiny/train --out new.csv.{suffix}"
    refused(home, f"predict run/ensembles/one {where}", naming=f"new.csv.{suffix}")
    refused(home, f"ensemble run --top 2 {where}", naming=f"new.csv.{suffix}")


@pytest.mark.parametrize("device", ["gpu", "cuda:", "cuda:x", "meta", "", "CPU"])
def test_devices_that_are_none(home: Path, device: str) -> None:
    where = f"--images tiny/train --out new.csv --device={device}"
    refused(home, f"predict run/ensembles/one {where}", naming="device")
    refused(home, f"ensemble run --top 2 {where}", naming="device")


def submission(home: Path) -> Path:
    return home / "run/ensembles/one/submission.csv"


@pytest.mark.parametrize("damage", NO_TABLE)
def test_check_submission_of_no_table(home: Path, damage: str) -> None:
    file = submission(home)
    file.write_bytes(NO_TABLE[damage](file.read_bytes()))
    refused(home, CHECK, naming="submission.csv")


@pytest.mark.parametrize("damage", BAD_ROWS)
def test_check_submission_lists_bad_rows(home: Path, damage: str) -> None:
    file = submission(home)
    file.write_bytes(BAD_ROWS[damage](file.read_bytes()))
    listed(run_cli(*CHECK.split()))
    listed(run_cli(*CHECK.split(), "--json"))


@pytest.mark.parametrize("damage", BAD_MASKS)
def test_check_submission_lists_bad_masks(home: Path, damage: str) -> None:
    file = submission(home)
    rows = file.read_text().splitlines()
    rows[1] = ",".join([*rows[1].split(",")[:2], BAD_MASKS[damage]])
    file.write_text("\n".join(rows))
    ended = listed(run_cli(*CHECK.split()))
    assert f"row 2, {FIRST.decode()}" in ended.out


def listed(ended: Ended) -> Ended:
    """Faults on stdout, exit code 1; a line may not be a megabyte."""
    assert ended.code == 1, ended.err
    assert "Traceback" not in ended.err
    assert ended.out
    assert max(map(len, ended.out.splitlines())) < 2500
    return ended


@pytest.mark.parametrize(
    "damage", sorted(DAMAGED.keys() - {"NaN", "latin-1"})
)  # in places not read
@pytest.mark.parametrize("command", [CHECK, VERIFY])
def test_note(home: Path, command: str, damage: str) -> None:
    file = submission(home).with_suffix(".provenance.json")
    file.write_bytes(DAMAGED[damage](file.read_bytes()))
    refused(home, command, naming=file.name)


@pytest.mark.parametrize(
    "to", ["../../../../x", "/etc/passwd", "/dev/zero", "../../..", "a\\u0000b"]
)
def test_note_that_leads_out(home: Path, to: str) -> None:
    """What it names is not the manifest that it was: said, and nothing read without end."""
    file = submission(home).with_suffix(".provenance.json")
    text = re.sub(r',\n "seal": "\w+"', "", file.read_text())
    file.write_text(text.replace('"members.json"', f'"{to}"'))
    assert to in file.read_text()
    ended = run_cli(*VERIFY.split())
    assert ended.code in (1, 2)
    assert "Traceback" not in ended.err
    ended = run_cli(*CHECK.split())
    assert ended.code in (0, 2)


def test_verify_without_a_note(home: Path) -> None:
    refused(home, "verify tiny/train.csv", naming="train.provenance.json")
    refused(home, "verify missing.csv", naming="missing.provenance.json")
