"""A run directory: what was asked for, the folds, and one directory a trial.

::

    RUN/sweep.json      candidates, data and fold fingerprints, seed, versions, command
    RUN/folds.json      case -> fold, with the audit; folds-2.json ... of further repeats
    RUN/digests.json    of those two, see ``run_digests``
    RUN/registration.json  what was decided before anything trained; see registration
    RUN/trials/<key>/   see gitract_core.results.trial_result.TrialFiles
    RUN/report/         tables
    RUN/ensembles/      one directory an ensemble
    RUN/added/          one directory a candidate of another tool; see added_files
    RUN/plugins/        a copy of each plugin, named by its hash; never executed from here
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NotRequired, TypedDict

from gitract_core import __version__
from gitract_core.data.gray import FIRST_GRAY
from gitract_core.errors import GitractError, RunError, one_line
from gitract_core.files.atomic import json_bytes, parse_json, read_json
from gitract_core.files.json_shapes import Meta
from gitract_core.metrics.score import CONTEST_SCORE, Mixture
from gitract_core.metrics.score_expression import parse_score
from gitract_core.organs import CONTEST, Organs
from gitract_core.results.trial_result import TrialFiles, TrialResult
from gitract_core.spec import Candidate, TrialSpec, refuse_newer_knobs
from orchestrator.sweeps.added_candidate import AddedCandidate
from orchestrator.sweeps.added_files import added_candidates, added_trial, read_scored
from orchestrator.sweeps.run_digests import read_noted, write_noted

if TYPE_CHECKING:
    from gitract_core.data.folds import FoldPlan
    from gitract_core.data.slices import SliceIndex
    from gitract_core.trial.data import TrialData

_FORMAT = 1
_LATER_LISTS = ("asked", "removed", "left_out")
_LATER = (*_LATER_LISTS, "patients", "gray", "score")
MOST_REPEATS = 100


class _Repeat(TypedDict):
    seed: Annotated[int, Meta(ge=0, le=2**32)]
    folds_fingerprint: str


class _Record(TypedDict):
    """What is read of ``sweep.json``."""

    format: Literal[1]
    candidates: Annotated[list[dict[str, str | int | float]], Meta(min_length=1)]
    n_folds: Annotated[int, Meta(ge=2, le=10_000)]
    folds_fingerprint: str
    seed: Annotated[int, Meta(ge=0, le=2**31)]
    data_directory: str
    data_fingerprint: Annotated[str, Meta(pattern="^[0-9A-Za-z_-]{1,64}$")]
    exclude: list[str]
    spaces: list[str]
    commands: list[str]
    created: str
    version: str
    to_come: NotRequired[Annotated[int, Meta(ge=0, le=10_000)]]
    repeats: NotRequired[Annotated[list[_Repeat], Meta(max_length=MOST_REPEATS)]]
    organs: NotRequired[Annotated[list[str], Meta(min_length=1, max_length=10_000)]]
    asked: NotRequired[list[str]]
    left_out: NotRequired[list[str]]
    removed: NotRequired[list[Annotated[int, Meta(ge=0, le=10**6)]]]
    pairs: NotRequired[list[list[str]]]
    patients: NotRequired[str | None]
    gray: NotRequired[str]
    score: NotRequired[Annotated[str, Meta(max_length=500)]]


@dataclass(frozen=True)
class Repeat:
    """The whole cross-validation once more, with another seed and other folds."""

    seed: int
    folds_fingerprint: str


@dataclass(frozen=True)
class SweepRecord:
    """What ``sweep.json`` holds.

    Attributes:
        candidates: settings, in the order of the space; a later sweep into the same directory
            adds its own.
        n_folds, folds_fingerprint, seed: the folds, and the seed of every trial.
        data_directory, data_fingerprint, exclude: the data set.
        spaces: names of the spaces that were swept.
        commands: command lines, oldest first.
        created: when, in UTC.
        version: of this package.
        repeats: further fold plans; their folds are numbered on from those of the first.
        to_come: candidates that a search has yet to propose.
        organs: those of the data set; files that name none are of the contest.
        asked: keys of the candidates of the last sweep; empty where it asked for all, or for files
            that do not say it.
        removed: places, from 0, in the order of first appearance, of candidates that are not among
            ``candidates`` any more: their letters are not given again.
        patients: which patient a scan is of, see ``data.layouts.patients``; None where the layout
            or the data set itself says it.
        gray: name of the gray scaling of the images.
        left_out: keys of those removed since the last sweep, whose command asks for them.
        score: by which candidates are ranked; files that do not say it mean the contest's.
    """

    candidates: tuple[Candidate, ...]
    n_folds: int
    folds_fingerprint: str
    seed: int
    data_directory: Path
    data_fingerprint: str
    exclude: tuple[str, ...] = ()
    spaces: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()
    created: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    version: str = __version__
    to_come: int = 0
    repeats: tuple[Repeat, ...] = ()
    organs: Organs = CONTEST
    asked: tuple[str, ...] = ()
    removed: tuple[int, ...] = ()
    patients: str | None = None
    gray: str = FIRST_GRAY
    left_out: tuple[str, ...] = ()
    score: str = CONTEST_SCORE

    @cached_property
    def measure(self) -> Mixture:
        """The score by which candidates are ranked."""
        return parse_score(self.score, self.organs)

    @property
    def last_asked(self) -> tuple[Candidate, ...]:
        """The candidates of the last sweep, in the order of the run."""
        keys = set(self.asked)
        return tuple(c for c in self.candidates if c.key in keys) or self.candidates

    @property
    def places(self) -> dict[Candidate, int]:
        """The place of each candidate in the order of first appearance, from 0; its letter."""
        gone = set(self.removed)
        places = (place for place in itertools.count() if place not in gone)
        return dict(zip(self.candidates, places, strict=False))

    def narrowed(self, candidates: Collection[Candidate]) -> SweepRecord:
        """The record with some of its candidates alone; they keep their places."""
        kept = set(candidates)
        others = [place for c, place in self.places.items() if c not in kept]
        return replace(
            self,
            candidates=tuple(c for c in self.candidates if c in kept),
            removed=tuple(sorted((*self.removed, *others))),
        )

    def with_proposed(self, candidate: Candidate) -> SweepRecord:
        """The record with a candidate that a search adds to those that are asked for."""
        asked = (*self.asked, candidate.key) if self.asked else ()
        return replace(self, candidates=(*self.candidates, candidate), asked=asked)

    @property
    def plans(self) -> tuple[Repeat, ...]:
        """Seed and fingerprint of every fold plan, the first included."""
        return (Repeat(self.seed, self.folds_fingerprint), *self.repeats)

    @property
    def total_folds(self) -> int:
        """Trials of a candidate: the folds of all plans."""
        return self.n_folds * len(self.plans)

    @property
    def folds_in_words(self) -> str:
        """``5 folds``, or ``2 x 5 folds`` where they are repeated."""
        times = f"{len(self.plans)} x " if self.repeats else ""
        return f"{times}{self.n_folds} folds"

    def fold_number(self, spec: TrialSpec) -> int:
        """A trial's fold, numbered through all plans from 0."""
        fingerprints = [plan.folds_fingerprint for plan in self.plans]
        return fingerprints.index(spec.folds_fingerprint) * self.n_folds + spec.fold

    def specs(self, candidates: Sequence[Candidate] | None = None) -> list[TrialSpec]:
        """All trials of the given candidates (by default of all), candidate by candidate."""
        return [
            TrialSpec(
                candidate,
                fold,
                self.n_folds,
                plan.seed,
                self.data_fingerprint,
                plan.folds_fingerprint,
            )
            for candidate in (self.candidates if candidates is None else candidates)
            for plan in self.plans
            for fold in range(self.n_folds)
        ]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; the inverse of ``from_json``."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        usual = {f.name: f.default for f in fields(self) if f.name in _LATER}
        # What is usual is left out: older versions read the file then.
        values = {n: v for n, v in values.items() if n not in usual or v != usual[n]}
        values["data_directory"] = str(self.data_directory)
        candidates = [c.recorded() for c in self.candidates]
        repeats = [asdict(repeat) for repeat in self.repeats]
        lists = {"candidates": candidates, "repeats": repeats, **self.organs.to_json()}
        return {"format": _FORMAT, **values, **lists}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> SweepRecord:
        """A record from what ``to_json`` gave."""
        values = {name: value for name, value in values.items() if name != "format"}
        for name in ("exclude", "spaces", "commands"):
            values[name] = tuple(values[name])
        values["candidates"] = tuple(Candidate.from_knobs(k) for k in values["candidates"])
        values["repeats"] = tuple(Repeat(**repeat) for repeat in values.get("repeats", ()))
        for name in _LATER_LISTS:
            values[name] = tuple(values.get(name, ()))
        values["organs"] = Organs.of(values, CONTEST)
        values.pop("pairs", None)
        parse_score(values.get("score", CONTEST_SCORE), values["organs"])  # is checked
        return cls(**{**values, "data_directory": Path(values["data_directory"])})


