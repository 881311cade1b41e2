from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gitract_core.errors import RunError
from gitract_core.files.atomic import read_json, write_json
from gitract_core.results.trial_result import TrialFiles, TrialResult
from gitract_core.spec import TrialSpec
from orchestrator.execution.executor import Waiting
from orchestrator.results.leaderboard import build_leaderboard
from orchestrator.results.status import read_status
from orchestrator.statistics import CaseSums
from orchestrator.steering.race import Race
from orchestrator.steering.race_rule import RacingRule, decide, revive
from orchestrator.sweeps.events import SweepEvent
from orchestrator.sweeps.labels import candidate_labels
from orchestrator.sweeps.preparation import PreparedSweep, SweepRequest, prepare
from orchestrator.sweeps.race_log import dropped, log_file
from tests.support.simulated_sweeps import World, simulate
from tests.support.tiny_sweep import prepare_tiny, tiny_space

LOSSES = ("bce", "dice", "bce + dice", "soft_dice", "focal")
QUALITY = dict(zip(LOSSES, (0.75, 0.74, 0.70, 0.42, 0.40), strict=True))


def first_folds(sums: CaseSums, count: int) -> CaseSums:
    inside = sums.folds < count
    cases = tuple(c for c, i in zip(sums.cases, inside, strict=True) if i)
    return CaseSums(sums.names, cases, sums.folds[inside], sums.values[:, inside])


class FakeExecutor:
    """Writes results of known quality; notes what it was asked to run.

    Args:
        fail, fail_from: a loss whose trials fail, from a fold on.
        cases: so many cases a fold, instead of the data set's.
        ends_at: a fold before whose first end everything ends.
    """

    def __init__(
        self,
        sweep: PreparedSweep,
        fail: str = "",
        fail_from: int = 0,
        cases: int = 0,
        ends_at: int | None = None,
    ) -> None:
        self.sweep, self.fail, self.fail_from = sweep, fail, fail_from
        self.cases, self.ends_at = cases, ends_at
        self.started: list[TrialSpec] = []
        self.stopped: list[TrialSpec] = []

    def run(self, pending: Sequence[TrialSpec], race: Race) -> None:
        """Two slots, each with the next wanted trial; the second one lags an event behind."""
        waiting, running = Waiting(pending, race), list[TrialSpec]()
        while True:
            while len(running) < 2 and (spec := waiting.next()):
                running.append(spec)
                self.started.append(spec)
            if not running:
                return
            spec = running.pop(0)
            if spec.fold == self.ends_at:
                raise KeyboardInterrupt
            if not race.wanted(spec.key):
                self.stopped.append(spec)
                race(SweepEvent("stopped", spec.key))
            elif spec.candidate.loss == self.fail and spec.fold >= self.fail_from:
                race(SweepEvent("failed", spec.key))
            else:
                self._write(spec)
                race(SweepEvent("finished", spec.key))

    def finish(self, specs: Sequence[TrialSpec]) -> None:
        for spec in specs:
            self._write(spec)

    def _write(self, spec: TrialSpec) -> None:
        random = np.random.default_rng([spec.fold, LOSSES.index(spec.candidate.loss)])
        plan = self.sweep.data.plan.fold_of_case
        cases = [100 * (spec.fold + 1) + n for n in range(self.cases)] or [
            case for case, fold in plan.items() if fold == spec.fold
        ]
        per_case = {}
        for case in cases:
            value = QUALITY[spec.candidate.loss] + random.normal(0, 0.01)
            sums = {"dice_sum": 30 * value, "dice_rows": 30.0}
            sums |= {"hausdorff_sum": 2 * value, "hausdorff_volumes": 2.0}
            per_case[str(case)] = {name: [total] * 3 for name, total in sums.items()}
        scores = {"score": QUALITY[spec.candidate.loss], "dice": 0.5, "hausdorff": 0.5}
        history = {"best_epoch": 1, "epochs": 1, "at_best": {}, "best": {}}
        files = TrialFiles(self.sweep.directory.trials / spec.key)
        cost = {"seconds": 1.0, "peak_memory_bytes": 1}
        TrialResult(spec, scores, per_case, history, cost, {"parameters": 1}).save(files.result)


