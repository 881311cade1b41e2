"""Prepares a sweep: checks the request, writes record and folds, builds caches, orders trials."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import islice
from pathlib import Path
from typing import Any

from gitract_core.data.cache import build_cache, cache_root
from gitract_core.data.folds import FoldPlan, further_plans
from gitract_core.data.slices import SliceIndex
from gitract_core.errors import RunError, SpaceError
from gitract_core.files.leftovers import remove_leftovers
from gitract_core.files.names import require_utf8
from gitract_core.knobs import NO_PATIENCE, refuse_patience
from gitract_core.losses import normalize_expression
from gitract_core.metrics.score import CONTEST_SCORE
from gitract_core.metrics.score_expression import parse_score
from gitract_core.optional_packages import require
from gitract_core.plugin import JOINT, Plugin
from gitract_core.progress import Progress, silent
from gitract_core.spec import Candidate, TrialSpec
from gitract_core.training.checking import check_candidate
from gitract_core.trial.data import TrialData
from gitract_core.trial.relative_cost import relative_cost
from gitract_core.view import View
from orchestrator.sweeps.plugin_copies import write_copies
from orchestrator.sweeps.plugin_names import refuse_forgotten, with_plugin
from orchestrator.sweeps.refusals import (
    refuse_foreign,
    refuse_mixing,
    refuse_single_slices,
    refuse_small_folds,
    refuse_unlike_rules,
)
from orchestrator.sweeps.run_directory import MOST_REPEATS, Repeat, SweepDirectory, SweepRecord
from search_spaces import SearchSpace
from search_spaces.search import Search


@dataclass(frozen=True)
class SweepRequest:
    """What the user asked for.

    Attributes:
        data: the folder of the data set.
        space: candidates, folds and seed.
        out: the run directory, new or to be continued.
        exclude: scans to leave out.
        overrides: knobs by dotted name that replace those of every candidate.
        command: the command line, for the record.
        repeats: how often the cross-validation is done, each time with other folds; None: as often
            as before in this run directory, once in a new one.
        patients: which patient a scan is of, see ``data.layouts.patients``.
        score: by which candidates are ranked; None: as before, or in a new run the contest's.
        plugins: those that the user named, executed.
    """

    data: Path
    space: SearchSpace
    out: Path
    exclude: tuple[str, ...] = ()
    overrides: tuple[tuple[str, Any], ...] = ()
    command: str = ""
    repeats: int | None = None
    patients: str | None = None
    score: str | None = None
    plugins: tuple[Plugin, ...] = ()

    @property
    def search(self) -> Search | None:
        """The space's search with the overrides, if it has one."""
        found = self.space.search and self.space.search.fixing(self._changes)
        if not found:
            return None
        every = JOINT.join(plugin.digest for plugin in self.plugins)
        found = found.respelled("loss", partial(normalize_expression, plugin=every))
        return found.completing(partial(with_plugin, plugins=self.plugins))

    @property
    def _changes(self) -> dict[str, Any]:
        """The overrides; one that keeps the last epoch also takes a space's patience away.

        Raises:
            SpaceError: they name a patience themselves.
        """
        changes = dict(self.overrides)
        if changes.get("training.keep") == "last":
            if "training.patience" in changes:
                refuse_patience(changes["training.patience"])
            changes["training.patience"] = NO_PATIENCE
        return changes

    def candidates(self, before: Sequence[Candidate] = ()) -> tuple[Candidate, ...]:
        """The space's candidates with the overrides, each checked down to its network.

        Equal losses are one, in the spelling of the run: an older one did not normalize them.
        Of a search, those that are there already, whoever tried them, and its first draws.

        Args:
            before: the candidates of the run.

        Raises:
            SpaceError: an unknown knob, loss, network or width.
        """
        if self.search:
            return _searched(self.search, before)
        spelled = _spellings(before)
        changed = (
            with_plugin(_changed(candidate, self._changes), self.plugins)
            for candidate in self.space.candidates
        )
        distinct = tuple(dict.fromkeys(_with_loss(c, spelled) for c in changed))
        for candidate in distinct:
            check_candidate(candidate)
        return distinct


