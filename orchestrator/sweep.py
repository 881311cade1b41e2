"""The main job: a search space on a data set, every candidate on every fold."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gitract_core.cache import build_cache
from gitract_core.errors import RunError
from gitract_core.folds import FoldPlan
from gitract_core.slices import SliceIndex
from gitract_core.spec import Candidate, TrialSpec
from gitract_core.training import check_candidate
from gitract_core.trial import TrialData
from orchestrator.sweep_directory import SweepDirectory, SweepRecord
from search_spaces import SearchSpace

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class SweepRequest:
    """What the user asked for.

    Attributes:
        data: the contest folder.
        space: candidates, folds and seed.
        out: the run directory, new or to be continued.
        exclude: scans to leave out.
        overrides: knobs by dotted name that replace those of every candidate.
        command: the command line, for the record.
    """

    data: Path
    space: SearchSpace
    out: Path
    exclude: tuple[str, ...] = ()
    overrides: tuple[tuple[str, Any], ...] = ()
    command: str = ""

    def candidates(self) -> tuple[Candidate, ...]:
        """The space's candidates with the overrides, each checked down to its network.

        Raises:
            SpaceError: an unknown knob, loss, network or width.
        """
        changed = (
            Candidate.from_knobs({**c.knobs(), **dict(self.overrides)})
            for c in self.space.candidates
        )
        distinct = tuple(dict.fromkeys(changed))
        for candidate in distinct:
            check_candidate(candidate)
        return distinct


@dataclass(frozen=True)
class PreparedSweep:
    """A sweep ready to run.

    Attributes:
        directory: the run directory, with its record and folds written.
        record: what is asked for in all, earlier sweeps into this directory included.
        specs: this request's trials.
        pending: those of them without a result.
        data: where trials find their data.
    """

    directory: SweepDirectory
    record: SweepRecord
    specs: Sequence[TrialSpec]
    pending: Sequence[TrialSpec]
    data: TrialData


def prepare(request: SweepRequest, progress: Progress | None = None) -> PreparedSweep:
    """Check everything, then write the record and the folds, and build the caches.

    Nothing is written unless candidates, data and run directory are in order.

    Raises:
        GitractError: the space, the data set or the run directory is not as it should be.
    """
    candidates = request.candidates()
    index = SliceIndex.from_directory(request.data).without(request.exclude)
    directory = SweepDirectory(request.out)
    if directory.record_file.is_file():
        before = directory.record()
        _refuse_mixing(request, before, index)
        plan = directory.plan(before)
    else:
        _refuse_foreign(request.out)
        before = None
        plan = FoldPlan.make(index, request.space.folds, request.space.seed)
    for size in sorted({c.input.size for c in candidates}):
        build_cache(index, size, progress=progress)
    record = _record(request, candidates, (index, plan, before))
    if before is None:
        plan.save(directory.folds_file, index)
    directory.write(record)
    specs = record.specs(candidates)
    pending = [spec for spec in specs if not directory.trial(spec).result.is_file()]
    return PreparedSweep(directory, record, specs, pending, directory.data(record))


def _record(
    request: SweepRequest,
    candidates: tuple[Candidate, ...],
    found: tuple[SliceIndex, FoldPlan, SweepRecord | None],
) -> SweepRecord:
    index, plan, before = found
    new = SweepRecord(
        candidates=candidates,
        n_folds=plan.n_splits,
        folds_fingerprint=plan.fingerprint,
        seed=request.space.seed,
        data_directory=request.data.resolve(),
        data_fingerprint=index.fingerprint,
        exclude=tuple(sorted(request.exclude)),
        spaces=(request.space.name,),
        commands=(request.command,),
    )
    if before is None:
        return new
    return dataclasses.replace(
        before,
        candidates=tuple(dict.fromkeys((*before.candidates, *candidates))),
        data_directory=new.data_directory,
        spaces=tuple(dict.fromkeys((*before.spaces, *new.spaces))),
        commands=(*before.commands, *new.commands),
    )


def _refuse_mixing(request: SweepRequest, before: SweepRecord, index: SliceIndex) -> None:
    """A run directory holds trials of one data set, one fold plan and one seed."""
    where, remedy = request.out, "pass another --out"
    if before.data_fingerprint != index.fingerprint:
        expected = f"the run's data set ({before.data_directory}, {before.data_fingerprint})"
        raise RunError(where, expected, f"{request.data}, {index.fingerprint}", remedy)
    if before.n_folds != request.space.folds:
        raise RunError(where, f"{before.n_folds} folds, as before", request.space.folds, remedy)
    if before.seed != request.space.seed:
        raise RunError(where, f"seed {before.seed}, as before", request.space.seed, remedy)


def _refuse_foreign(path: Path) -> None:
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        expected = "a new or empty directory, or a run's"
        raise RunError(path, expected, "something else", "pass another --out")
