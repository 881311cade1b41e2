"""What a run tells beside its results: histories, scores, failures, the race, the members."""

from __future__ import annotations

import io
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from gitract_core.errors import RunError
from gitract_core.results.score_table import read_scores
from gitract_core.results.trial_result import TrialResult, read_history
from tests.support.damaged_files import DAMAGED, PREDICT, VALUES, Owning, result_file
from tests.support.refusing import refused, run_cli

Change = Callable[[bytes], bytes]
MARKUP = "[/red]\x1b[2J[bold\N{RIGHT-TO-LEFT OVERRIDE}"


def first_value(text: bytes) -> Change:
    """Another text in the first field of the first row."""
    return lambda csv: csv.replace(b"\n1,", b"\n" + text + b",", 1)


BAD_HISTORIES: dict[str, Change] = {
    "empty": lambda _: b"",
    "header alone": lambda csv: csv.partition(b"\n")[0] + b"\n",
    "cut short": lambda csv: csv[:-40],
    "bytes": lambda _: np.random.default_rng(0).bytes(3000),
    "NUL": lambda csv: csv + bytes(100),
    "UTF-16": lambda csv: csv.decode().encode("utf-16"),
    "latin-1": lambda csv: csv + "é".encode("latin1"),
    "other columns": lambda csv: csv.replace(b"dice", b"mice"),
    "a field too many": lambda csv: csv.rstrip() + b",1,2,3\n",
    "a field too few": lambda csv: csv.rstrip().rpartition(b",")[0] + b"\n",
    "epoch zero": first_value(b"0"),
    "epoch of 5,000 digits": first_value(b"9" * 5000),
    "epoch 10**30": first_value(b"1" + b"0" * 30),
    "epoch 5": first_value(b"5"),
    "a field of a megabyte": first_value(b"1" * 10**6),
    "an open quote": lambda csv: csv + b'"',
    "markup": first_value(MARKUP.encode()),
}
STRANGE_HISTORIES: dict[str, Change] = {
    "NaN": lambda csv: with_all(csv, "nan"),
    "infinities": lambda csv: with_all(csv, "inf"),
    "1e308": lambda csv: with_all(csv, "1e308"),
    "-1e308": lambda csv: with_all(csv, "-1e308"),
}


def with_all(csv: bytes, value: str) -> bytes:
    header, row = csv.decode().splitlines()[:2]
    return f"{header}\n{','.join(['1'] + [value] * row.count(','))}\n".encode()


def history_of(home: Path) -> Path:
    return result_file(home).with_name("history.csv")


@pytest.mark.parametrize("damage", BAD_HISTORIES)
def test_history(home: Path, damage: str) -> None:
    """Who draws curves leaves the trial out and names the file; the others do without."""
    file = history_of(home)
    file.write_bytes(BAD_HISTORIES[damage](file.read_bytes()))
    if damage in ("empty", "header alone"):
        assert not read_history(file)
    else:
        with pytest.raises(RunError, match=r"history\.csv: expected one row an epoch") as caught:
            read_history(file)
        assert "\x1b" not in str(caught.value)
    for command in ("status run", "report run"):
        assert run_cli(*command.split()).code == 0


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["empty", *STRANGE_HISTORIES])
def test_history_in_pages_and_figures(home: Path, damage: str) -> None:
    change = {**BAD_HISTORIES, **STRANGE_HISTORIES}[damage]
    some = [file for file in home.glob("run/trials/*/history.csv") if file != history_of(home)]
    for file in some:
        file.write_bytes(change(file.read_bytes()))
    figures = run_cli("figures", "run", "--out", "new")
    page = run_cli("report", "run", "--html", "new.html")
    for ended in (figures, page, run_cli("status", "run", "--json")):
        assert ended.code in (0, 2), ended.err
        assert len(ended.err.splitlines()) <= 1
    if damage == "empty":
        assert "left out" in figures.out
        assert "history.csv" in (home / "new.html").read_text()


def parquet(table: pd.DataFrame) -> bytes:
    content = io.BytesIO()
    table.to_parquet(content, index=False)
    return content.getvalue()


