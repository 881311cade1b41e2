"""The state of a run, read from its files: no contact with the processes that train is needed.

Every file of a trial is either whole or not there, and one of them marks completion. So what is
read while a trial runs is consistent. A running trial holds its lock. This module asks for the lock
shared and releases it at once, which disturbs nobody: a process that is about to start the trial
tries again.
Nothing here loads torch or Ray.
"""

from __future__ import annotations

import dataclasses
import os
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from gitract_core.errors import RunError, one_line, printable
from gitract_core.files.atomic import read_json
from gitract_core.results.trial_result import EpochRecord, TrialResult, read_history
from gitract_core.spec import Candidate, TrialSpec
from orchestrator.results.scored_trials import ScoredTrials
from orchestrator.results.steadiness import found_nothing
from orchestrator.results.time_left import TrialPace, seconds_left
from orchestrator.sweeps import trial_log
from orchestrator.sweeps.added_candidate import AddedCandidate
from orchestrator.sweeps.fold_files import check_folds
from orchestrator.sweeps.going_on import command_to_go_on
from orchestrator.sweeps.labels import candidate_labels, fold_numbers
from orchestrator.sweeps.race_log import dropped
from orchestrator.sweeps.run_directory import SweepDirectory, SweepRecord
from orchestrator.sweeps.run_lock import is_locked

State = Literal[
    "waiting", "running", "stopped", "finished", "failed", "diverged", "dropped", "damaged"
]
STATES: tuple[State, ...] = State.__args__  # type: ignore[attr-defined]
TO_RUN: tuple[State, ...] = ("waiting", "running", "stopped", "damaged")
_DETAIL_LINES = 4


