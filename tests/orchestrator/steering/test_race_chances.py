"""What a race says of a candidate's chance, and what it does at its limits."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from scipy.special import stdtr

from gitract_core.errors import RunError
from gitract_core.spec import Candidate
from orchestrator.statistics import CaseSums
from orchestrator.steering.race import Race
from orchestrator.steering.race_rule import RacingRule, decide, table
from orchestrator.sweeps.events import SweepEvent
from orchestrator.sweeps.labels import candidate_labels
from orchestrator.sweeps.preparation import PreparedSweep, SweepRequest, prepare
from search_spaces import SearchSpace
from tests.support.stub_results import write_result
from tests.support.tiny_sweep import KNOBS

N_CASES, DRAWS = 80, 20_000


def two(lead: float, n_folds: int) -> CaseSums:
    """Two candidates on so many folds of 16 cases; their difference spreads by .04 over cases."""
    n = 16 * n_folds
    first = np.full(n, 0.6) + lead
    second = 0.6 + 0.04 * np.tile([-1.0, 1.0], n // 2)
    ones = np.ones((2, n))
    scores = np.stack([first, second])
    values = np.stack([10 * scores, 10 * ones, scores, ones], axis=-1)[:, :, None]
    return CaseSums(("a", "b"), tuple(map(str, range(n))), np.arange(n) // 16, values)


@pytest.mark.parametrize("n_folds", [2, 3, 5, 10])
def test_chance_is_that_of_the_folds_to_come_alone(n_folds: int) -> None:
    """By Student's t, its spread times the root of the share of folds that are yet to come."""
    lead, done = 0.006, 2
    chance = decide(two(lead, done), RacingRule(1, draws=DRAWS), n_folds)[1]
    spread = 0.04 / math.sqrt(15 * done) * math.sqrt(1 - done / n_folds)  # n - 1 in each fold
    expected = stdtr(16 * done - done, -lead / spread) if spread else 0
    assert chance == pytest.approx(expected, abs=0.012)


def test_when_all_folds_are_through_nothing_is_left_to_chance() -> None:
    assert decide(two(0.0005, 5), RacingRule(1), 5).tolist() == [1, 0]
    assert decide(two(-0.0005, 5), RacingRule(1), 5).tolist() == [0, 1]
    assert np.isnan(decide(two(0.0005, 5), RacingRule(2), 5)).all()


def test_the_more_folds_are_to_come_the_better_is_the_chance() -> None:
    chances = [decide(two(0.006, 2), RacingRule(1), folds)[1] for folds in (2, 3, 4, 5, 10)]
    assert chances == sorted(chances)
    assert len(set(chances)) == 5


def test_limits_of_a_rule() -> None:
    assert RacingRule(1, threshold=0.0).threshold == 0
    assert (RacingRule().keep, RacingRule().threshold, RacingRule().draws) == (3, 0.01, 2000)
    for wrong in (1.0, -0.01, 1.5):
        with pytest.raises(RunError, match="racing threshold"):
            RacingRule(1, threshold=wrong)


LOSSES = ("bce", "dice", "bce + dice", "focal")


@pytest.fixture
def sweep(tiny: Path, tmp_path: Path) -> PreparedSweep:
    candidates = tuple(Candidate.from_knobs({**KNOBS, "loss": loss}) for loss in LOSSES)
    return prepare(SweepRequest(tiny, SearchSpace("tiny", "", candidates, 3, 0), tmp_path / "run"))


def started(sweep: PreparedSweep, keep: int = 1) -> Race:
    labels = candidate_labels(sweep.record.candidates)
    return Race(sweep.directory, sweep.specs, RacingRule(keep), labels)


def finish_fold(sweep: PreparedSweep, race: Race, fold: int) -> None:
    for spec in sweep.specs:
        if spec.fold == fold and race.wanted(spec.key):
            write_result(sweep, spec, 0.6)
            race(SweepEvent("finished", trial=spec.key))


