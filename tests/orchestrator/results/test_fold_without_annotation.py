"""A fold without annotation: false positives in it never help, and nothing is ranked on nothing."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from gitract_core.metrics import COMPETITION
from gitract_core.results.trial_result import TrialResult
from gitract_core.spec import Candidate, TrialSpec
from orchestrator.report import leaderboard_view
from orchestrator.results.candidate_scores import CandidateScores
from orchestrator.results.leaderboard import Leaderboard, ranked_board
from orchestrator.results.verdict import Verdict, case_sums, judge
from orchestrator.sweeps.run_directory import SweepRecord

Fold = Mapping[str, tuple[float, float]]
"""Of each case how much is right, 0 to 1, and how many rows there are of it: slices and scans."""
EMPTY: Fold = {"c1": (0.0, 0), "c2": (0.0, 0)}
FALSE_POSITIVES: Fold = {"c1": (0.0, 2), "c2": (0.0, 0)}


def annotated(value: float, first: int) -> Fold:
    return {f"c{first}": (value, 10), f"c{first + 1}": (value - 0.02, 10)}


def line(name: str, *folds: Fold) -> CandidateScores:
    candidate = Candidate.from_knobs({"loss": name})
    results = [
        result(TrialSpec(candidate, f, len(folds), 0, "d", "p"), folds[f])
        for f in range(len(folds))
    ]
    return CandidateScores(candidate, name, tuple(results))


def result(spec: TrialSpec, fold: Fold) -> TrialResult:
    per_case = {}
    for case, (value, rows) in fold.items():
        sums = (value * rows, float(rows), value * rows, float(rows))
        per_case[case] = {n: [s, 0, 0] for n, s in zip(COMPETITION.columns, sums, strict=True)}
    total = np.sum([[v[0] for v in sums.values()] for sums in per_case.values()], axis=0)
    figures = {n: None if v != v else float(v) for n, v in COMPETITION.by_mean(total).items()}
    score = COMPETITION.of(total)
    scores: dict[str, object] = {
        **figures,
        "score": None if score != score else float(score),
        "per_class": {},
    }
    history = {"best_epoch": 1, "epochs": 1, "at_best": {}, "best": {}}
    cost = {"seconds": 1.0, "peak_memory_bytes": 1}
    return TrialResult(spec, scores, per_case, history, cost, {"parameters": 1})


def board(*lines: CandidateScores) -> Leaderboard:
    candidates, folds = tuple(c.candidate for c in lines), len(lines[0].results)
    return ranked_board(SweepRecord(candidates, folds, "p", 0, Path(), "d"), lines)


def text_of(found: Leaderboard, verdict: Verdict | None = None) -> str:
    text = io.StringIO()
    Console(width=200, file=text).print(leaderboard_view(found, verdict))
    return text.getvalue()


def test_false_positives_lose_against_a_rightly_empty_prediction() -> None:
    good = annotated(0.6, 3), annotated(0.5, 5)
    found = board(line("dice", FALSE_POSITIVES, *good), line("bce", EMPTY, *good))
    assert [c.label for c in found.ranked] == ["bce", "dice"]
    right, wrong = found.ranked
    assert right.mean() == pytest.approx((0.59 + 0.49) / 2)
    assert wrong.mean() == pytest.approx((0.59 * 20 / 22 + 0.49) / 2)
    assert np.isnan(right.folds()[0])
    assert wrong.folds()[0] == 0


def test_false_positives_cost_as_much_as_other_wrong_rows_do() -> None:
    """Some of them do not outweigh a much better segmentation of what is there."""
    better = line("dice", FALSE_POSITIVES, annotated(0.8, 3), annotated(0.8, 5))
    worse = line("bce", EMPTY, annotated(0.4, 3), annotated(0.4, 5))
    assert [c.label for c in board(worse, better).ranked] == ["dice", "bce"]


def test_statistics_are_about_the_figure_that_ranks() -> None:
    good = annotated(0.6, 3), annotated(0.5, 5)
    found = board(line("dice", FALSE_POSITIVES, *good), line("bce", EMPTY, *good))
    sums = case_sums(found.ranked, 3)
    assert sums.fold_scores().mean(axis=1) == pytest.approx([c.mean() for c in found.ranked])
    assert len(sums.cases) == 6
    verdict = judge(found)
    assert verdict
    assert [one.name for one in verdict.statistics.candidates] == ["bce", "dice"]


def test_the_report_says_so() -> None:
    good = annotated(0.6, 3), annotated(0.5, 5)
    found = board(line("dice", FALSE_POSITIVES, *good), line("bce", EMPTY, *good))
    text = text_of(found, judge(found))
    assert "fold 0 has nothing to score for some candidates: its scans count with fold 1" in text


def test_nobody_is_ranked_where_nothing_is_annotated() -> None:
    found = board(
        line("bce", EMPTY, {"c3": (0.0, 0)}), line("dice", FALSE_POSITIVES, {"c3": (0.0, 1)})
    )
    assert found.ranked == ()
    assert {c.reasons for c in found.unranked} == {("no annotation to score against",)}


def test_one_annotated_fold_is_ranked_without_a_verdict() -> None:
    found = board(
        line("dice", FALSE_POSITIVES, annotated(0.6, 3)), line("bce", EMPTY, annotated(0.6, 3))
    )
    assert [c.label for c in found.ranked] == ["bce", "dice"]
    assert judge(found) is None
    assert "no intervals: fewer than two folds have something to score" in text_of(found)


def test_folds_that_all_have_something_stay_as_they_are() -> None:
    found = board(
        line("bce", annotated(0.6, 1), annotated(0.5, 3)),
        line("dice", annotated(0.7, 1), annotated(0.5, 3)),
    )
    assert [c.mean() for c in found.ranked] == [np.mean(c.folds()) for c in found.ranked]
