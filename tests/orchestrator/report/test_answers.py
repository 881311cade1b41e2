"""What the terminal says of margins, knobs, and trainings that failed or found nothing."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from orchestrator.report import leaderboard_view
from orchestrator.report.answers import answer_tables, margin_notes
from orchestrator.report.table import to_terminal
from orchestrator.results.leaderboard import build_leaderboard
from orchestrator.results.steadiness import Trainings
from orchestrator.results.verdict import Verdict, judge
from orchestrator.statistics import analyse
from orchestrator.sweeps.preparation import SweepRequest, prepare
from tests.support.simulated_sweeps import World, simulate
from tests.support.stub_results import write_result
from tests.support.tiny_sweep import tiny_space

LOSSES, DEPTHS = ("bce", "dice", "soft"), (4, 5)
GRID = [(loss, depth) for loss in LOSSES for depth in DEPTHS]


def verdict_of(effects: tuple[float, ...], knobs: dict[str, list[Any]], **how: Any) -> Verdict:
    world = World(effects, n_cases=40, interaction_sd=0.01, training_sd=0.002)
    sums = simulate(world, np.random.default_rng(0))
    found = analyse(sums, costs=[60.0 * d for _, d in GRID], knobs=knobs, draws=300, **how)
    return Verdict(found, len(GRID), len(GRID), Trainings(len(GRID), (), ()))


@pytest.fixture(scope="module")
def verdict() -> Verdict:
    """bce fails at depth 4; elsewhere depth makes no difference."""
    effects = tuple(-0.6 * (row == ("bce", 4)) - 0.4 * (row == ("bce", 5)) for row in GRID)
    knobs = {"loss": [row[0] for row in GRID], "network.depth": [row[1] for row in GRID]}
    return verdict_of(effects, knobs)


def text_of(verdict: Verdict, width: int = 80) -> str:
    console = Console(width=width, record=True, file=io.StringIO())
    for table in answer_tables(verdict):
        console.print(to_terminal(table))
    return console.export_text()


def test_every_level_has_its_figures(verdict: Verdict) -> None:
    text = text_of(verdict)
    loss, depth = verdict.statistics.effects
    assert (loss.knob, depth.knob) == ("loss", "network.depth")
    for effect in (loss, depth):
        for level in effect.levels:
            assert f"{level.mean:.4f}".removeprefix("0") in text
    assert "4 min 30 s" in text  # the mean cost of a loss: depths 4 and 5
    assert "5 min 00 s" in text  # depth 5
    assert max(map(len, text.splitlines())) <= 80


def test_an_effect_of_a_failing_level_and_the_interaction_are_told(verdict: Verdict) -> None:
    text = " ".join(text_of(verdict).split())
    assert "The effect of loss comes from bce, far below the rest" in text
    assert "The effect of network.depth comes from bce, far below the rest" in text
    assert "loss by depth, mean score" in text
    assert "5 over 4 gains 0.1914 more with bce than with soft" in text
    assert "chance alone may explain it" not in text


def test_knobs_that_cannot_be_told_apart_are_named_as_such() -> None:
    knobs = {"loss": [row[0] for row in GRID], "rate": list(range(6))}
    text = text_of(verdict_of((0.0,) * 6, knobs))
    assert "changes with other knobs" in text


def test_nothing_varies_nothing_is_shown() -> None:
    assert answer_tables(verdict_of((0.0,) * 6, {})) == []
    assert answer_tables(None) == []


def test_margins_are_answered_by_rank(verdict: Verdict) -> None:
    said = " ".join(margin_notes(verdict))
    assert "= cannot be told from the first" in said
    assert "no worse than the best by more than 0.005 (by rank)" in said
    assert "no: 5, 6" in said
    unsteady = dataclasses.replace(verdict, trainings=Trainings(6, (), ("candidate 0",)))
    assert "~ unsteady" in margin_notes(unsteady)[-1]
    assert "~" not in said


def test_the_paragraph_begins_with_who_segments_nothing_and_ends_with_who_is_unsteady(
    verdict: Verdict,
) -> None:
    marked = dataclasses.replace(verdict, trainings=Trainings(6, ("a, b", "c"), ("d",)))
    assert marked.in_words.startswith("2 of 6 candidates segment nothing: a, b; c. ")
    assert marked.in_words.endswith("so that its score says little: d.")
    assert "1 candidate is unsteady" in marked.after_nothing
    assert "nothing" not in marked.after_nothing


def test_unsteady_candidates_are_marked_in_the_tables(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Failing on one fold of four, beside three that do not."""
    monkeypatch.setenv("GITRACT_CACHE", str(tmp_path / "cache"))
    changes: list[dict[str, object]] = [{"loss": loss} for loss in ("bce", "dice", "iou", "focal")]
    sweep = prepare(SweepRequest(tiny, tiny_space(*changes, folds=4), tmp_path / "run"))
    for spec in sweep.specs:
        failed = spec.candidate.loss == "focal" and spec.fold == 2
        write_result(sweep, spec, 0.1 if failed else 0.6)
    board = build_leaderboard(sweep.directory)
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(leaderboard_view(board, judge(board)))
    text = console.export_text()
    assert "focal ~" in text
    assert "~ unsteady: some of its trainings failed and others did not" in text
    assert "dice ~" not in text
