"""What a sweep refuses before anything is written: data, folds, folders and searches of no use."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gitract_core.data.folds import FoldPlan
from gitract_core.data.slices import SliceIndex
from gitract_core.errors import DataError, RunError, SpaceError
from gitract_core.networks.normalization import fewest_slices
from gitract_core.spec import Candidate
from gitract_core.trial.deciding_cases import check_deciding
from orchestrator.sweeps.plugin_copies import are_copies
from orchestrator.sweeps.run_digests import NAME as DIGESTS
from orchestrator.sweeps.run_lock import LOCK
from search_spaces.search import Search

if TYPE_CHECKING:
    from orchestrator.sweeps.run_directory import SweepRecord


def refuse_single_slices(
    candidates: Sequence[Candidate], index: SliceIndex, plans: Sequence[FoldPlan]
) -> None:
    """A data set may be so small that a fold trains on one slice, which not every network can."""
    cases = index.table["case"].to_numpy()
    folds = [(plan, fold) for plan in plans for fold in range(plan.n_splits)]
    smallest = min(len(plan.rows(cases, fold, held_out=False)) for plan, fold in folds)
    for candidate in candidates if smallest < 2 else ():
        size, planes = candidate.input.size, candidate.input.planes
        fewest = fewest_slices(candidate.network, planes, size, candidate.plugin)
        if smallest < fewest:
            expected = f"{fewest} or more slices to train on in every fold at input.size {size}"
            raise DataError(index.root, expected, smallest, "add scans or lower network.depth")


def refuse_foreign(path: Path) -> None:
    """Nothing of somebody else's is written into."""
    # What a sweep left that ended before its record was written, on a full disk.
    ours = re.compile(rf"{re.escape(LOCK)}|{re.escape(DIGESTS)}|folds(-\d+)?\.json")
    if path.exists() and (
        not path.is_dir()
        or any(not (ours.fullmatch(p.name) or are_copies(p)) for p in path.iterdir())
    ):
        expected = "a new or empty directory, or a run's"
        raise RunError(path, expected, "something else", "pass another --out")


def refuse_small_folds(candidates: Sequence[Candidate], plans: Sequence[FoldPlan]) -> None:
    """Refuse folds that leave too few training cases for some of them to decide the epoch."""
    if any(candidate.training.keep == "inner" for candidate in candidates):
        for plan in plans:
            for fold in range(plan.n_splits):
                check_deciding(len(plan.fold_of_case) - len(plan.cases(fold)), fold)


def refuse_unlike_rules(search: Search) -> None:
    """A search proposes by scores, which must be flattered alike, or not at all."""
    opened = {d.name: d for d in search.dimensions}.get("training.keep")
    if opened is not None and opened.size > 1 and opened.holds("held_out"):
        expected = "one value, or inner and last: a search compares scores"
        remedy = "fix it; held_out flatters, the others do not"
        raise SpaceError("knob training.keep", expected, "held_out and others", remedy)


def refuse_mixing(
    before: SweepRecord, index: SliceIndex, *, where: Path, data: Path, folds: int, seed: int
) -> None:
    """Refuse other trials in a run directory than those of one data set, fold plan and seed.

    Args:
        before: the run's record.
        index: the data set that is asked for.
        where: the run directory.
        data: the data set's folder.
        folds: number of folds that is asked for.
        seed: likewise.

    Raises:
        RunError: one of them is another.
    """
    remedy = "pass another --out"
    if before.data_fingerprint != index.fingerprint:
        expected = f"the run's data set ({before.data_directory}, {before.data_fingerprint})"
        raise RunError(where, expected, f"{data}, {index.fingerprint}", remedy)
    if before.gray != index.gray:
        expected = f"gray scaling {before.gray}, as before"
        raise RunError(where, expected, index.gray, "restore the data set's, or pass another --out")
    if before.organs.pairs != index.organs.pairs:
        expected, got = f"pairs {list(before.organs.pairs)}, as before", list(index.organs.pairs)
        raise RunError(where, expected, got, "restore the data set's, or pass another --out")
    if before.n_folds != folds:
        raise RunError(where, f"{before.n_folds} folds, as before", folds, remedy)
    if before.seed != seed:
        raise RunError(where, f"seed {before.seed}, as before", seed, remedy)
