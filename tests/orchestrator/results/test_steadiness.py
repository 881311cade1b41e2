"""Trainings that failed, against candidates that are worse, on folds that are made up."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from gitract_core.results.trial_result import TrialResult
from gitract_core.spec import Candidate, TrialSpec
from orchestrator.results.candidate_scores import CandidateScores
from orchestrator.results.steadiness import (
    failed_folds,
    failed_trainings,
    found_nothing,
    never_segments,
    segments_nothing,
    unsteady,
)

MIXED = (0.14, 0.60, 0.22, 0.57, 0.59)
GOOD = (0.58, 0.61, 0.55, 0.57, 0.60)
FIELD = (GOOD, (0.55, 0.60, 0.52, 0.58, 0.57), (0.50, 0.57, 0.49, 0.55, 0.53), (0.6,) * 5)


def result(candidate: Candidate, fold: int, score: float, dice: float | None) -> TrialResult:
    spec = TrialSpec(candidate, fold, 5, 0, "data", "plan")
    scores = {"score": score, "dice": dice, "hausdorff": score}
    return TrialResult(spec, scores, {}, {"best_epoch": 1, "epochs": 1})


def line(place: int, scores: Sequence[float | None], dice: float | None = None) -> CandidateScores:
    """A candidate whose Dice is its score, or ``dice`` on every fold."""
    candidate = Candidate.from_knobs({"training.epochs": place + 1})
    results = (
        None if s is None else result(candidate, f, s, s if dice is None else dice)
        for f, s in enumerate(scores)
    )
    return CandidateScores(candidate, f"candidate {place}", tuple(results))


def run(*rows: Sequence[float | None]) -> list[CandidateScores]:
    return [line(place, row) for place, row in enumerate(rows)]


def looks(lines: Sequence[CandidateScores], place: int, fold: int) -> bool:
    return bool(failed_folds(lines)[place, fold])


def test_a_mixture_of_success_and_failure_is_unsteady_and_its_failures_are_named() -> None:
    lines = run(*FIELD, MIXED)
    assert unsteady(lines) == (lines[-1],)
    assert [looks(lines, 4, fold) for fold in range(5)] == [True, False, True, False, False]
    assert not any(looks(lines, place, fold) for place in range(4) for fold in range(5))


def test_it_is_seen_without_any_other_candidate_too() -> None:
    lines = run(MIXED)
    assert unsteady(lines) == (lines[0],)
    assert [looks(lines, 0, fold) for fold in range(5)] == [True, False, True, False, False]


@pytest.mark.parametrize(
    "low", [(0.14, 0.15, 0.13, 0.16, 0.14), (0.02, 0.06, 0.01, 0.05, 0.03), (0.30,) * 5]
)
def test_steady_low_candidates_are_worse_and_have_not_failed(low: Sequence[float]) -> None:
    lines = run(*FIELD, low)
    assert unsteady(lines) == ()
    assert not any(looks(lines, 4, fold) for fold in range(5))


def test_after_one_training_a_low_score_is_measured_by_the_others_on_its_fold() -> None:
    lines = run(*([row[0]] for row in (*FIELD, MIXED)))
    assert looks(lines, 4, 0)
    assert not looks(lines, 0, 0)
    assert unsteady(lines) == ()  # one training is no mixture


def test_after_a_second_low_training_it_is_a_low_candidate() -> None:
    lines = run(*(row[:2] for row in FIELD), (0.14, 0.16))
    assert not looks(lines, 4, 0)
    assert not looks(lines, 4, 1)


def test_a_fold_that_is_hard_for_all_is_nobody_s_failure() -> None:
    lines = run(*((*row[:4], 0.35 * row[4]) for row in FIELD))
    assert unsteady(lines) == ()
    assert not looks(lines, 0, 4)


def test_where_others_failed_a_success_makes_no_failures_of_the_rest() -> None:
    """The fold's level falls, so that a share of it rises; scores as they are stay alike."""
    rest = ((*row[:4], 0.1) for row in FIELD)
    lines = run(GOOD, *rest)
    assert lines[0] not in unsteady(lines)


def test_a_fold_that_is_not_there_is_left_out() -> None:
    lines = run(*FIELD, (0.14, None, 0.60, None, None))
    assert looks(lines, 4, 0)
    assert unsteady(lines) == (lines[4],)
    assert unsteady([line(0, (None, None))]) == ()
    assert unsteady([]) == ()


def test_a_candidate_that_never_hits_an_organ_segments_nothing_and_is_not_unsteady() -> None:
    """.0295: a few false masks far from all organs earn a Hausdorff score, and no Dice."""
    lines = [*run(*FIELD), line(4, (0.0, 0.0, 0.1475, 0.0, 0.0), dice=0.0)]
    assert [never_segments(each.finished) for each in lines] == [False] * 4 + [True]
    assert all(segments_nothing(r) for r in lines[4].finished)
    assert not never_segments([])


def test_where_there_is_nothing_to_count_nothing_is_right() -> None:
    assert not segments_nothing(result(Candidate(), 0, 0.0, None))
    assert not found_nothing(float("nan"))


def test_a_training_that_segments_nothing_beside_good_ones_failed() -> None:
    lines = run(*FIELD, (0.0, 0.58, 0.55, 0.0, 0.6))
    assert unsteady(lines) == (lines[4],)
    assert looks(lines, 4, 0)
    assert looks(lines, 4, 3)


def test_the_level_of_a_fold_is_that_of_those_who_segment_anything() -> None:
    """Three that segment nothing do not make 0.2 a good score."""
    lines = run(*([row[0]] for row in FIELD), [0.0], [0.0], [0.0], [0.0], [0.0], [0.2])
    assert looks(lines, 9, 0)


@pytest.mark.parametrize(("sd", "most"), [(0.06, 0.001), (0.1, 0.05)])
def test_ordinary_luck_seldom_looks_like_failure(sd: float, most: float) -> None:
    random = np.random.default_rng(0)
    scores = random.normal(0.6, sd, (4000, 5))
    failed = failed_trainings(scores, np.zeros(scores.shape, bool))
    assert failed.any(axis=1).mean() < most
