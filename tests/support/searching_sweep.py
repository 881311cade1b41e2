"""Sweeps that propose their candidates, on results that are made up in no time."""

from __future__ import annotations

import contextlib
import itertools
import math
from pathlib import Path
from typing import Any

import pytest

from gitract_core.spec import Candidate, TrialSpec
from orchestrator.steering.race import Race
from orchestrator.steering.race_rule import RacingRule
from orchestrator.steering.search import Searching, starters
from orchestrator.steering.tpe import Outcome, propose
from orchestrator.sweeps.events import SweepEvent
from orchestrator.sweeps.labels import candidate_labels
from orchestrator.sweeps.preparation import PreparedSweep, SweepRequest, prepare
from search_spaces import SearchSpace
from search_spaces.search import Search
from tests.support.stub_results import Quality, StubExecutor
from tests.support.tiny_sweep import KNOBS

OPEN: dict[str, Any] = {
    "loss": ["bce", "dice", "bce + dice", "focal"],
    "optimizer.learning_rate": {"loguniform": [1e-5, 1e-1]},
    "augmentation.probability": {"uniform": [0, 1]},
}
BONUS = {"bce": 0.0, "dice": -0.05, "bce + dice": 0.05, "focal": -0.1}


def quality(candidate: Candidate) -> float:
    """Best at a rate of 1e-3 and a probability of .3: .75."""
    rate = math.log10(candidate.optimizer.learning_rate) + 3
    probability = candidate.augmentation.probability - 0.3
    return 0.7 + BONUS[candidate.loss] - 0.05 * rate**2 - 0.3 * probability**2


def search(samples: int, seed: int = 0, **knobs: Any) -> Search:
    return Search.parse({**KNOBS, **(knobs or OPEN)}, samples, seed)


def space(found: Search) -> SearchSpace:
    first = tuple(itertools.islice(found.draws(), found.drawn_first))
    return SearchSpace("tiny", "", first, 2, found.seed, found)


def prepared(data: Path, out: Path, found: Search, **overrides: Any) -> PreparedSweep:
    return prepare(SweepRequest(data, space(found), out, (), tuple(overrides.items())))


def run(sweep: PreparedSweep, of: Quality = quality, **how: Any) -> StubExecutor:
    """The rest of a sweep."""
    executor = StubExecutor(sweep, of, **how)
    course = Searching(sweep, None, lambda event: None)
    with contextlib.suppress(KeyboardInterrupt):
        executor.run(sweep.pending, course, course)
    return executor


def tried(sweep: PreparedSweep) -> list[Candidate]:
    return list(sweep.directory.record().candidates)


def raced(sweep: PreparedSweep, of: Quality = quality, **how: Any) -> tuple[StubExecutor, Race]:
    first = starters(sweep)
    labels = candidate_labels(sweep.record.candidates)
    race = Race(sweep.directory, first, RacingRule(keep=2), labels)
    race.add([s for s in sweep.specs if s not in first])
    executor = StubExecutor(sweep, of, **how)
    course = Searching(sweep, race, lambda event: None)
    with contextlib.suppress(KeyboardInterrupt):
        executor.run(race.order(sweep.pending), course, course)
    return executor, race


def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict[Candidate, Outcome]]:
    """What each proposal to come is made from."""
    seen: list[dict[Candidate, Outcome]] = []

    def spy(of: Search, known: dict[Candidate, Outcome], check: Any) -> Candidate | None:
        seen.append(dict(known))
        return propose(of, known, check)

    monkeypatch.setattr("orchestrator.steering.search.propose", spy)
    return seen


def event(spec: TrialSpec, kind: Any, fault: Any = "") -> SweepEvent:
    return SweepEvent(kind, spec.key, fault=fault)