@pytest.fixture
def sweep(tiny: Path, tmp_path: Path) -> PreparedSweep:
    return prepare_tiny(tiny, tmp_path / "run", *({"loss": loss} for loss in LOSSES))


def race(sweep: PreparedSweep, executor: FakeExecutor, keep: int = 2) -> Race:
    labels = candidate_labels(sweep.record.candidates)
    made = Race(sweep.directory, sweep.specs, RacingRule(keep), labels)
    pending = [s for s in sweep.specs if not sweep.directory.trial(s).is_finished()]
    executor.run(made.order(pending), made)
    return made


def of_fold(specs: Sequence[TrialSpec], fold: int) -> set[str]:
    return {s.candidate.loss for s in specs if s.fold == fold}


def test_hopeless_candidates_stop_or_never_start_and_no_slot_waits(sweep: PreparedSweep) -> None:
    executor = FakeExecutor(sweep)
    race(sweep, executor)
    assert [s.fold for s in executor.started[:5]] == [0] * 5
    early = executor.started[5]
    assert early.fold == 1, "started while the last trial of fold 0 ran"
    left = of_fold(executor.started, 1) - of_fold(executor.stopped, 1)
    assert left >= {"bce", "dice"}
    assert not left & {"soft_dice", "focal"}
    log = json.loads(log_file(sweep.directory).read_text())
    gone = {d["candidate"] for d in log["decisions"] if d["dropped"]}
    assert gone == set(LOSSES) - left
    assert all(d["probability"] < 0.01 for d in log["decisions"] if d["dropped"])
    assert all(d["at"].endswith("+00:00") for d in log["decisions"])


def test_a_trial_that_started_early_is_stopped_when_its_candidate_is_dropped(
    sweep: PreparedSweep,
) -> None:
    executor = FakeExecutor(sweep)
    worst_first = dataclasses.replace(sweep, specs=sweep.specs[::-1])
    race(worst_first, executor)
    assert [s.candidate.loss for s in executor.stopped] == ["focal"]


def test_the_report_says_why_and_a_sweep_without_racing_revives_them(sweep: PreparedSweep) -> None:
    executor = FakeExecutor(sweep)
    race(sweep, executor)
    board = build_leaderboard(sweep.directory)
    reasons = {line.label: line.reasons for line in board.unranked}
    assert reasons["focal"][0].startswith("dropped by racing after 1 fold: probability")
    left = [s for s in sweep.specs if not sweep.directory.trial(s).result.is_file()]
    assert {s.fold for s in left} == {1}
    before = read_json(log_file(sweep.directory))
    assert read_status(sweep.directory).counts["dropped"] == len(left)
    revive(sweep.directory, {s.candidate for s in left})
    assert read_status(sweep.directory).counts["waiting"] == len(left)
    after = read_json(log_file(sweep.directory))
    assert (after["rule"], len(after["earlier"])) == (before["rule"], len(left))
    assert len(after["earlier"] + after["decisions"]) == len(before["decisions"])
    executor.finish(left)
    assert len(build_leaderboard(sweep.directory).ranked) == len(LOSSES)


def test_a_resumed_race_runs_nothing_twice_and_decides_alike(sweep: PreparedSweep) -> None:
    executor = FakeExecutor(sweep)
    race(sweep, executor)
    before, ran = log_file(sweep.directory).read_text(), len(executor.started)
    race(sweep, executor)
    assert len(executor.started) == ran
    assert log_file(sweep.directory).read_text() == before, "the times too"


def test_a_candidate_with_a_failed_fold_leaves_the_race(sweep: PreparedSweep) -> None:
    executor = FakeExecutor(sweep, fail="dice")
    race(sweep, executor)
    assert "dice" not in {s.candidate.loss for s in executor.started if s.fold == 1} - of_fold(
        executor.stopped, 1
    )
    assert "a fold failed" in " ".join(dropped(sweep.directory).values())


