"""Files of a run that are damaged or exchanged: no figure comes of them, and they are named.

``docs/files.md`` is the table. ``python -m tests.fuzz.damaged_files`` does it thousands of times.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from gitract_core.prediction.probabilities import write_oof
from tests.bad_input.test_run_files import RESUME
from tests.support.damaged_files import PREDICT, REPORT, result_file
from tests.support.pages import ROOT
from tests.support.refusing import refused, run_cli

Change = Callable[[Path, Path], object]
ENSEMBLE_OF_ONE = "ensemble run --top 1 --device cpu --json"
AUDIT_OF_ONE = "audit run --top 1 --json --pictures 0"


def member(home: Path) -> Path:
    """The directory of the best candidate's first trial."""
    return result_file(home).parent


def other_fold(home: Path) -> Path:
    """The same candidate's other trial."""
    members = json.loads((home / "run/ensembles/one/members.json").read_text())["members"]
    return home / "run/trials" / str(members[1]["trial"])


def exchange(one: Path, other: Path) -> None:
    kept = one.read_bytes()
    shutil.copyfile(other, one)
    other.write_bytes(kept)


def fill(file: Path, value: float) -> None:
    weights = load_file(file)
    for tensor in weights.values():
        if tensor.dtype.kind == "f":
            tensor[...] = value
    save_file(weights, file)


def zeroed_probabilities(file: Path, _: Path) -> None:
    with np.load(file) as store:
        scans = {name: np.zeros_like(store[name]) for name in store.files}
    write_oof(file, scans)


WEIGHTS: dict[str, Change] = {
    "zeroed": lambda file, _: fill(file, 0),
    "NaN": lambda file, _: fill(file, float("nan")),
    "exchanged": exchange,
    "gone": lambda file, _: file.unlink(),
}


@pytest.mark.parametrize("damage", WEIGHTS)
def test_weights(home: Path, damage: str) -> None:
    """Used by nobody; ensembles are made of the other candidate, and say so."""
    file = member(home) / "best.safetensors"
    WEIGHTS[damage](file, other_fold(home) / file.name)
    refused(home, PREDICT, naming=file.name)
    refused(home, f"predict {member(home)} --images tiny/train --out new.csv", naming=file.name)
    refused(home, f"export {member(home)} --out new", naming=file.name)
    ended = run_cli(*ENSEMBLE_OF_ONE.split())
    assert ended.code == 0, ended.err
    said = json.loads(ended.out)
    assert file.name in said["left_out"][0]
    assert said["candidates"][0]["candidate"] != said["left_out"][0].partition(":")[0]
    refused(home, "ensemble run --top 2", naming=file.name)
    verified = run_cli("verify", "run", "--json")
    assert verified.code == 1
    assert any(file.name in fault for fault in json.loads(verified.out)["faults"])


PROBABILITIES: dict[str, Change] = {"zeroed": zeroed_probabilities, "exchanged": exchange}


@pytest.mark.parametrize("damage", PROBABILITIES)
def test_probabilities(home: Path, damage: str) -> None:
    file = member(home) / "oof.npz"
    good = file.read_bytes()
    PROBABILITIES[damage](file, other_fold(home) / file.name)
    for command in (ENSEMBLE_OF_ONE, AUDIT_OF_ONE):
        ended = run_cli(*command.split())
        assert ended.code == 0, ended.err
        assert "oof.npz" in json.loads(ended.out)["left_out"][0]
    assert run_cli("report", "run", "--html", "new.html").code == 0
    assert "oof.npz: expected" in (home / "new.html").read_text()
    assert run_cli("verify", "run").code == 1
    file.unlink()
    (other_fold(home) / file.name).unlink()
    ended = run_cli(*AUDIT_OF_ONE.split())
    assert "left_out" not in json.loads(ended.out), "predicted anew from the weights"
    assert file.read_bytes() != good, "it names its weights"
    assert run_cli("verify", "run").code == 0
    exchange(file, other_fold(home) / file.name)
    assert "oof.npz" in run_cli("verify", "run").out
    assert "oof.npz" in json.loads(run_cli(*AUDIT_OF_ONE.split()).out)["left_out"][0]


@pytest.mark.parametrize("name", ["scores.parquet", "history.csv"])
def test_tables_exchanged(home: Path, name: str) -> None:
    exchange(member(home) / name, other_fold(home) / name)
    assert run_cli("report", "run", "--html", "new.html").code == 0
    assert f"{name}: expected" in (home / "new.html").read_text()
    ended = run_cli("verify", "run", "--json")
    assert ended.code == 1
    assert sum(name in fault for fault in json.loads(ended.out)["faults"]) == 2


def test_an_edited_score_is_not_shown(home: Path) -> None:
    file = result_file(home)
    values = json.loads(file.read_text())
    values["scores"]["score"] = 0.98
    for text in (json.dumps(values), json.dumps(values, indent=1) + "\n"):
        file.write_text(text)
        rows = json.loads(run_cli(*REPORT.split(), "--json").out)["leaderboard"]
        assert all(row["score"] != 0.98 for row in rows)
        assert "result.json: expected digest" in rows[-1]["reason"]
        assert rows[-1]["rank"] is None


