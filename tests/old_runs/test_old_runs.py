"""Runs, an ensemble and a bundle that commit 5b7b8ca made still serve; nothing is trained again.

What it made lies in ``tests/old_runs``.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from gitract_core.results.trial_result import TrialFiles, TrialResult, read_history
from gitract_core.spec import KNOBS_ALWAYS_HASHED, Candidate, TrialSpec, knob_defaults
from orchestrator.cli import main

MADE = Path(__file__).parent
EXPECTED = json.loads((MADE / "expected.json").read_text())
INTERRUPTED = EXPECTED["uninterrupted"]["trial"]
ENSEMBLE = "finished/ensembles/top2-equal"


@pytest.fixture
def old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the old runs at another place, as the working directory."""
    home = tmp_path / "old"
    shutil.copytree(MADE, home)
    for record in home.glob("*/sweep.json"):
        values = json.loads(record.read_text())
        record.write_text(json.dumps({**values, "data_directory": str(home / "data")}))
    monkeypatch.chdir(home)
    return home


@pytest.fixture
def cli(old: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Run a command in this process; what it says on stdout."""

    def run(*arguments: str) -> str:
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["gitract-cv", *arguments])
        with pytest.raises(SystemExit) as end:
            main()
        said = capsys.readouterr()
        assert end.value.code in (0, None), said.err
        return said.out

    return run


def sweep(name: str, *more: str) -> tuple[str, ...]:
    place = ("--data", "data", "--space", f"{name}.yaml", "--out", name)
    return ("sweep", "--local", *place, "--cpus-per-trial", "1", "--no-tensorboard", *more)


def content(folder: Path) -> dict[str, bytes]:
    files = (f for f in folder.rglob("*") if f.is_file() and f.name != ".lock")
    return {str(f.relative_to(folder)): f.read_bytes() for f in files}


def results(run: Path) -> dict[str, TrialResult]:
    return {f.parent.name: TrialResult.load(f) for f in run.glob("trials/*/result.json")}


def test_the_report_shows_the_scores_of_then(cli: Any) -> None:
    rows = json.loads(cli("report", "finished", "--json"))["leaderboard"]
    for row, then in zip(rows, EXPECTED["leaderboard"], strict=True):
        assert (row["key"], row["candidate"]) == (then["key"], then["candidate"])
        assert row["score"] == pytest.approx(then["score"], rel=1e-9)
        assert row["score_sd"] == pytest.approx(then["score_sd"], rel=1e-9)


def test_the_ensemble_has_the_score_and_the_submission_of_then(old: Path, cli: Any) -> None:
    then = json.loads((MADE / ENSEMBLE / "oof_score.json").read_text())
    shutil.rmtree(old / ENSEMBLE)
    cli("ensemble", "finished", "--top", "2", "--device", "cpu")
    now = json.loads((old / ENSEMBLE / "oof_score.json").read_text())
    for name in ("score", "in_sample", "single", "gain"):
        assert now[name] == pytest.approx(then[name], rel=1e-9)
    name = f"{ENSEMBLE}/submission.csv"
    assert (old / name).read_text() == (MADE / name).read_text()


@pytest.mark.parametrize("members", [ENSEMBLE, "bundle"])
def test_members_predict_the_submission_of_then(old: Path, cli: Any, members: str) -> None:
    cli("predict", members, "--images", "data/test", "--out", "new.csv", "--device", "cpu")
    assert (old / "new.csv").read_text() == (MADE / ENSEMBLE / "submission.csv").read_text()


def test_the_submission_of_then_is_traced_to_its_weights(cli: Any) -> None:
    submission = f"{ENSEMBLE}/submission.csv"
    links = json.loads(cli("verify", submission, "--images", "data/test", "--json"))
    assert links
    assert all(link["ok"] for link in links)


def test_a_finished_sweep_trains_nothing_again(old: Path, cli: Any) -> None:
    before = content(old / "finished/trials")
    cli(*sweep("finished"))
    assert content(old / "finished/trials") == before


def test_a_run_of_then_is_ranked_by_another_score(old: Path, cli: Any) -> None:
    """Dice of volumes follows from the pixels that were counted then."""
    before = content(old / "finished" / "trials")
    rows = json.loads(cli("report", "finished", "--score", "dice", "--json"))["leaderboard"]
    for row in rows:
        folds = []
        for result in results(old / "finished").values():
            if result.spec.candidate.key == row["key"]:
                table = pd.read_parquet(
                    old / "finished/trials" / result.spec.key / "scores.parquet"
                )
                scans = table[table["level"] == "scan"]
                pixels = scans["prediction_px"] + scans["truth_px"]
                dice = (2 * scans["intersection_px"] / pixels)[pixels > 0]
                folds.append(dice.mean())
        assert row["score"] == pytest.approx(sum(folds) / len(folds), abs=1e-12)
    cli(*sweep("finished", "--score", "0.5*dice + 0.5*surface_dice@3mm"))
    assert content(old / "finished" / "trials") == before
    values = json.loads(cli("report", "finished", "--json"))
    assert values["score"]["text"] == "0.5*dice + 0.5*surface_dice@3mm"
    assert [row["dice"] for row in values["leaderboard"]] == pytest.approx(
        [next(r["score"] for r in rows if r["key"] == v["key"]) for v in values["leaderboard"]]
    )


def test_another_postprocessing_takes_over_the_weights_of_then(old: Path, cli: Any) -> None:
    before = content(old / "finished/trials")
    weights = {key: TrialFiles(old / "finished/trials" / key) for key in results(old / "finished")}
    cli(*sweep("finished", "--set", "postprocess.threshold=0.4"))
    after = content(old / "finished/trials")
    assert {name: after[name] for name in before} == before
    new = {k: r for k, r in results(old / "finished").items() if k not in weights}
    assert len(new) == len(weights) == 4
    for key, result in new.items():
        twin = weights.pop(result.cost["training_of_trial"])
        own = TrialFiles(old / "finished/trials" / key)
        assert own.best.read_bytes() == twin.best.read_bytes()


def test_an_interrupted_trial_goes_on_from_its_checkpoint(old: Path, cli: Any) -> None:
    trial = TrialFiles(old / "interrupted/trials" / INTERRUPTED)
    before, (other,) = read_history(trial.history), results(old / "interrupted")
    untouched = content(trial.directory.parent / other)
    assert len(before) == 4
    cli(*sweep("interrupted"))
    records = read_history(trial.history)
    assert records[:4] == before, "not trained again: the seconds are those of then, too"
    then = EXPECTED["uninterrupted"]
    assert [r.loss for r in records] == pytest.approx(then["loss"], rel=1e-2)
    result = results(old / "interrupted")[INTERRUPTED]
    assert result.history["best_epoch"] == then["best_epoch"]
    assert result.scores["score"] == pytest.approx(then["score"], abs=0.02)
    assert content(trial.directory.parent / other) == untouched


def test_more_epochs_go_on_from_the_last_state_of_then(old: Path, cli: Any) -> None:
    short = results(old / "interrupted").popitem()[1]
    before = read_history(old / "interrupted/trials" / short.spec.key / "history.csv")
    cli(*sweep("interrupted", "--set", "training.epochs=7"))
    (long,) = (
        result
        for result in results(old / "interrupted").values()
        if result.spec.fold == short.spec.fold and result.spec.candidate.training.epochs == 7
    )
    records = read_history(old / "interrupted/trials" / long.spec.key / "history.csv")
    assert len(records) == 7
    assert records[: len(before)] == before


def knobs_of_then() -> list[dict[str, Any]]:
    """Every candidate that a file of then names."""
    found = []
    for file in sorted(MADE.rglob("*.json")):
        values = json.loads(file.read_text())
        specs = [values["spec"]] if "spec" in values else values.get("members", [])
        found += [spec["candidate"] for spec in specs]
        found += values.get("candidates", []) if file.name == "sweep.json" else []
    return found


def test_the_knobs_of_then_are_those_that_are_always_hashed() -> None:
    """The frozen list is the one that the keys of old runs were made of."""
    assert knobs_of_then()
    assert all(knobs.keys() == KNOBS_ALWAYS_HASHED for knobs in knobs_of_then())


def test_every_key_of_then_is_the_key_of_now() -> None:
    files = sorted(MADE.glob("*/trials/*/result.json"))
    assert len(files) == 5
    for file in files:
        values = json.loads(file.read_text())
        assert TrialSpec.from_json(values["spec"]).key == values["key"] == file.parent.name
    labels = {row["key"]: row["candidate"] for row in EXPECTED["leaderboard"]}
    of_file = json.loads((MADE / "finished/sweep.json").read_text())["candidates"]
    assert {Candidate.from_knobs(knobs).key: knobs["loss"] for knobs in of_file} == labels


def test_knobs_of_then_keep_their_defaults() -> None:
    """The default of a released knob never changes: files that lack the knob mean the old one."""
    defaults = json.loads((MADE / "defaults.json").read_text())
    assert {n: v for n, v in knob_defaults().items() if n in KNOBS_ALWAYS_HASHED} == defaults
    assert Candidate().key == EXPECTED["default_candidate"]