def damaged_scores(good: Path, damage: str, owned: Path) -> bytes:
    content, table = good.read_bytes(), pd.read_parquet(good)
    whole: dict[str, Callable[[], bytes]] = {
        "empty": lambda: b"",
        "cut short": lambda: content[: len(content) // 2],
        "bytes": lambda: np.random.default_rng(0).bytes(3000),
        "a pickle": lambda: pickle.dumps(Owning(owned)),
        "text": lambda: b"level,id\n",
        "damaged in the middle": lambda: content[:200] + bytes(300) + content[500:],
        "no rows": lambda: parquet(table.iloc[:0]),
        "other columns": lambda: parquet(table.rename(columns={"dice": "mice"})),
        "text for numbers": lambda: parquet(table.assign(dice="x")),
        "ids that lead out": lambda: parquet(table.assign(id="../../x")),
        "ids of other slices": lambda: parquet(table.assign(id="case99_day1_slice_0001")),
        "unknown classes": lambda: parquet(table.assign(**{"class": MARKUP})),
        "no ids": lambda: parquet(table.assign(id=None)),
        "lists": lambda: parquet(table.assign(truth_px=[[1, 2]] * len(table))),
        "a hundred million rows": lambda: parquet(
            pd.DataFrame({c: np.zeros(10**8, np.int8) for c in ("level", "dice")})
        ),
    }
    return whole[damage]()


@pytest.mark.parametrize(
    "damage",
    [
        "empty",
        "cut short",
        "bytes",
        "a pickle",
        "text",
        "damaged in the middle",
        "no rows",
        "other columns",
        "text for numbers",
        "ids that lead out",
        "unknown classes",
        "no ids",
        "lists",
        "a hundred million rows",
    ],
)
def test_scores(home: Path, damage: str) -> None:
    file = result_file(home).with_name("scores.parquet")
    file.write_bytes(damaged_scores(file, damage, home / "owned"))
    with pytest.raises(RunError, match=r"scores\.parquet: expected a trial's scores") as caught:
        read_scores(file)
    assert "\x1b" not in str(caught.value)
    assert not (home / "owned").exists()


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["cut short", "ids of other slices"])
def test_scores_in_pages_and_figures(home: Path, damage: str) -> None:
    """Figure 11 is left out, and the trial on the page; both say so."""
    for file in home.glob("run/trials/*/scores.parquet"):
        file.write_bytes(damaged_scores(file, damage, home / "owned"))
        if damage != "cut short":  # of an earlier version, whose results say nothing of files
            values = json.loads(file.with_name("result.json").read_text())
            del values["files"], values["seal"]
            file.with_name("result.json").write_text(json.dumps(values))
    ended = run_cli("figures", "run", "--out", "new")
    assert ended.code == 0, ended.err
    named = "scores.parquet" if damage == "cut short" else "case99"
    assert named in ended.out.replace("\n", "")
    ended = run_cli("report", "run", "--html", "new.html")
    assert ended.code in (0, 2), ended.err
    if damage == "cut short":
        assert "scores.parquet" in (home / "new.html").read_text()


def failure_of(home: Path) -> Path:
    """As if the trial had not been finished but had failed."""
    file = result_file(home)
    file.unlink()
    failure = file.with_name("failure.json")
    good = {"key": "k", "spec": {}, "attempts": 2, "kind": "error", "message": "m", "detail": "d"}
    failure.write_text(json.dumps(good))
    return failure


@pytest.mark.parametrize("damage", sorted(DAMAGED.keys() - {"nothing in it", "NaN", "latin-1"}))
def test_failure(home: Path, damage: str) -> None:
    file = failure_of(home)
    file.write_bytes(DAMAGED[damage](file.read_bytes()))
    for command in (("report", "run", "--json"), ("status", "run")):
        ended = run_cli(*command)
        assert ended.code == 0, ended.err
        assert "failure.json" in ended.out.replace("\n", "")


