"""The files of a run: result, record, folds, members, probabilities, weights, checkpoint."""

from __future__ import annotations

import copy
import io
import json
import pickle
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gitract_core.errors import RunError
from tests.support.damaged_files import (
    DAMAGED,
    PREDICT,
    REPORT,
    VALUES,
    Owning,
    result_file,
)
from tests.support.refusing import refused, run_cli, snapshot, told_or_refused

ENSEMBLE = "ensemble run --top 2 --images tiny/train/case7 --out new.csv"
CHECK = "check-submission run/ensembles/one/submission.csv --images tiny/train"
RESUME = "sweep --local --data tiny --space space.yaml --out run --cpus-per-trial 1"


def file_of(home: Path, name: str) -> Path:
    return result_file(home) if name == "result.json" else home / name


FILES = {
    "result.json": REPORT,
    "run/sweep.json": REPORT,
    "run/folds.json": ENSEMBLE.replace("--top 2", "--top 1"),  # all folds are read for one, too
    "run/ensembles/one/members.json": PREDICT,
    "run/ensembles/one/oof_score.json": CHECK,
}


@pytest.mark.parametrize("damage", DAMAGED)
@pytest.mark.parametrize("name", FILES)
def test_whole_file(home: Path, name: str, damage: str) -> None:
    file = file_of(home, name)
    file.write_bytes(DAMAGED[damage](file.read_bytes()))
    if name != "result.json":
        refused(home, FILES[name], naming=file.name)
        return
    before = snapshot(home)
    ended = run_cli(*REPORT.split(), "--json")
    assert ended.code == 0, ended.err
    (row,) = (row for row in json.loads(ended.out)["leaderboard"] if row["rank"] is None)
    assert str(file.relative_to(home)) in row["reason"]
    assert snapshot(home) == before
    refused(home, ENSEMBLE, naming="candidates with all")  # the other one is not enough
    ensemble = run_cli(*ENSEMBLE.replace("--top 2", "--top 1").split())
    assert ensemble.out.startswith("1 candidate, 2 models"), ensemble.err


