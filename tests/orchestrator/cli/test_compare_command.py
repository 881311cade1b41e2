"""``gitract-cv compare``: two candidates, two values of a knob, two runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from gitract_core.errors import RunError
from gitract_core.spec import Candidate
from orchestrator.api.comparison import compare
from orchestrator.cli.main import app
from orchestrator.results.leaderboard import build_leaderboard
from orchestrator.sweeps.preparation import PreparedSweep, SweepRequest, prepare
from tests.support.stub_results import write_result
from tests.support.tiny_contest import write_tiny_contest
from tests.support.tiny_sweep import tiny_space

CHANGES: list[dict[str, object]] = [
    {"loss": loss, "optimizer.weight_decay": decay}
    for loss in ("bce", "dice")
    for decay in (0.0, 0.5)
]


def score(candidate: Candidate) -> float:
    """Dice is .1 better than bce without weight decay, and .3 with it."""
    return 0.5 + (candidate.loss == "dice") * (0.3 if candidate.optimizer.weight_decay else 0.1)


def stub_run(tiny: Path, out: Path, *, shift: float = 0.0, folds: int = 2) -> PreparedSweep:
    sweep = prepare(SweepRequest(tiny, tiny_space(*CHANGES, folds=folds), out))
    for spec in sweep.specs:
        write_result(sweep, spec, score(spec.candidate) + shift)
    return sweep


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of 12 patients, fewer of whom are too few to say."""
    folder = tmp_path_factory.mktemp("compare")
    tiny = write_tiny_contest(folder / "data", tuple((30 + n, 0, 36, 36, 4) for n in range(8)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GITRACT_CACHE", str(folder / "cache"))
        stub_run(tiny, folder / "run")
        stub_run(tiny, folder / "again", shift=-0.05)
        stub_run(tiny, folder / "others", folds=4)
    return folder / "run"


def asked(*arguments: object) -> dict[str, Any]:
    done = CliRunner().invoke(app, ["compare", *map(str, arguments), "--json"])
    assert done.exit_code == 0, done.output
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_two_values_of_a_knob_are_paired_over_the_other_knobs(run: Path) -> None:
    found = asked(run, "loss=dice", "loss=bce")
    assert {"difference", "low", "high", "p", "pairs"} <= set(found)
    assert found["pairs"] == 2
    assert found["difference"] == pytest.approx(0.2, abs=0.01)
    assert found["low"] < found["difference"] < found["high"]
    assert sorted(one["difference"] for one in found["each"]) == pytest.approx([0.1, 0.3], abs=0.01)
    turned = asked(run, "loss=bce", "loss=dice")
    assert turned["difference"] == pytest.approx(-found["difference"])
    assert turned["p"] == found["p"] < 0.01


@pytest.mark.parametrize("sides", [("1", "2"), ("D", "B"), ("dice, weight decay 0.5", "B")])
def test_candidates_go_by_rank_letter_and_label(run: Path, sides: tuple[str, str]) -> None:
    found = asked(run, *sides)
    assert found["a"] == "dice, weight decay 0.5"
    assert found["pairs"] == 1
    expected = {"dice, weight decay 0": 0.2, "bce, weight decay 0.5": 0.3}[found["b"]]
    assert found["difference"] == pytest.approx(expected, abs=0.01)


def test_a_knob_goes_by_its_last_name_too(run: Path) -> None:
    whole = asked(run, "optimizer.weight_decay=0.5", "optimizer.weight_decay=0")
    assert (
        asked(run, "weight_decay=0.5", "optimizer.weight_decay=0")["difference"]
        == whole["difference"]
    )
    board = build_leaderboard(prepared_directory(run))
    with pytest.raises(RunError, match=r"write optimizer\.name or|expected a knob"):
        compare(board, "no_such=1", "no_such=2")


def prepared_directory(run: Path) -> Any:
    from orchestrator.sweeps.run_directory import SweepDirectory

    return SweepDirectory(run)


def test_the_same_candidates_of_two_runs(run: Path) -> None:
    found = asked(run, "--with", run.parent / "again")
    assert found["pairs"] == 4
    assert found["difference"] == pytest.approx(0.05, abs=1e-9)
    one = asked(run, "C", "--with", run.parent / "again")
    assert (one["pairs"], one["each"][0]["a"]) == (1, f"{run}: dice, weight decay 0")
    with_itself = asked(run, "--with", run)
    assert with_itself["difference"] == 0
    assert with_itself["low"] <= 0 <= with_itself["high"]


def test_it_says_what_the_difference_is_worth_and_lists_the_pairs(run: Path) -> None:
    text = CliRunner().invoke(app, ["compare", str(run), "loss=dice", "loss=bce"]).stdout
    said = " ".join(text.split())
    assert "loss=dice scores 0.2" in said
    assert "more than loss=bce" in said
    assert "2 pairs of candidates, 12 patients in 2 folds" in said
    assert "dice, weight decay 0.5 bce, weight decay 0.5 +." in said
    less = CliRunner().invoke(app, ["compare", str(run), "2", "1"]).stdout
    assert " less than dice, weight decay 0.5" in " ".join(less.split())


def test_too_few_patients_give_no_interval_as_in_the_report(tiny: Path, tmp_path: Path) -> None:
    stub_run(tiny, tmp_path / "run")
    found = asked(tmp_path / "run", "loss=dice", "loss=bce")
    assert (found["low"], found["high"], found["p"]) == (None, None, None)
    assert found["difference"] == pytest.approx(0.2, abs=0.01)
    shown = CliRunner().invoke(app, ["compare", str(tmp_path / "run"), "1", "2"]).stdout
    said = " ".join(shown.split())
    reason = "with fewer than 10 patients there are too few to say whether that is more than chance"
    assert found["why_no_interval"] == reason
    assert f"; {reason}. paired over 4 patients in 2 folds" in said
    report = CliRunner().invoke(app, ["report", str(tmp_path / "run")]).stdout
    assert reason.replace("patients", "cases") in " ".join(report.split())
    assert " p " not in said


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["{run}"], "got neither"),
        (["{run}", "1"], "got 1 alone"),
        (["{run}", "1", "2", "--with", "{run}"], "A or nothing beside --with"),
        (["{run}", "--with", "{others}"], "two runs on the same folds"),
        (["{run}", "weight_decay=0.5", "loss=bce"], "two values of optimizer.weight_decay"),
    ],
)
def test_wrong_use_is_one_line(run: Path, arguments: list[str], words: str) -> None:
    names = {"run": run, "others": run.parent / "others"}
    done = CliRunner().invoke(app, ["compare", *(a.format(**names) for a in arguments)])
    assert isinstance(done.exception, RunError)
    assert words in str(done.exception)
    assert "\n" not in str(done.exception)