@dataclass(frozen=True, slots=True)
class TrialStatus:
    """One trial.

    Attributes:
        spec: which.
        state: ``waiting``: nothing is there yet; ``running``: a process holds its lock;
            ``stopped``: was begun, and no process runs it; ``finished``; ``failed`` or
            ``diverged``: no attempt is left; ``dropped`` by racing; ``damaged``: its result cannot
            be read, and the next sweep makes it again.
        epoch: epochs done, 0 to ``epochs``.
        dice: of the last epoch, NaN before the first; a finished trial's is the contest's.
        age_seconds: since the last epoch ended, NaN before the first.
        seconds: of all epochs so far.
        score: competition score of the fold, NaN unless finished.
        reason: why there is no score, in one line.
        detail: the last lines of a failed trial's log, of its traceback where it has none.
        log: where everything that it printed is; empty if there is no such file.
        micro_batch: slices at once, if memory ran out and batches were split; else 0.
        validation_parts: the same of validation, whose result does not depend on it.
        alone: whether memory ran out beside others, so that it runs, or ran, alone on a GPU.
    """

    spec: TrialSpec
    state: State
    epoch: int = 0
    dice: float = float("nan")
    age_seconds: float = float("nan")
    seconds: float = 0.0
    score: float = float("nan")
    reason: str = ""
    detail: tuple[str, ...] = ()
    log: str = ""
    micro_batch: int = 0
    validation_parts: int = 0
    alone: bool = False

    @property
    def epochs(self) -> int:
        """The most epochs it may run."""
        return self.spec.candidate.training.epochs

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; knobs are in ``sweep.json``."""
        values = {name: getattr(self, name) for name in self.__slots__ if name != "spec"}
        keys = {"key": self.spec.key, "candidate": self.spec.candidate.key, "fold": self.spec.fold}
        return {**keys, **values, "epochs": self.epochs}


@dataclass(frozen=True)
class AddedStatus:
    """A candidate of another tool.

    Attributes:
        name, origin: see ``AddedCandidate``.
        scored, folds: how many folds have scores, and how many there are.
        fault: what is wrong with its files; empty for nothing.
    """

    name: str
    origin: str
    scored: int
    folds: int
    fault: str = ""


@dataclass(frozen=True)
class RunStatus:
    """A run.

    Attributes:
        directory: its place.
        trials: candidate by candidate, fold by fold.
        labels: of the candidates.
        folds: number of each trial's fold through all plans, by its key.
        at: when it was read, seconds since 1970.
        asked: candidates of the last sweep; trials of others are not waited for.
        to_come: candidates that a search has yet to propose; their trials are not counted.
        command: that goes on; empty where none does.
        left_out: candidates removed since the last sweep, whose command would train them again.
        added: candidates of other tools.
    """

    directory: Path
    trials: tuple[TrialStatus, ...]
    labels: Mapping[Candidate, str] = field(repr=False)
    folds: Mapping[str, int] = field(repr=False)
    at: float
    asked: frozenset[Candidate] = field(repr=False)
    to_come: int = 0
    command: str = ""
    left_out: int = 0
    added: tuple[AddedStatus, ...] = ()

    @property
    def counts(self) -> dict[State, int]:
        """Trials of each state, states without one left out."""
        found = Counter(trial.state for trial in self.trials)
        return {state: found[state] for state in STATES if found[state]}

    @property
    def segment_nothing(self) -> tuple[str, ...]:
        """Labels of the candidates whose finished trials all segment nothing, so far."""
        found: dict[Candidate, bool] = {}
        for trial in self.trials:
            if trial.state == "finished":
                nothing = trial.score == trial.score and found_nothing(trial.dice)
                candidate = trial.spec.candidate
                found[candidate] = found.get(candidate, True) and nothing
        return tuple(self.labels[candidate] for candidate, nothing in found.items() if nothing)

    @property
    def alive(self) -> bool:
        """Whether a process is at a trial right now."""
        return any(trial.state == "running" for trial in self.trials)

    @property
    def seconds_left(self) -> float:
        """Estimated time to the end at the present number of trials at a time; NaN if unknown.

        As ``sweep`` itself says it (``time_left.seconds_left``), of the last sweep's candidates.
        """
        running = sum(trial.state == "running" for trial in self.trials)
        pace = [
            TrialPace(
                trial.spec,
                to_run=trial.state in TO_RUN and trial.spec.candidate in self.asked,
                finished=trial.state == "finished",
                epoch=trial.epoch,
                seconds=trial.seconds,
            )
            for trial in self.trials
        ]
        return seconds_left(pace, at_once=running, to_come=self.to_come)

    @property
    def is_done(self) -> bool:
        """Whether all is done that the last sweep asked for."""
        asked = {t.state for t in self.trials if t.spec.candidate in self.asked}
        return not self.to_come and asked <= {"finished", "dropped"}

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        trials = [
            {
                "label": self.labels[t.spec.candidate],
                **t.to_json(),
                "fold": self.folds[t.spec.key],
            }
            for t in self.trials
        ]
        left = self.seconds_left
        run: dict[str, Any] = {
            "run": str(self.directory),
            "alive": self.alive,
            "seconds_left": left,
        }
        run["candidates_to_come"] = self.to_come
        run["segment_nothing"] = list(self.segment_nothing)
        more = {"added": [dataclasses.asdict(one) for one in self.added]} if self.added else {}
        return {**run, "counts": self.counts, "trials": trials, **more}


def read_status(directory: SweepDirectory) -> RunStatus:
    """The state of every trial of a run; nothing is written, and no writer waits.

    Raises:
        RunError: the run's record, its folds or its log of racing are damaged.
    """
    record = directory.record()
    check_folds(directory, record)
    trials_of_run, left_out = ScoredTrials(directory, record.measure), dropped(directory)
    now = time.time()
    trials = tuple(
        dataclasses.replace(
            _read_trial(spec, trials_of_run, left_out.get(spec.candidate.key), now),
            alone=directory.trial(spec).to_run_alone.is_file(),
        )
        for spec in record.specs()
    )
    labels, folds = candidate_labels(record.candidates), fold_numbers(record.specs())
    return RunStatus(
        directory.path,
        trials,
        labels,
        folds,
        now,
        asked=frozenset(record.last_asked),
        to_come=record.to_come,
        command=command_to_go_on(directory, record),
        left_out=len(record.left_out),
        added=tuple(_read_added(one, trials_of_run, record) for one in directory.added()),
    )


def _read_added(
    candidate: AddedCandidate, trials: ScoredTrials, record: SweepRecord
) -> AddedStatus:
    """How many of its folds can be read."""
    scored, specs, fault = 0, record.specs([candidate]), candidate.fault
    for spec in specs:
        try:
            scored += trials.directory.result(spec) is not None
        except RunError as error:
            fault = fault or str(error)
    return AddedStatus(candidate.name, candidate.origin, scored, len(specs), fault)


def _read_trial(
    spec: TrialSpec, trials: ScoredTrials, left_out: str | None, now: float
) -> TrialStatus:
    files = trials.directory.trial(spec)
    running = is_locked(files.lock)  # before the result: who finishes in between is finished
    result = _read_result(spec, trials)
    if result and not (running and result.state == "damaged"):
        return result
    records, age = _read_epochs(files.history, now)
    dice = records[-1].dice if records else float("nan")
    epochs = (len(records), dice, age, sum(r.seconds for r in records))
    if running:
        return TrialStatus(spec, "running", *epochs)
    failure = _read_failure(files.failure)
    if failure:
        state: State = "diverged" if failure.get("kind") == "diverged" else "failed"
        why = one_line(failure.get("message", "unknown"))
        log = files.directory / trial_log.NAME
        said = trial_log.last_lines(log, _DETAIL_LINES) or _traceback_end(failure)
        lines = tuple(map(printable, said))
        where = str(log) if log.is_file() else ""
        return TrialStatus(spec, state, *epochs, reason=why, detail=lines, log=where)
    if left_out:
        return TrialStatus(spec, "dropped", *epochs, reason=left_out)
    begun = records or files.checkpoint.is_file()  # the latter alone inside the first epoch
    return TrialStatus(spec, "stopped" if begun else "waiting", *epochs)


def _traceback_end(failure: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(str(failure.get("detail", "")).rstrip().splitlines()[-_DETAIL_LINES:])


def _read_result(spec: TrialSpec, trials: ScoredTrials) -> TrialStatus | None:
    file = trials.directory.trial(spec).result
    if not os.path.lexists(file):
        return None
    try:
        result = TrialResult.load(file, spec)
        age = time.time() - file.stat().st_mtime
    except (RunError, OSError) as error:
        return TrialStatus(spec, "damaged", reason=str(error).splitlines()[0])
    try:
        score = trials.under(result).scores["score"]
    except RunError:
        score = None  # there are no sums of the run's score
    micro = int(result.environment.get("micro_batch", 0))
    return TrialStatus(
        spec,
        "finished",
        epoch=int(result.history["epochs"]),
        dice=float(result.scores["dice"] or 0),
        age_seconds=age,
        seconds=float(result.cost.get("seconds", 0)),
        score=float("nan") if score is None else float(score),
        micro_batch=micro if micro < spec.candidate.optimizer.batch_size else 0,
        validation_parts=int(result.environment.get("validation_parts", 0)),
    )


def _read_epochs(history: Path, now: float) -> tuple[list[EpochRecord], float]:
    """The epochs so far and the seconds since the last; none if there is no whole table."""
    try:
        written = history.stat().st_mtime
        records = read_history(history)
    except (OSError, RunError):
        return [], float("nan")
    return records, max(now - written, 0.0) if records else float("nan")


def _read_failure(file: Path) -> dict[str, Any] | None:
    """``failure.json``; None if there is none, or a new attempt removed it just now."""
    try:
        return read_json(file)
    except RunError as error:
        return {"message": str(error)} if os.path.lexists(file) else None
