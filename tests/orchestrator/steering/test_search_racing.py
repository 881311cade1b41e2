"""Racing among candidates that are proposed one after another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from orchestrator.results.leaderboard import build_leaderboard
from orchestrator.statistics import CaseSums
from orchestrator.steering.race_rule import RacingRule, decide
from orchestrator.sweeps.preparation import SweepRequest, prepare
from orchestrator.sweeps.race_log import dropped
from tests.support.searching_sweep import asked, prepared, quality, raced, search, space, tried


def test_latecomers_race_on_the_folds_that_others_have_finished(tiny: Path, tmp_path: Path) -> None:
    sweep = prepared(tiny, tmp_path / "run", search(20))
    executor, _ = raced(sweep)
    assert sweep.search
    late = tried(sweep)[sweep.search.drawn_first :]
    gone = dropped(sweep.directory)
    best = sorted(tried(sweep), key=quality)[-2:]
    assert not {c.key for c in best} & gone.keys()
    of_late = [c for c in late if c.key in gone]
    assert of_late, "some of them were dropped"
    started = {(s.candidate, s.fold) for s in executor.started}
    for candidate in of_late:
        assert (candidate, 1) not in started
        beaten = [c for c in tried(sweep) if quality(c) > quality(candidate)]
        assert len(beaten) >= 2
    assert len(executor.started) < 40


def test_starters_race_among_themselves_and_a_latecomer_against_all_who_are_that_far(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables: list[tuple[str, ...]] = []

    def spy(sums: CaseSums, rule: RacingRule, n_folds: int) -> Any:
        tables.append(sums.names)
        return decide(sums, rule, n_folds)

    monkeypatch.setattr("orchestrator.steering.race_judgement.decide", spy)
    sweep = prepared(tiny, tmp_path / "run", search(20))
    first = {spec.candidate.key for spec in sweep.specs}
    _, race = raced(sweep, slots=24)  # more than the starters need
    assert set(tables[0]) == first
    judged = [d.key for d in race.decisions]
    assert len(judged) == len(set(judged)), "once each: there are two folds"
    for names in tables[1:]:
        assert first < set(names), "also those that are dropped by now"
    assert any(decision.dropped and decision.key in first for decision in race.decisions)


def test_who_was_dropped_stays_dropped_in_a_resumed_race(tiny: Path, tmp_path: Path) -> None:
    gone: set[str] = set()
    for most in (13, 5, 4, 100, 0):
        sweep = prepared(tiny, tmp_path / "run", search(15))
        raced(sweep, most=most)
        now = dropped(sweep.directory).keys()
        assert gone <= now
        gone = set(now)
    assert len(tried(sweep)) == 15
    assert gone


def test_dropped_candidates_are_told_as_pruned(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = asked(monkeypatch)
    sweep = prepared(tiny, tmp_path / "run", search(20))
    raced(sweep)
    gone = dropped(sweep.directory)
    told = {c.key: o for c, o in seen[-1].items() if o.state == "dropped"}
    assert told.keys() == gone.keys() & {c.key for c in seen[-1]}
    assert all(o.folds == 1 and o.score == o.score for o in told.values())


def test_every_plan_of_a_repeated_cross_validation_counts(tiny: Path, tmp_path: Path) -> None:
    """A score is the mean over the folds of all plans; the first plan's folds decide a race."""
    request = SweepRequest(tiny, space(search(8)), tmp_path / "run", repeats=2)
    sweep = prepare(request)
    assert sweep.trials_to_come == 4 * (8 - 3)
    executor, _ = raced(sweep)
    assert len(tried(sweep)) == 8
    gone = dropped(sweep.directory)
    for candidate in tried(sweep):
        started = {s.key for s in executor.started if s.candidate == candidate}
        assert candidate.key in gone or len(started) == 4
    board = build_leaderboard(sweep.directory)
    assert {line.candidate.key for line in board.unranked} == gone.keys()
