"""The state of a race: it tells the executor which trials are still to run."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence

from gitract_core.errors import RunError
from gitract_core.results.trial_result import TrialResult
from gitract_core.spec import Candidate, TrialSpec
from orchestrator.results.scored_trials import ScoredTrials, UnscoredError
from orchestrator.steering.race_judgement import judge, keep_levels
from orchestrator.steering.race_rule import Decision, RacingRule, write_log
from orchestrator.sweeps.events import Listener, SweepEvent
from orchestrator.sweeps.labels import candidate_labels
from orchestrator.sweeps.race_log import reason_in_words
from orchestrator.sweeps.run_directory import SweepDirectory


class Race:
    """Takes in events, decides after each fold; a ``Course`` for ``Executor.run``.

    Args:
        directory: where results are read and the log is written.
        specs: all trials of the sweep, finished ones included. Where folds are repeated, those of
            the first plan decide, and the other plans are for who is left.
        rule: when to drop.
        labels: of the candidates, for the log.
        tell: takes an event ``dropped`` for every decision that drops a candidate.
    """

    def __init__(
        self,
        directory: SweepDirectory,
        specs: Sequence[TrialSpec],
        rule: RacingRule,
        labels: Mapping[Candidate, str],
        tell: Listener = lambda event: None,
    ) -> None:
        self.directory, self.rule, self.labels, self.tell = directory, rule, labels, tell
        self.trials = ScoredTrials(directory)
        self.first = specs[0].folds_fingerprint
        self.first_plan = [s for s in specs if s.folds_fingerprint == self.first]
        self.specs = {(s.candidate, s.fold): s for s in self.first_plan}
        self.candidate_of = {s.key: s.candidate for s in specs}
        self.judged: dict[Candidate, int] = {}  # latecomers: after how many folds
        self.folds = sorted({s.fold for s in specs})
        self.racing = dict.fromkeys(s.candidate for s in specs)  # in their order
        self.results: dict[str, TrialResult] = {}
        self.failed: set[str] = set()
        self.decided = 0
        self.decisions: list[Decision] = []
        for spec in self.first_plan:
            self._read(spec)
        self._advance()

    def add(self, specs: Sequence[TrialSpec]) -> None:
        """Latecomers: candidates that a search proposes while others are further on.

        Nobody waits for them, so each is judged alone, as soon as it has finished a fold, against
        every candidate that has finished the same folds; those of the start race among themselves.
        As more finish, that chance only falls: who was dropped stays dropped in a resumed race.
        """
        for spec in specs:
            self.candidate_of[spec.key] = spec.candidate
            self.judged.setdefault(spec.candidate, 0)
            if spec.folds_fingerprint == self.first:
                self.first_plan.append(spec)
                self.specs[spec.candidate, spec.fold] = spec
                self._read(spec)
        self.racing |= dict.fromkeys(spec.candidate for spec in specs)
        self.labels = candidate_labels(self._everyone())
        self._judge_latecomers()

    def order(self, pending: Sequence[TrialSpec]) -> list[TrialSpec]:
        """Trials fold by fold, plan by plan, in the given order inside a fold."""
        first = {s.key for s in self.first_plan}
        later = {s.key: s.key not in first for s in pending}
        wanted = (s for s in pending if self.wanted(s.key))
        return sorted(wanted, key=lambda s: (later[s.key], s.fold))

    def wanted(self, key: str) -> bool:
        """Whether the trial's candidate is still racing."""
        return self.candidate_of[key] in self.racing

    def more(self) -> Sequence[TrialSpec]:
        """None: a race thinks of no further candidates."""
        return ()

    def __call__(self, event: SweepEvent) -> None:
        """Take in one event."""
        if event.kind == "failed":
            self.failed.add(event.trial)
        elif event.kind == "finished":
            candidate = self.candidate_of[event.trial]
            for fold in self.folds:
                if self.specs[candidate, fold].key == event.trial:
                    self._read(self.specs[candidate, fold])
        if event.kind in ("finished", "failed"):
            self._advance()
            self._judge_latecomers()

    def _read(self, spec: TrialSpec) -> None:
        try:
            result = self.trials.result(spec)
        except UnscoredError:
            self.failed.add(spec.key)  # of an earlier sweep, by another score
        except RunError:
            pass  # damaged: the next sweep makes it again
        else:
            if result is not None:
                self.results[spec.key] = result

    def _advance(self) -> None:
        """Decide after every fold that is through; after the last there is nothing to decide."""
        while self.decided < len(self.folds) - 1 and self._is_through(self.folds[self.decided]):
            self.decided += 1
            starters = self._starters()
            self._take(self._decide(self.folds[: self.decided], set(starters), starters))

    def _everyone(self) -> tuple[Candidate, ...]:
        return tuple(dict.fromkeys(self.candidate_of.values()))

    def _starters(self) -> list[Candidate]:
        return [c for c in self.racing if c not in self.judged]

    def _judge_latecomers(self) -> None:
        """Those that are through everything have nothing left to be spared."""
        for candidate in [c for c in self.racing if c in self.judged]:
            while candidate in self.racing and not self._has(candidate, self.folds):
                done = self.judged[candidate]
                if done == len(self.folds) - 1 or not self._is_over(candidate, self.folds[done]):
                    break
                self.judged[candidate] += 1
                self._take(self._decide(self.folds[: done + 1], [candidate], self._everyone()))

    def _take(self, new: Sequence[Decision]) -> None:
        self.decisions = write_log(self.directory, self.rule, [*self.decisions, *new])
        gone = {d.key for d in new if d.dropped}
        self.racing = {c: None for c in self.racing if c.key not in gone}
        for decision in self.decisions[-len(new) :] if new else ():
            if decision.dropped:
                self.tell(self._event(decision))

    def _event(self, decision: Decision) -> SweepEvent:
        probability = None if math.isnan(decision.probability) else decision.probability
        why = reason_in_words(decision.after_folds, decision.reason, probability)
        specs = tuple(s for s in self.specs.values() if s.candidate.key == decision.key)
        return SweepEvent(
            "dropped", candidate=decision.candidate, reason=f"dropped {why}", specs=specs
        )

    def _is_through(self, fold: int) -> bool:
        return all(self._is_over(c, fold) for c in self._starters())

    def _is_over(self, candidate: Candidate, fold: int) -> bool:
        key = self.specs[candidate, fold].key
        return key in self.results or key in self.failed

    def _has(self, candidate: Candidate, folds: Sequence[int]) -> bool:
        return all(self.specs[candidate, fold].key in self.results for fold in folds)

    def _decide(
        self, folds: Sequence[int], judged: Collection[Candidate], field: Sequence[Candidate]
    ) -> list[Decision]:
        """Decisions on some candidates, by the folds that they and a field have finished."""
        done, decisions = len(folds), list[Decision]()
        alive: dict[Candidate, list[TrialResult]] = {}
        for candidate in field:
            if self._has(candidate, folds):
                alive[candidate] = [self.results[self.specs[candidate, f].key] for f in folds]
            elif candidate in judged:
                label, why = self.labels[candidate], "a fold failed"
                decisions.append(Decision(done, candidate.key, label, float("nan"), True, why))
        if not alive.keys() & set(judged):
            return decisions
        every = judge(alive, self.rule, len(self.folds), score=self.trials.score)
        failed = {d.key for d in decisions}
        racing = [c for c in self.racing if c.key not in failed]
        found = keep_levels({c: j for c, j in every.items() if c in judged}, racing, self.rule)
        return decisions + [
            Decision(done, c.key, self.labels[c], j.probability, j.dropped, j.reason)
            for c, j in found.items()
        ]