@dataclass(frozen=True)
class SweepDirectory:
    """The paths of a run directory, and what can be read from them without torch."""

    path: Path

    @classmethod
    def existing(cls, path: Path | None) -> SweepDirectory:
        """The given run directory, or the newest one under ``runs/``.

        Raises:
            RunError: there is none.
        """
        if path is not None:
            if not (path / "sweep.json").is_file():
                remedy = "pass a directory that gitract-cv sweep made"
                raise RunError(path, "a run directory (with sweep.json)", "none", remedy)
            return cls(path)
        found = sorted(Path("runs").glob("*/sweep.json"), key=lambda p: p.stat().st_mtime)
        if not found:
            raise RunError("runs/", "a run", "none", "run gitract-cv sweep, or pass RUN")
        return cls(found[-1].parent)

    @property
    def record_file(self) -> Path:
        """``sweep.json``."""
        return self.path / "sweep.json"

    @property
    def folds_file(self) -> Path:
        """``folds.json``."""
        return self.path / "folds.json"

    def repeat_file(self, number: int) -> Path:
        """``folds-2.json`` for the second plan, and so on; of the first ``folds.json``."""
        return self.folds_file if number == 1 else self.path / f"folds-{number}.json"

    @cached_property
    def trials(self) -> Path:
        """The directory of the trials' directories."""
        return self.path / "trials"

    def added(self) -> tuple[AddedCandidate, ...]:
        """The candidates of other tools, by name."""
        return added_candidates(self.path)

    def trial(self, spec: TrialSpec) -> TrialFiles:
        """The files of a trial, or of one fold of an added candidate."""
        if isinstance(spec.candidate, AddedCandidate):
            return added_trial(self.path, spec, spec.candidate)
        return TrialFiles(self.trials / spec.key)

    def record(self) -> SweepRecord:
        """Read ``sweep.json``.

        Raises:
            RunError: unreadable or not a sweep's record.
        """
        remedy = "restore the file or start a new run directory"
        content = read_noted(self.path, self.record_file.name)
        values: _Record = parse_json(self.record_file, content, _Record, remedy)
        for knobs in values["candidates"]:
            refuse_newer_knobs(self.record_file, knobs)
        try:
            return SweepRecord.from_json(dict(values))
        except (TypeError, GitractError) as error:
            raise RunError(self.record_file, "a sweep's record", error, remedy) from None

    def write(self, record: SweepRecord) -> None:
        """Write ``sweep.json`` atomically, and its digest."""
        write_noted(self.path, self.record_file.name, json_bytes(record.to_json()))

    def write_plan(self, number: int, plan: FoldPlan, index: SliceIndex) -> None:
        """Write the fold file of a repeat atomically, and its digest."""
        write_noted(self.path, self.repeat_file(number).name, plan.to_bytes(index))

    def result(self, spec: TrialSpec) -> TrialResult | None:
        """A trial's result, or None if it is not finished.

        Raises:
            RunError: the file is damaged, or of another trial.
        """
        if isinstance(spec.candidate, AddedCandidate):
            return read_scored(self.trial(spec), spec)
        file = self.trial(spec).result
        try:
            return TrialResult.load(file, spec)
        except RunError:
            if os.path.lexists(file):
                raise
            return None

    def failure(self, spec: TrialSpec) -> str | None:
        """Why a trial failed, in one line, or None; of a damaged file, what is wrong with it."""
        file = self.trial(spec).failure
        try:
            failure = read_json(file)
        except RunError as error:
            # None: there is none, or a new attempt removed it just now.
            return str(error) if os.path.lexists(file) else None
        if failure.get("key", spec.key) != spec.key:
            remedy = "run the sweep again"
            return str(RunError(file, f"key {spec.key}", failure["key"], remedy))
        return one_line(failure.get("message", "unknown"))

    def plans(self, record: SweepRecord) -> list[FoldPlan]:
        """The folds of every repeat, at least one.

        Raises:
            RunError: a fold file is missing, damaged, or not the plan of this run.
        """
        from gitract_core.data.folds import FoldPlan

        plans = []
        for number, repeat in enumerate(record.plans, 1):
            file = self.repeat_file(number)
            plan = FoldPlan.load(file, read_noted(self.path, file.name))
            if plan.fingerprint != repeat.folds_fingerprint:
                expected, got = f"fold plan {repeat.folds_fingerprint}", plan.fingerprint
                raise RunError(file, expected, got, "restore the file")
            plans.append(plan)
        return plans

    def plan_values(self, number: int) -> dict[str, Any]:
        """All that the fold file of a repeat holds.

        Raises:
            RunError: the file is missing or damaged.
        """
        file = self.repeat_file(number)
        values: dict[str, Any] = parse_json(file, read_noted(self.path, file.name))
        return values

    def data(self, record: SweepRecord) -> TrialData:
        """Where this run's trials find their data, with the plugins that this process executed."""
        from gitract_core.plugin import executed
        from gitract_core.trial.data import TrialData

        plan, *repeats = self.plans(record)
        return TrialData(
            record.data_directory,
            record.data_fingerprint,
            plan,
            record.exclude,
            repeats=tuple(repeats),
            gray=record.gray,
            patients=record.patients,
            score=record.score,
            plugins=executed(),
        )