@dataclass(frozen=True)
class PreparedSweep:
    """A sweep whose request is in order; ``check`` writes nothing of it, ``prepare`` does.

    Attributes:
        directory: the run directory; with its record and folds once it is prepared.
        record: what is asked for in all, earlier sweeps into this directory included.
        specs: this request's trials.
        pending: those of them without a result, in the order in which they should start.
        index: the data set.
        plans: its folds, one plan for each repeat.
        search: proposes ``record.to_come`` more candidates, or None.
    """

    directory: SweepDirectory
    record: SweepRecord
    specs: Sequence[TrialSpec]
    pending: Sequence[TrialSpec]
    index: SliceIndex
    plans: Sequence[FoldPlan]
    search: Search | None = None

    @property
    def views(self) -> list[View]:
        """Of the caches that the trials need, those to come included."""
        return sorted({candidate.input.view for candidate in self.foreseeable})

    @property
    def foreseeable(self) -> set[Candidate]:
        """The candidates of the trials, and the corners of a search that has more to propose."""
        candidates = {spec.candidate for spec in self.specs}
        if self.search and self.record.to_come:
            candidates |= set(self.search.corners())
        return candidates

    @property
    def trials_to_come(self) -> int:
        """Trials of the candidates that the search has yet to propose."""
        return self.record.to_come * len(self.record.specs(self.record.candidates[:1]))

    @cached_property
    def data(self) -> TrialData:
        """Where trials find their data; of a prepared sweep alone."""
        return self.directory.data(self.record)


def check(request: SweepRequest) -> PreparedSweep:
    """Check candidates, data and run directory, and write nothing.

    Raises:
        GitractError: the space, the data set or the run directory is not as it should be.
    """
    directory = SweepDirectory(request.out)
    before = directory.record() if directory.record_file.is_file() else None
    if before:
        refuse_forgotten(request.space.candidates, request.plugins, before)
    candidates = request.candidates()
    if request.search:
        require("optuna", "key search.method", "search", SpaceError)
    if before and request.patients is None:
        request = dataclasses.replace(request, patients=before.patients)
    index = SliceIndex.from_directory(request.data, patients=request.patients)
    index = index.without(request.exclude)
    index.refuse_without_masks()
    for folder in (request.data, request.out, cache_root()):
        require_utf8(folder)
    if before:
        asked = {"folds": request.space.folds, "seed": request.space.seed}
        refuse_mixing(before, index, where=request.out, data=request.data, **asked)
        plans = directory.plans(before)
    else:
        refuse_foreign(request.out)
        plans = [FoldPlan.make(index, request.space.folds, request.space.seed)]
    plans += further_plans(index, plans, _repeats(request, len(plans)))
    refuse_small_folds(candidates, plans)
    if before:
        candidates = request.candidates(before.candidates)
    refuse_single_slices(candidates, index, plans)
    record = _record(request, candidates, index=index, plans=plans, before=before)
    specs = _trainings_first(record.specs(candidates))
    pending = start_order(specs, {s for s in specs if directory.trial(s).is_finished(s)})
    return PreparedSweep(directory, record, specs, pending, index, plans, request.search)


def prepare(request: SweepRequest, progress: Progress = silent) -> PreparedSweep:
    """Check everything, then write the record and the folds, and build the caches.

    Nothing is written unless candidates, data and run directory are in order.

    Raises:
        GitractError: the space, the data set or the run directory is not as it should be.
    """
    sweep = check(request)
    for view in sweep.views:
        build_cache(sweep.index, view, progress=progress)
    directory = sweep.directory
    for folder in (directory.path, directory.path / "report"):
        remove_leftovers(folder)
    write_copies(directory.path, request.plugins, sweep.foreseeable)
    there = len(directory.record().plans) if directory.record_file.is_file() else 0
    for number, plan in enumerate(sweep.plans[there:], there + 1):
        directory.write_plan(number, plan, sweep.index)
    directory.write(sweep.record)
    return sweep


def start_order(specs: Sequence[TrialSpec], finished: Collection[TrialSpec]) -> list[TrialSpec]:
    """What is left to run, in the order in which it should start.

    Long trials start first, so that none of them is left running alone at the end. Trials that can
    reuse the weights of another one come last.
    """
    again = reusing(specs)
    pending = [spec for spec in specs if spec not in finished]
    return sorted(pending, key=lambda s: (s in again, -relative_cost(s.candidate)))