def places(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Every place of a JSON value; of lists, and of organs and cases, only the first."""
    yield path
    if isinstance(value, dict):
        alike = all(isinstance(v, dict) for v in value.values()) and path
        for key in list(value)[: 1 if alike else None]:
            yield from places(value[key], (*path, key))
    elif isinstance(value, list) and value:
        yield from places(value[0], (*path, 0))


def changed(value: Any, path: tuple[str | int, ...], new: Any) -> Any:
    """A copy with another value at one place; without it where ``new`` is Ellipsis."""
    made = copy.deepcopy(value)
    at = made
    for step in path[:-1]:
        at = at[step]
    if new is ...:
        del at[path[-1]]
    else:
        at[path[-1]] = new
    return made


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_every_key(home: Path, name: str) -> None:
    """One key at a time: other types, huge numbers, missing. Refused in one line, or no matter."""
    file = file_of(home, name)
    good = json.loads(file.read_text())
    good.pop("seal", None)  # as who edits on purpose would
    (home / "run/digests.json").unlink()
    refusals = 0
    for path in places(good):
        for new in [*VALUES.values(), ...] if path else []:
            file.write_text(json.dumps(changed(good, path, new)))
            command = FILES[name] + (" --json" if name == "result.json" else "")
            ended = told_or_refused(home, command, naming="")
            refusals += ended.code == 2 or '"rank": null' in ended.out
            (home / "new.csv").unlink(missing_ok=True)
    assert refusals > 15


def array_file(array: np.ndarray) -> bytes:
    content = io.BytesIO()
    np.save(content, array, allow_pickle=True)
    return content.getvalue()


def claim(shape: str) -> bytes:
    """An .npy file that claims a shape and holds nothing."""
    header = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode()


def archive(old: Path, content: bytes) -> bytes:
    """An .npz file with the same names and other content."""
    made = io.BytesIO()
    with zipfile.ZipFile(old) as before, zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as after:
        for name in before.namelist():
            after.writestr(name, content)
    return made.getvalue()


def probabilities(file: Path, damage: str, owned: Path) -> bytes:
    """A damaged ``oof.npz``."""
    good = file.read_bytes()
    array = {
        "pickled objects": array_file(np.array([Owning(owned)], dtype=object)),
        "another type": array_file(np.zeros((3, 6, 32, 32))),
        "other axes": array_file(np.zeros(5, np.uint8)),
        "a terabyte claimed": claim("(1024, 1024, 1024, 1024)"),
        "a shape that is none": claim("(-1, 2, 3, 4)"),
        "an array cut short": claim("(3, 6, 32, 32)"),
    }
    if damage in array:
        return archive(file, array[damage])
    whole = {"empty": b"", "cut short": good[: len(good) // 2], "bytes": b"PK\3\4" + bytes(1000)}
    whole["a single array"] = array_file(np.zeros((3, 6, 32, 32), np.uint8))
    return whole[damage]


@pytest.mark.parametrize(
    "damage",
    [
        "empty",
        "cut short",
        "bytes",
        "a single array",
        "pickled objects",
        "another type",
        "other axes",
        "a terabyte claimed",
        "a shape that is none",
        "an array cut short",
    ],
)
def test_probabilities(home: Path, damage: str) -> None:
    file = result_file(home).with_name("oof.npz")
    file.write_bytes(probabilities(file, damage, home / "owned"))
    refused(home, ENSEMBLE, naming="oof.npz")
    assert not (home / "owned").exists()


def test_weights(home: Path) -> None:
    """The manifest's SHA-256 is a first guard; here it is passed, as who forges would."""
    trial = result_file(home).parent
    weights, owned = trial / "best.safetensors", home / "owned"
    good = weights.read_bytes()
    header = json.loads(good[8 : 8 + struct.unpack("<Q", good[:8])[0]])
    first = next(name for name in header if name != "__metadata__")
    bent = {**header, first: {**header[first], "shape": [2**40, 2**40]}}
    other = {**header, "more": header[first]}
    variants = {
        "empty": b"",
        "cut short": good[: len(good) // 2],
        "a pickle": pickle.dumps(Owning(owned)),
        "a header of a terabyte": struct.pack("<Q", 2**40) + good[8:],
        "a shape of a yottabyte": with_header(bent, good),
        "one tensor more": with_header(other, good),
    }
    for content in variants.values():
        weights.write_bytes(content)
        refused(home, f"predict {trial} --images tiny/train --out new.csv", naming=weights.name)
        assert not owned.exists()


def with_header(header: dict[str, Any], old: bytes) -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + old[8 + struct.unpack("<Q", old[:8])[0] :]


@pytest.mark.parametrize("damage", ["pickled object", "pickled module", "plain pickle", "empty"])
def test_checkpoint_runs_no_code_and_the_trial_starts_anew(home: Path, damage: str) -> None:
    trial, owned = result_file(home).parent, home / "owned"
    before = (trial / "best.safetensors").read_bytes()
    (trial / "result.json").unlink()
    (trial / "last.pt").unlink(missing_ok=True)
    checkpoint = trial / "checkpoint.pt"
    if damage == "pickled object":
        torch.save({"network": Owning(owned)}, checkpoint)
    elif damage == "pickled module":
        torch.save(torch.nn.Linear(2, 2), checkpoint)
    else:
        checkpoint.write_bytes(pickle.dumps(Owning(owned)) if "plain" in damage else b"")
    assert run_cli(*RESUME.split()).code == 0
    assert not owned.exists()
    assert (trial / "best.safetensors").read_bytes() == before


def test_the_owning_pickle_would_have_worked(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(Owning(tmp_path / "owned")))
    assert (tmp_path / "owned").exists()


def test_a_run_that_is_none(home: Path) -> None:
    for name in ("tiny", "missing", "space.yaml"):
        refused(home, f"report {name}", naming=name)
        refused(home, f"status {name}", naming=name)


def test_errors_stay_short() -> None:
    error = RunError("x" * 10**6, "y\n" * 10**5, b"z" * 10**6, "w")
    assert len(str(error)) < 2500
    assert "\n" not in str(error)
