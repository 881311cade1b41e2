"""The state of a search: it proposes candidates while others train."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from statistics import fmean

from gitract_core.errors import RunError
from gitract_core.spec import Candidate, TrialSpec
from gitract_core.training.checking import check_candidate
from orchestrator.results.scored_trials import ScoredTrials, UnscoredError
from orchestrator.steering.race import Race
from orchestrator.steering.tpe import Outcome, propose
from orchestrator.sweeps.events import Listener, SweepEvent
from orchestrator.sweeps.labels import candidate_labels
from orchestrator.sweeps.preparation import PreparedSweep
from orchestrator.sweeps.run_directory import SweepRecord
from search_spaces.search import Search

_SAYS_IT_IS_BAD = ("diverged", "memory")  # faults that lie in the candidate


class Searching:
    """Proposes a candidate whenever a slot is free; a ``Course`` for ``Executor.run``.

    A candidate is in ``sweep.json`` before the first of its trials is given out: what a killed
    sweep has proposed is known to the next one, which trains it and goes on.

    Args:
        sweep: with a search.
        race: drops candidates, if there is one; told all that is told here.
        tell: takes an event ``proposed`` for every new candidate.
    """

    def __init__(
        self,
        sweep: PreparedSweep,
        race: Race | None,
        tell: Listener,
    ) -> None:
        assert sweep.search
        self.directory, self.search, self.race = sweep.directory, sweep.search, race
        self.tell, self.scored = tell, ScoredTrials(sweep.directory)
        self.to_come = sweep.record.to_come
        self.trials: dict[Candidate, list[TrialSpec]] = {}
        self.spec_of: dict[str, TrialSpec] = {}
        self.scores: dict[str, float] = {}
        self.faults: dict[str, str] = {}
        asked = {spec.candidate for spec in sweep.specs}
        order = [c for c in sweep.record.candidates if c in asked]
        self._enter(sweep.record.specs(order))

    def wanted(self, key: str) -> bool:
        """Whether no race dropped the trial's candidate."""
        return self.race is None or self.race.wanted(key)

    def more(self) -> Sequence[TrialSpec]:
        """The trials of the next candidate; none once all are proposed."""
        while self.to_come:
            left = [spec for spec in self._propose() if spec.key not in self.scores]
            if left:
                return left
        return ()

    def _propose(self) -> Sequence[TrialSpec]:
        """Propose a candidate, write it down, then tell the others."""
        known = {candidate: self._outcome(candidate) for candidate in self.trials}
        candidate = propose(self.search, known, check_candidate)
        self.to_come = self.to_come - 1 if candidate else 0
        record = self.directory.record()  # another sweep may have added its own
        if candidate:
            record = record.with_proposed(candidate)
        self.directory.write(dataclasses.replace(record, to_come=self.to_come))
        specs = record.specs([candidate] if candidate else [])
        self._enter(specs)
        if candidate:  # told first: the race may drop it at once
            label = candidate_labels(tuple(self.trials))[candidate]
            self.tell(SweepEvent("proposed", candidate=label, specs=tuple(specs)))
        if self.race and specs:
            self.race.add(specs)
        return specs

    def __call__(self, event: SweepEvent) -> None:
        """Take in one event."""
        if self.race:
            self.race(event)
        if event.kind == "finished":
            self._read(self.spec_of[event.trial])
        elif event.kind == "failed":
            self.faults[event.trial] = event.fault

    def _enter(self, specs: Sequence[TrialSpec]) -> None:
        for spec in specs:
            self.trials.setdefault(spec.candidate, []).append(spec)
            self.spec_of[spec.key] = spec
            self._read(spec)

    def _read(self, spec: TrialSpec) -> None:
        """A trial's score: NaN where its fold has nothing to score."""
        try:
            result = self.scored.result(spec)
        except UnscoredError:
            self.faults[spec.key] = "error"  # of an earlier sweep, by another score
            return
        except RunError:
            return  # damaged: the next sweep makes it again
        if result:
            score = result.scores["score"]
            self.scores[spec.key] = float("nan") if score is None else float(score)

    def _outcome(self, candidate: Candidate) -> Outcome:
        """A candidate's score is the mean over all folds with something to score, or none."""
        keys = [spec.key for spec in self.trials[candidate]]
        scores = [self.scores[key] for key in keys if key in self.scores]
        counted = [score for score in scores if score == score]
        mean = fmean(counted) if counted else float("nan")
        if len(scores) == len(keys):
            return Outcome("finished" if mean == mean else "failed", mean, len(keys))
        faults = {self.faults[key] for key in keys if key in self.faults}
        if faults.intersection(_SAYS_IT_IS_BAD):
            return Outcome("dropped")
        if faults:
            return Outcome("failed")
        if not self.wanted(keys[0]) and mean == mean:
            return Outcome("dropped", mean, len(scores))
        return Outcome("running")


def starters(sweep: PreparedSweep) -> list[TrialSpec]:
    """The trials that are there from the start: all of them, or those that a search drew first."""
    if sweep.search is None:
        return list(sweep.specs)
    first = set(sweep.search.inside(sweep.record.candidates)[: sweep.search.drawn_first])
    return [spec for spec in sweep.specs if spec.candidate in first]


def stand_ins(search: Search | None, record: SweepRecord) -> list[TrialSpec]:
    """Trials at random in the place of those that a search has yet to propose."""
    if search is None or not record.to_come:
        return []
    draws = search.draws(without=record.candidates)
    return record.specs([c for c, _ in zip(draws, range(record.to_come), strict=False)])


def foreseen(checked: PreparedSweep) -> PreparedSweep:
    """A sweep with random candidates in the place of those to come, to plan with."""
    extra = stand_ins(checked.search, checked.record)
    candidates = dict.fromkeys((*checked.record.candidates, *(s.candidate for s in extra)))
    return dataclasses.replace(
        checked,
        record=dataclasses.replace(checked.record, candidates=tuple(candidates)),
        specs=[*checked.specs, *extra],
        pending=[*checked.pending, *extra],
    )