def test_never_fewer_than_asked_for_are_kept() -> None:
    sums = simulate(World(effects=(0.0, -0.5, -0.6), n_cases=40), np.random.default_rng(0))
    assert np.isnan(decide(first_folds(sums, 1), RacingRule(3), 5)).all()
    probabilities = decide(first_folds(sums, 1), RacingRule(1), 5)
    assert probabilities[0] == 1
    assert (probabilities[1:] < 0.01).all()


def test_one_of_the_best_is_rarely_dropped_from_the_first_fold_on() -> None:
    """Candidates that differ by about two thirds of a percent: the true best three survive."""
    rule, lost, races = RacingRule(3, draws=400), 0, 40
    for seed in range(races):
        random = np.random.default_rng(seed)
        effects = random.normal(0, 0.02, 10)
        sums = simulate(World(effects=tuple(effects)), random)
        alive = list(range(10))
        for done in range(1, 5):
            found = decide(first_folds(sums.take(alive), done), rule, 5)
            alive = [c for c, p in zip(alive, found, strict=True) if not p < rule.threshold]
        lost += int(np.argmax(effects)) not in alive
    assert lost <= 2


def test_a_damaged_log_and_senseless_rules_are_told(sweep: PreparedSweep) -> None:
    log_file(sweep.directory).write_text('{"decisions": [{}]}')
    with pytest.raises(RunError, match=r"racing\.json"):
        dropped(sweep.directory)
    with pytest.raises(RunError, match="--race-keep"):
        RacingRule(0)


class Clock:
    """A minute later at every look."""

    minutes = 0

    @classmethod
    def now(cls, zone: tzinfo) -> datetime:
        cls.minutes += 1
        return datetime(2026, 1, 1, tzinfo=zone) + timedelta(minutes=cls.minutes)


def logged(sweep: PreparedSweep, name: str = "decisions") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(log_file(sweep.directory).read_text())[name]
    return found


def test_a_race_killed_and_resumed_keeps_every_time_and_reason(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed after three folds, and again while it decides anew what it had decided before."""
    monkeypatch.setattr("orchestrator.steering.race_rule.datetime", Clock)
    space = tiny_space(*({"loss": loss} for loss in LOSSES), folds=4)
    sweep = prepare(SweepRequest(tiny, space, tmp_path / "run"))
    with pytest.raises(KeyboardInterrupt):
        race(sweep, FakeExecutor(sweep, fail="dice", fail_from=1, cases=6, ends_at=3))
    before = logged(sweep)
    assert {d["after_folds"] for d in before} == {1, 2, 3}
    assert len({d["at"] for d in before}) == 3, "a time for each fold"
    assert any(d["dropped"] and d["after_folds"] == 2 for d in before)

    writes = 0

    def killing(path: Path, value: object, *, seal: bool) -> None:
        nonlocal writes
        write_json(path, value, seal=seal)
        writes += 1
        if writes == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr("orchestrator.steering.race_rule.write_json", killing)
    with pytest.raises(KeyboardInterrupt):
        race(sweep, FakeExecutor(sweep, fail="dice", fail_from=1, cases=6))
    assert {d["after_folds"] for d in logged(sweep)} == {1}
    race(sweep, FakeExecutor(sweep, fail="dice", fail_from=1, cases=6))
    assert logged(sweep) == before
    assert not logged(sweep, "earlier")


def test_what_a_race_decides_otherwise_now_is_dated_anew_and_the_old_is_kept(
    sweep: PreparedSweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.steering.race_rule.datetime", Clock)
    race(sweep, FakeExecutor(sweep, fail="focal"))
    before = logged(sweep)
    race(sweep, FakeExecutor(sweep))
    now = {d["key"]: d for d in logged(sweep)}
    (old,) = [d for d in before if d["candidate"] == "focal"]
    assert "failed" in old["reason"]
    assert "probability" in now[old["key"]]["reason"]
    assert old["at"] < now[old["key"]]["at"]
    assert logged(sweep, "earlier") == [old]
    assert "probability" in dropped(sweep.directory)[old["key"]]