@pytest.mark.parametrize("name", ["sweep.json", "folds.json", "digests.json"])
def test_the_record_and_the_folds(home: Path, name: str) -> None:
    file = home / "run" / name
    content = file.read_bytes()
    file.write_bytes(content.replace(b"1", b"2", 1) if name != "folds.json" else content + b" ")
    for command in ("report run", "status run", "compare run 1 2", ENSEMBLE_OF_ONE, RESUME):
        refused(home, command, naming=name)


def test_folds_that_are_gone_are_missed_where_they_are_used(home: Path) -> None:
    (home / "run/folds.json").unlink()
    for command in (ENSEMBLE_OF_ONE, RESUME):
        refused(home, command, naming="folds.json")
    assert run_cli("report", "run").code == run_cli("status", "run").code == 0
    assert "folds.json" in run_cli("verify", "run").out


def test_folds_without_digests_are_those_of_their_fingerprint(home: Path) -> None:
    """As runs of earlier versions have them."""
    (home / "run/digests.json").unlink()
    file = home / "run/folds.json"
    values = json.loads(file.read_text())
    case, fold = next(iter(values["fold_of_case"].items()))
    values["fold_of_case"][case] = 1 - fold
    file.write_text(json.dumps(values))
    for command in ("report run", "status run"):
        refused(home, command, naming="folds.json")


def test_a_sweep_killed_between_the_digests_and_the_record_goes_on(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def kill(*_: object) -> None:
        raise Killed

    before = (home / "run/digests.json").read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr("orchestrator.sweeps.run_digests.write_bytes", kill)
        with pytest.raises(Killed):
            run_cli(*RESUME.split(), "--no-tensorboard")
    assert (home / "run/digests.json").read_bytes() != before
    assert run_cli("report", "run").code == 0
    assert run_cli(*RESUME.split(), "--no-tensorboard").code == 0
    assert run_cli("verify", "run").code == 0


def test_members_and_scores_of_two_ensembles_exchanged(home: Path) -> None:
    run_cli("ensemble", "run", "--top", "2", "--images", "tiny/train", "--device", "cpu")
    one, two = home / "run/ensembles/one", home / "run/ensembles/top2-equal"
    check = f"check-submission {one}/submission.csv --images tiny/train"
    exchange(one / "oof_score.json", two / "oof_score.json")
    refused(home, check, naming="members.json")
    refused(home, PREDICT, naming="members.json")
    exchange(one / "oof_score.json", two / "oof_score.json")
    exchange(one / "members.json", two / "members.json")
    refused(home, check, naming="members.json")
    refused(home, PREDICT, naming="members.json")
    assert run_cli("verify", "run").code == 1
    exchange(one / "members.json", two / "members.json")
    assert run_cli("verify", "run").code == 0
    (one / "submission.csv").write_bytes(
        (two / "submission.csv").read_bytes().replace(b",1 ", b",2 ")
    )
    assert "expected score" not in run_cli(*check.split()).out


def test_an_ensemble_of_a_trial_that_was_made_anew(home: Path) -> None:
    """Its weights may be the same bytes; its result is another."""
    file = result_file(home)
    values = json.loads(file.read_text())
    del values["seal"]
    file.write_text(json.dumps(values))
    ended = run_cli("verify", "run", "--json")
    assert any("members.json: expected" in f for f in json.loads(ended.out)["faults"])


def test_a_new_postprocessing_takes_nothing_over_from_damaged_files(home: Path) -> None:
    for trial in (member(home), other_fold(home)):
        fill(trial / "best.safetensors", 0)
    sweep = (*RESUME.split(), "--no-tensorboard", "--set", "postprocess.threshold=0.4")
    assert run_cli(*sweep).code == 0
    results = [json.loads(f.read_text()) for f in home.glob("run/trials/*/result.json")]
    reused = {r["cost"].get("training_of_trial") for r in results} - {None}
    assert reused
    assert not reused & {member(home).name, other_fold(home).name}


def test_verify_says_what_it_looked_at(home: Path) -> None:
    ended = run_cli("verify", "run")
    assert (ended.code, ended.out) == (0, "run: 4 finished trials, 0 faults\n")
    refused(home, "verify run --scans 1", naming="--images, --scans")
    refused(home, "verify tiny", naming="tiny")
    (home / "run/digests.json").unlink()
    file = result_file(home)
    values = json.loads(file.read_text())
    del values["seal"], values["files"]
    file.write_text(json.dumps(values))
    (home / "run/ensembles/one/members.json").unlink()
    ended = run_cli("verify", "run")
    assert ended.code == 1
    assert "run/ensembles/one/members.json: expected a JSON file" in ended.out
    assert ended.out.endswith(", 1 fault\n")
    shutil.rmtree(home / "run/ensembles/one")
    ended = run_cli("verify", "run")
    assert ended.code == 0
    assert "unverified: run/sweep.json" in ended.out
    assert "4 finished trials, 1 of them unverified (of an earlier version), 0 faults" in ended.out


@pytest.mark.slow
def test_files_damaged_at_random(tmp_path: Path) -> None:
    """A short form of the fuzzer, in a process of its own: it forks one for each command."""
    command = [sys.executable, "-m", "tests.fuzz.damaged_files", "--times", "12", "--seed", "5"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "12 times" in done.stdout