def test_who_is_at_the_threshold_goes_on_and_who_is_below_is_dropped(
    sweep: PreparedSweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[int, int]] = []

    def chances(sums: CaseSums, rule: RacingRule, n_folds: int) -> np.ndarray:
        seen.append((len(sums.fold_labels), n_folds))
        return np.array([1.0, 0.01, np.nextafter(0.01, 0), np.nan][: len(sums.names)])

    monkeypatch.setattr("orchestrator.steering.race_judgement.decide", chances)
    race = started(sweep)
    finish_fold(sweep, race, 0)
    assert [c.loss for c in race.racing] == ["bce", "dice", "focal"]
    finish_fold(sweep, race, 1)
    assert [c.loss for c in race.racing] == ["bce", "dice"], "in the order of those who are left"
    finish_fold(sweep, race, 2)
    assert seen == [(1, 3), (2, 3)], "after the last fold there is nothing to decide"
    assert [d.after_folds for d in race.decisions] == [1] * 4 + [2] * 3
    assert [d.dropped for d in race.decisions] == [False, False, True, False, False, False, True]


def test_every_decision_that_drops_is_told_once_and_no_other(
    sweep: PreparedSweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    def last_is_hopeless(sums: CaseSums, rule: RacingRule, n_folds: int) -> np.ndarray:
        return np.array([*[0.5] * (len(sums.names) - 1), 0.0])

    monkeypatch.setattr("orchestrator.steering.race_judgement.decide", last_is_hopeless)
    told: list[SweepEvent] = []
    labels = candidate_labels(sweep.record.candidates)
    race = Race(sweep.directory, sweep.specs, RacingRule(1), labels, told.append)
    for fold in range(3):
        finish_fold(sweep, race, fold)
    assert [event.kind for event in told] == ["dropped", "dropped"]
    assert [event.candidate for event in told] == ["focal", "bce + dice"]
    for event, folds in zip(told, ("1 fold", "2 folds"), strict=True):
        assert event.reason.startswith(f"dropped after {folds}: ")
        assert {spec.candidate.loss for spec in event.specs} == {event.candidate}
        assert len(event.specs) == 3
    assert all(decision.at for decision in race.decisions)


def test_a_table_of_a_race_holds_the_sums_of_each_on_the_same_folds(sweep: PreparedSweep) -> None:
    for spec in sweep.specs:
        write_result(sweep, spec, 0.5 + 0.1 * LOSSES.index(spec.candidate.loss))
    results = {}
    for candidate in sweep.record.candidates:
        found = [sweep.directory.result(s) for s in sweep.specs if s.candidate == candidate]
        results[candidate] = [r for r in found[:2] if r]
    sums = table(results)
    assert sums.names == tuple(c.key for c in sweep.record.candidates)
    assert sums.fold_labels == (0, 1)
    plan = sweep.data.plan
    assert [plan.fold_of_case[c] for c in sums.cases] == sums.folds.tolist()
    assert sums.scores() == pytest.approx([0.5, 0.6, 0.7, 0.8], abs=0.005)


def order_of(race: Race, sweep: PreparedSweep) -> Sequence[tuple[str, int]]:
    return [(s.candidate.loss, s.fold) for s in race.order(sweep.pending)]


def test_trials_are_ordered_fold_by_fold_and_without_the_dropped(sweep: PreparedSweep) -> None:
    race = started(sweep)
    assert order_of(race, sweep) == [(loss, fold) for fold in range(3) for loss in LOSSES]
    race.racing = dict.fromkeys(list(race.racing)[1:])
    assert order_of(race, sweep) == [(loss, fold) for fold in range(3) for loss in LOSSES[1:]]


def test_of_repeated_folds_those_of_the_first_plan_decide(tiny: Path, tmp_path: Path) -> None:
    candidates = tuple(Candidate.from_knobs({**KNOBS, "loss": loss}) for loss in LOSSES[:2])
    space = SearchSpace("tiny", "", candidates, 2, 0)
    sweep = prepare(SweepRequest(tiny, space, tmp_path / "run", repeats=2))
    first, second = (plan.folds_fingerprint for plan in sweep.record.plans)
    race = started(sweep)
    ordered = [(s.folds_fingerprint, s.fold) for s in race.order(sweep.pending)]
    assert ordered == [(plan, fold) for plan in (first, second) for fold in (0, 0, 1, 1)]
    finish_fold(sweep, race, 0)
    assert race.decided == 1
    key = {(s.candidate.loss, s.folds_fingerprint, s.fold): s.key for s in sweep.specs}
    assert {key[loss, first, fold] for loss in LOSSES[:2] for fold in (0,)} == set(race.results)