@pytest.mark.parametrize("new", [None, 10**30, [], MARKUP, "x" * 10**6, {"a": 1}])
@pytest.mark.parametrize("key", ["kind", "message", "detail"])
def test_failure_of_strange_words(home: Path, key: str, new: Any) -> None:
    file = failure_of(home)
    file.write_text(json.dumps({**json.loads(file.read_text()), key: new}))
    for command in ("report run", "status run", "status run --json"):
        ended = run_cli(*command.split())
        assert ended.code in (0, 2), ended.err
        assert len(ended.err.splitlines()) <= 1
        assert "\x1b[2J" not in ended.out + ended.err
        assert len(ended.out) < 20_000


DECISION = {
    "after_folds": 1,
    "key": "k",
    "candidate": "c",
    "probability": 0.001,
    "dropped": True,
    "reason": "r",
    "at": "2026-01-01T00:00:00+00:00",
}


def race_of(home: Path) -> Path:
    file = home / "run/racing.json"
    file.write_text(json.dumps({"rule": {}, "decisions": [DECISION]}))
    assert run_cli("report", "run").code == 0
    return file


@pytest.mark.parametrize("damage", sorted(DAMAGED.keys() - {"NaN", "latin-1"}))
@pytest.mark.parametrize("command", ["report run", "status run"])
def test_race(home: Path, command: str, damage: str) -> None:
    file = race_of(home)
    file.write_bytes(DAMAGED[damage](file.read_bytes()))
    refused(home, command, naming="racing.json")


@pytest.mark.parametrize("new", [*VALUES.values(), MARKUP, ...])
@pytest.mark.parametrize("name", DECISION)
def test_decision_of_a_race(home: Path, name: str, new: Any) -> None:
    file = race_of(home)
    result = result_file(home)
    decision = {**DECISION, "key": TrialResult.load(result).spec.candidate.key, name: new}
    result.unlink()  # else nothing of the race is told
    decision = {k: v for k, v in decision.items() if v is not ...}
    file.write_text(json.dumps({"rule": {}, "decisions": [decision]}))
    for command in ("report run", "status run"):
        ended = run_cli(*command.split())
        assert ended.code in (0, 2), ended.err
        assert len(ended.err.splitlines()) <= 1
        assert "\x1b[2J" not in ended.out + ended.err


LEADING_OUT = ["../../../owned", "/etc/passwd", "..", ".", "", "a/b", "a\0b", MARKUP, "x" * 5000]


def own_manifest(home: Path) -> tuple[Path, dict[str, Any]]:
    """The members, to be edited as by someone who means it: nothing says what they were."""
    file = home / "run/ensembles/one/members.json"
    file.with_name("oof_score.json").unlink()
    manifest = json.loads(file.read_text())
    del manifest["seal"]
    return file, manifest


@pytest.mark.parametrize("to", LEADING_OUT)
@pytest.mark.parametrize("key", ["trial", "weights", "sha256"])
@pytest.mark.parametrize("command", [PREDICT, "export run/ensembles/one --out new"])
def test_members_that_lead_out(home: Path, command: str, key: str, to: str) -> None:
    file, manifest = own_manifest(home)
    manifest["members"][0][key] = to
    file.write_text(json.dumps(manifest))
    line = refused(home, command, naming="" if key == "sha256" else "members.json")
    assert "\x1b" not in line


@pytest.mark.parametrize("to", ["/dev/zero", "../../sweep.json", "loop.safetensors"])
def test_weights_that_are_none(home: Path, to: str) -> None:
    file, manifest = own_manifest(home)
    link = file.with_name("link.safetensors")
    link.symlink_to(link if to.startswith("loop") else to)
    manifest["members"][0]["weights"] = link.name
    file.write_text(json.dumps(manifest))
    refused(home, PREDICT, naming=link.name)


def test_scans_of_a_submission_that_lead_in_circles(home: Path) -> None:
    (home / "tiny/train/loop").symlink_to(home / "tiny/train/loop")
    for command in (
        "predict run/ensembles/one --out new.csv",
        "check-submission run/ensembles/one/submission.csv",
    ):
        refused(home, f"{command} --images tiny/train", naming="tiny/train/loop")
