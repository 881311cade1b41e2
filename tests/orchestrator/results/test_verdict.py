"""The ranking and what it is worth, as people and programs read it."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from gitract_core.trial.run import run_trial
from orchestrator.report import leaderboard_view, table_rows, write_csv, write_markdown
from orchestrator.results.costs import training_costs
from orchestrator.results.leaderboard import Leaderboard, build_leaderboard
from orchestrator.results.verdict import Verdict, judge
from tests.support.tiny_sweep import prepare_tiny

CHANGES = ({"loss": "bce + dice"}, {"loss": "bce"}, {"loss": "dice", "network.widths": "4,6"})


@pytest.fixture(scope="module")
def board(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Leaderboard:
    """Three candidates on two folds; the third lacks one."""
    sweep = prepare_tiny(tiny, tmp_path_factory.mktemp("verdict") / "run", *CHANGES)
    for spec in sweep.specs:
        if spec.candidate.loss != "dice" or spec.fold == 0:
            run_trial(spec, sweep.data, sweep.directory.trials / spec.key)
    return build_leaderboard(sweep.directory)


@pytest.fixture(scope="module")
def verdict(board: Leaderboard) -> Verdict:
    found = judge(board)
    assert found
    return found


def test_the_verdict_is_on_the_board_s_own_scores(board: Leaderboard, verdict: Verdict) -> None:
    assert [one.name for one in verdict.statistics.candidates] == [c.label for c in board.ranked]
    costs = training_costs(board.ranked, board.lines)
    for line, cost in zip(board.ranked, costs, strict=True):
        one = verdict.of(line)
        assert one
        assert one.score == pytest.approx(line.mean())
        assert one.low <= one.score <= one.high
        assert one.cost == pytest.approx(cost)
    assert verdict.of(board.unranked[0]) is None


@pytest.mark.parametrize("width", [80, 100])
def test_the_view_fits_the_terminal_and_shows_every_figure(
    board: Leaderboard, verdict: Verdict, width: int
) -> None:
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(leaderboard_view(board, verdict))
    text = console.export_text()
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    best = board.ranked[0]
    figures = [best.mean(), best.sd(), *best.folds(), best.mean("dice"), best.mean("hausdorff")]
    figures += [best.organ_mean("stomach", "hausdorff"), best.organ_mean("small_bowel", "dice")]
    for value in figures:
        assert f"{value:.4f}".removeprefix("0") in text
    assert "not ranked" in text
    assert " ".join(verdict.in_words.split()[:8]) in " ".join(text.split())


def test_tables_carry_intervals_and_never_nan(
    board: Leaderboard, verdict: Verdict, tmp_path: Path
) -> None:
    write_csv(board, tmp_path / "a.csv", verdict)
    with (tmp_path / "a.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["rank"] for row in rows] == ["1", "2", ""]
    one = verdict.of(board.ranked[0])
    assert one
    assert float(rows[0]["score_low"]) == pytest.approx(one.low)
    assert rows[2]["score_low"] == ""
    assert "nan" not in (tmp_path / "a.csv").read_text().lower()
    write_markdown(board, tmp_path / "a.md", verdict)
    text = (tmp_path / "a.md").read_text()
    assert text.startswith(verdict.in_words)
    assert "1/2, not ranked" in text
    assert "Knob by knob" in text
    assert [row["no_worse"] for row in rows][2] == ""
    assert {row["unsteady"] for row in rows} == {"False"}
    nothing = {row["candidate"] for row in rows if row["segments_nothing"] == "True"}
    assert nothing == set(verdict.trainings.nothing)
    json.dumps([verdict.to_json()], allow_nan=False)
    plain = table_rows(board, None)
    assert "score_low" not in plain[0]


def test_of_very_many_candidates_the_best_are_compared(
    board: Leaderboard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.results.verdict.MOST_COMPARED", 1)
    found = judge(board)
    assert found
    assert (found.compared, found.ranked) == (1, 2)
    assert "Only the best 1 of 2 candidates were compared." in found.in_words
    assert np.isfinite(found.statistics.candidates[0].score)


def test_a_board_without_ranked_candidates_has_no_verdict(board: Leaderboard) -> None:
    assert judge(Leaderboard(board.record, (), board.unranked)) is None
