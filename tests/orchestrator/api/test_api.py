"""The Python API on a small run: what it gives, and that it is what the commands say."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

import orchestrator
import orchestrator.cli
from gitract_core.errors import DataError, GitractError, RunError
from orchestrator import Run, SweepEvent
from tests.support.tiny_sweep import SPACE

ROOT = Path(__file__).resolve().parents[3]
KNOBS = {**yaml.safe_load(SPACE), "training": {"epochs": 2}}
SPACE_OF_FOUR = {
    **KNOBS,
    "network": {"widths": "4,8", "depth": 1},
    "optimizer": {**KNOBS["optimizer"], "weight_decay": [0.0, 0.5]},
}
EVENTS: list[SweepEvent] = []


@pytest.fixture(scope="module")
def run(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Four candidates on two folds, trained through the API by a space that is a dictionary."""
    folder = tmp_path_factory.mktemp("api")
    EVENTS.clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GITRACT_CACHE", str(folder / "cache"))
        return orchestrator.sweep(
            tiny,
            SPACE_OF_FOUR,
            folder / "run",
            local=True,
            progress=False,
            tensorboard=False,
            on_event=EVENTS.append,
        )


@pytest.fixture(autouse=True)
def cache_of_the_run(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITRACT_CACHE", str(run.path.parent / "cache"))


def test_every_epoch_and_end_is_told(run: Run) -> None:
    kinds = [event.kind for event in EVENTS]
    assert (kinds.count("epoch"), kinds.count("finished")) == (4 * 2 * 2, 4 * 2)
    first = next(event for event in EVENTS if event.kind == "epoch")
    assert first.epoch == 1
    assert {"loss", "dice", "train_loss"} <= set(first.metrics)
    assert (run.directory.trials / first.trial / "result.json").is_file()
    ends = [event.metrics["score"] for event in EVENTS if event.kind == "finished"]
    table = run.leaderboard()
    assert sorted(ends) == sorted(table[["split0_test_score", "split1_test_score"]].to_numpy().flat)


def test_the_leaderboard_is_that_of_the_command(run: Run) -> None:
    table = run.leaderboard()
    given = json.loads(_report_json(run))["leaderboard"]
    assert list(table["candidate"]) == [row["candidate"] for row in given]
    assert np.allclose(table["mean_test_score"], [row["score"] for row in given])
    assert list(table["rank_test_score"]) == [1, 2, 3, 4]
    assert sorted(table["letter"]) == ["A", "B", "C", "D"]
    folds = table[["split0_test_score", "split1_test_score"]]
    assert np.allclose(folds.mean(axis=1), table["mean_test_score"])
    assert np.allclose(folds.std(axis=1, ddof=1), table["std_test_score"])
    assert set(table["param_optimizer.weight_decay"]) == {0.0, 0.5}


def _report_json(run: Run) -> str:
    code = "from orchestrator.cli import main; main()"
    command = [sys.executable, "-c", code, "report", str(run.path), "--json"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout


def test_letters_are_in_the_order_of_the_record(run: Run) -> None:
    record = run.directory.record()
    assert [line.candidate for line in run.letters.values()] == list(record.candidates)


def test_a_comparison_is_the_difference_of_means_and_turns_its_sign(run: Run) -> None:
    table = run.leaderboard().set_index("letter")
    a, b = run.compare("A", "B").iloc[0], run.compare("B", "A").iloc[0]
    expected = table.loc["A", "mean_test_score"] - table.loc["B", "mean_test_score"]
    assert a["difference"] == pytest.approx(expected)
    assert a["low"] <= a["difference"] <= a["high"] or np.isnan(a["low"])
    assert b["difference"] == pytest.approx(-a["difference"])
    assert a["why_no_interval"] == b["why_no_interval"]
    assert (a["pairs"], a["folds"]) == (1, 2)
    same = run.compare(1, 1).iloc[0]
    assert same["difference"] == 0.0


def test_values_of_a_knob_are_compared_over_the_other_knobs(run: Run) -> None:
    row = run.compare("optimizer.weight_decay=0.5", "optimizer.weight_decay=0").iloc[0]
    table = run.leaderboard()
    means = table.groupby("param_optimizer.weight_decay")["mean_test_score"].mean()
    assert row["pairs"] == 2
    assert row["difference"] == pytest.approx(means[0.5] - means[0.0])


@pytest.mark.parametrize(
    ("a", "b", "words"),
    [
        ("1", "9", "expected a rank from 1 to 4, got 9"),
        ("A", "Q", "a letter or a label"),
        ("loss=bce", "A", "KNOB=VALUE on both sides"),
        ("loss=bce", "loss=dice", "differ in loss alone"),
        ("los=bce", "los=dice", "expected a knob, got los"),
        ("loss=bce", "optimizer.weight_decay=0", "two values of loss"),
    ],
)
def test_wrong_sides_are_one_line(run: Run, a: str, b: str, words: str) -> None:
    with pytest.raises(RunError) as error:
        run.compare(a, b)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_history_is_tidy(run: Run) -> None:
    history = run.history()
    assert len(history) == 4 * 2 * 2
    assert list(history.columns[:4]) == ["candidate", "letter", "fold", "epoch"]
    assert not history.duplicated(["letter", "fold", "epoch"]).any()


def first_scan(run: Run) -> str:
    return run.directory.data(run.directory.record()).cache(32).index.scans[0]


def test_out_of_fold_masks_are_those_that_were_scored(run: Run) -> None:
    scan = first_scan(run)
    found = run.out_of_fold(scan, "A")
    assert found.masks.shape == found.truth.shape
    assert found.masks.dtype == bool
    assert 0 <= found.probabilities.min() <= found.probabilities.max() <= 1
    spec = run.letters["A"].results[found.fold].spec  # type: ignore[union-attr]
    plan = json.loads(run.directory.folds_file.read_text())["fold_of_case"]
    assert plan[scan.removeprefix("case").partition("_")[0]] == spec.fold
    with pytest.raises(DataError):
        run.out_of_fold("case0_day0")


def test_an_ensemble_predicts_what_its_submission_says(
    run: Run, tiny: Path, tmp_path: Path
) -> None:
    from gitract_core.data import rle

    made = run.ensemble(top=2)
    assert made.score.score == pytest.approx(made.score.score)
    masks = made.predict(tiny / "train")
    file = made.submission(tmp_path / "submission.csv", images=tiny / "train")
    rows = pd.read_csv(file).fillna("")
    scan = next(iter(masks))
    said = rows[rows["id"].str.startswith(f"{scan}_slice")]["predicted"]
    assert len(said) == masks[scan].shape[0] * masks[scan].shape[1]
    texts = [rle.encode(masks[scan][c, z]) for z in range(masks[scan].shape[1]) for c in range(3)]
    assert list(said) == texts
    with pytest.raises(KeyError):
        masks["case0_day0"]


def test_the_same_call_trains_nothing_again(run: Run, tiny: Path) -> None:
    before = {p: p.stat().st_mtime_ns for p in run.directory.trials.rglob("*") if p.is_file()}
    heard: list[SweepEvent] = []
    again = orchestrator.sweep(
        tiny, SPACE_OF_FOUR, run.path, local=True, progress=False, on_event=heard.append
    )
    assert heard == []
    after = {p: p.stat().st_mtime_ns for p in run.directory.trials.rglob("*") if p.is_file()}
    assert before == after
    assert again.leaderboard().equals(run.leaderboard())


def test_a_notebook_shows_table_and_intervals_and_runs_nothing(run: Run) -> None:
    html = run._repr_html_()
    assert html.count("<tr") == 1 + 4
    assert html.count("<circle") == 4
    assert "<script" not in html
    assert "http" not in html.replace("http://www.w3.org/2000/svg", "")


def test_errors_are_those_of_the_commands(tmp_path: Path, tiny: Path) -> None:
    with pytest.raises(GitractError, match="expected a folder"):
        orchestrator.sweep(tmp_path / "nothing", out=tmp_path / "run", progress=False)
    with pytest.raises(GitractError, match="did you mean 'paper'"):
        orchestrator.sweep(tiny, space="papr", out=tmp_path / "run", progress=False)
    with pytest.raises(RunError, match=r"sweep\.json"):
        orchestrator.open_run(tmp_path)
    with pytest.raises(TypeError, match="fold"):
        orchestrator.sweep(tiny, fold=3)
    assert not (tmp_path / "run").exists()


def test_the_import_is_light_and_the_function_stays_a_function() -> None:
    code = (
        "import sys, orchestrator\n"
        "print([m for m in ('torch', 'ray', 'pandas', 'numpy') if m in sys.modules])\n"
        "import orchestrator.cli, orchestrator.sweeps\n"
        "print(callable(orchestrator.sweep), sorted(dir(orchestrator)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    light, names = done.stdout.splitlines()
    assert light == "[]"
    assert names == "True ['Run', 'SweepEvent', '__version__', 'open_run', 'sweep']"


def test_the_page_about_python_runs(
    run: Run, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its code blocks, one after another, with a small data set in place of the contest's."""
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "docs/python.md").read_text()
    blocks = [part.split("```")[0] for part in text.split("```python\n")[1:]]
    assert len(blocks) == 3
    names = {
        '"uw-madison"': repr(str(tiny)),
        'space="paper"': f"space={SPACE_OF_FOUR!r}, out={str(run.path)!r}, local=True",
        "race=True, ": "",
        '"runs/paper"': repr(str(run.path)),
        'exclude=["faulty"]': "exclude=[]",
        '"case123_day20"': repr(first_scan(run)),
        '"scans"': repr(str(tiny / "train")),
        "tune=True": "tune=False",
    }
    space: dict[str, object] = {}
    for block in blocks:
        for old, new in names.items():
            block = block.replace(old, new)
        exec(compile(block, "docs/python.md", "exec"), space)
    assert Path("submission.csv").is_file()