def reusing(specs: Sequence[TrialSpec]) -> set[TrialSpec]:
    """Trials that can reuse the weights of one before them."""
    seen: set[tuple[Candidate, str, int]] = set()
    again: set[TrialSpec] = set()
    for spec in specs:
        training = (spec.candidate.trained, spec.folds_fingerprint, spec.fold)
        if training in seen:
            again.add(spec)
        seen.add(training)
    return again


def _trainings_first(specs: Sequence[TrialSpec]) -> list[TrialSpec]:
    """Trials that can reuse the weights of another one, at the end."""
    again = reusing(specs)
    return sorted(specs, key=lambda spec: spec in again)


def _changed(candidate: Candidate, changes: Mapping[str, Any]) -> Candidate:
    patience = changes.get("training.patience")
    if candidate.training.keep == "last" and "training.keep" not in changes and patience:
        refuse_patience(patience)
    return Candidate.from_knobs({**candidate.knobs(), **changes})


def _spellings(before: Sequence[Candidate]) -> dict[str, str]:
    """How a run writes its losses, by their normalized expressions."""
    found: dict[str, str] = {}
    for candidate in before:
        with suppress(SpaceError):  # a loss of one's own that is gone
            normal = normalize_expression(candidate.loss, candidate.plugin)
            found.setdefault(normal, candidate.loss)
    return found


def _with_loss(candidate: Candidate, spelled: Mapping[str, str]) -> Candidate:
    normal = normalize_expression(candidate.loss, candidate.plugin)
    return dataclasses.replace(candidate, loss=spelled.get(normal, normal))


def _searched(search: Search, before: Sequence[Candidate]) -> tuple[Candidate, ...]:
    for corner in search.corners():
        check_candidate(corner)
    refuse_unlike_rules(search)
    known = search.inside(before)
    missing = max(search.drawn_first - len(known), 0)
    drawn = tuple(islice(search.draws(without=known), missing))
    for candidate in drawn:
        check_candidate(candidate)
    return (*known, *drawn)


def _repeats(request: SweepRequest, before: int) -> int:
    """How many fold plans there shall be, of which some are there."""
    if request.repeats is None:
        return before
    if not before <= request.repeats <= MOST_REPEATS:
        expected = f"{before} to {MOST_REPEATS}" + (", as before or more" if before > 1 else "")
        raise RunError("--repeats", expected, request.repeats, "pass such a number")
    return request.repeats


def _record(
    request: SweepRequest,
    candidates: tuple[Candidate, ...],
    *,
    index: SliceIndex,
    plans: Sequence[FoldPlan],
    before: SweepRecord | None,
) -> SweepRecord:
    plan, *repeats = plans
    asked = request.score or (before.score if before else CONTEST_SCORE)
    new = SweepRecord(
        candidates=candidates,
        n_folds=plan.n_splits,
        folds_fingerprint=plan.fingerprint,
        seed=request.space.seed,
        data_directory=request.data.resolve(),
        data_fingerprint=index.fingerprint,
        organs=index.organs,
        exclude=tuple(sorted(request.exclude)),
        spaces=(request.space.name,),
        commands=(request.command,),
        repeats=tuple(Repeat(plan.seed, plan.fingerprint) for plan in repeats),
        to_come=max(request.search.total - len(candidates), 0) if request.search else 0,
        patients=_patients_for_record(request.patients),
        gray=index.gray,
        score=parse_score(asked, index.organs).text,
    )
    if before is None:
        return new
    merged = tuple(dict.fromkeys((*before.candidates, *candidates)))
    return dataclasses.replace(
        before,
        candidates=merged,
        asked=() if set(merged) == set(candidates) else tuple(c.key for c in candidates),
        data_directory=new.data_directory,
        patients=new.patients,
        repeats=new.repeats,
        spaces=tuple(dict.fromkeys((*before.spaces, *new.spaces))),
        commands=(*before.commands, *new.commands),
        to_come=new.to_come,
        left_out=(),
        score=new.score,
    )


def _patients_for_record(rule: str | None) -> str | None:
    """A table by its whole path, since later commands may run elsewhere."""
    return str(Path(rule).resolve()) if rule is not None and Path(rule).is_file() else rule
