"""Takes a candidate out of a run: its record, and the trials that are its alone. Loads no torch."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from gitract_core.errors import RunError, suggestion
from gitract_core.files.atomic import write_bytes
from gitract_core.spec import Candidate, TrialSpec
from orchestrator.capacity.time_budget import write_space
from orchestrator.results.leaderboard import build_leaderboard
from orchestrator.results.scored_trials import kept_files
from orchestrator.sweeps.added_candidate import AddedCandidate
from orchestrator.sweeps.added_files import FOLDER as ADDED
from orchestrator.sweeps.added_files import remove_added
from orchestrator.sweeps.going_on import remaining_space
from orchestrator.sweeps.labels import candidate_labels, candidate_letters
from orchestrator.sweeps.run_directory import SweepDirectory, SweepRecord
from orchestrator.sweeps.run_lock import sole_sweep
from search_spaces import SearchSpace


@dataclass(frozen=True)
class Removal:
    """What is removed.

    Attributes:
        candidate, letter, label: which; an added candidate has no letter.
        trials: those of its trials that are there.
        finished: number of these with a result.
        size_bytes: of their files that nothing else uses.
    """

    candidate: Candidate
    letter: str
    label: str
    trials: tuple[TrialSpec, ...]
    finished: int
    size_bytes: int


def plan_removal(directory: SweepDirectory, name: str) -> Removal:
    """What removing a candidate takes away; nothing is removed.

    Args:
        directory: of the run.
        name: a letter, a label or a rank.

    Raises:
        RunError: no such candidate, the only one, or an ensemble uses its networks.
    """
    record = directory.record()
    labels = candidate_labels(record.candidates)
    candidate = _named(directory, name)
    if isinstance(candidate, AddedCandidate):
        folder = directory.path / ADDED / candidate.name
        _refuse_members(directory, {f"{ADDED}/{candidate.name}/"})
        return Removal(candidate, "", candidate.name, (), 0, _own_bytes(folder))
    if len(record.candidates) == 1:
        remedy = f"remove the folder {directory.path}"
        raise RunError(f"candidate {name}", "another candidate beside it", "the only one", remedy)
    specs = record.specs([candidate])
    there = tuple(s for s in specs if directory.trial(s).directory.is_dir())
    _refuse_members(directory, {spec.key for spec in there})
    return Removal(
        candidate,
        candidate_letters(record.candidates, record.removed)[candidate],
        labels[candidate],
        there,
        sum(directory.trial(spec).result.is_file() for spec in there),
        sum(_own_bytes(directory.trial(spec).directory) for spec in there),
    )


def remove(directory: SweepDirectory, planned: Removal) -> None:
    """Remove a candidate: its letter is not given again, its trials are deleted.

    Trainings that other candidates share stay: files of a trial are its own, or second names of the
    same bytes. The record is written first; what is left if this is interrupted is nobody's.

    Raises:
        RunError: a sweep is at work in the run.
    """
    with sole_sweep(directory.path):
        if isinstance(planned.candidate, AddedCandidate):
            remove_added(directory.path, planned.candidate.name)
            for spec in directory.record().specs([planned.candidate]):
                _remove_kept(directory, spec)
            return
        record = directory.record()
        place = record.places[planned.candidate]
        kept = tuple(c for c in record.candidates if c != planned.candidate)
        asked = tuple(key for key in record.asked if key != planned.candidate.key)
        removed = tuple(sorted((*record.removed, place)))
        left = replace(record, candidates=kept, asked=asked, removed=removed)
        if planned.candidate in record.last_asked:
            left = replace(left, left_out=(*record.left_out, planned.candidate.key))
            _write_remaining(directory, left)
        directory.write(left)
        _hand_over_notes(directory, planned.trials, record.specs(kept))
        for spec in planned.trials:
            shutil.rmtree(directory.trial(spec).directory)
            _remove_kept(directory, spec)


def _remove_kept(directory: SweepDirectory, spec: TrialSpec) -> None:
    for file in kept_files(directory, spec.key):
        file.unlink()


def _write_remaining(directory: SweepDirectory, record: SweepRecord) -> None:
    """The space with which a sweep goes on without what was removed."""
    name, kept = (record.spaces or ("the run",))[-1], record.last_asked
    space = SearchSpace(name, "", kept, record.n_folds, record.seed)
    write_space(remaining_space(directory), space, kept, why="that were not removed")


def _named(directory: SweepDirectory, name: str) -> Candidate:
    """A candidate by letter or label, of the report or of the whole run, or by rank."""
    record = directory.record()
    if name.isdecimal():
        ranked = build_leaderboard(directory).ranked
        if not 1 <= int(name) <= len(ranked):
            expected, remedy = f"a rank from 1 to {len(ranked)}", "see the run's report"
            raise RunError("candidate", expected, name, remedy)
        return ranked[int(name) - 1].candidate
    letters = candidate_letters(record.candidates, record.removed)
    names: dict[str, Candidate] = {c.name: c for c in directory.added()}
    names |= {letter: c for c, letter in letters.items()}
    names |= {label: c for c, label in candidate_labels(record.last_asked).items()}
    names |= {label: c for c, label in candidate_labels(record.candidates).items()}
    if name not in names:
        remedy = suggestion(name, list(names))
        raise RunError("candidate", "a rank, a letter or a label of the run", repr(name), remedy)
    return names[name]


def _refuse_members(directory: SweepDirectory, keys: Collection[str]) -> None:
    """What others are made of stays: an ensemble predicts with the weights in the trials."""
    for manifest in sorted(directory.path.glob("*/*/members.json")):
        text = manifest.read_text(errors="replace")
        if any(key in text for key in keys):
            folder = manifest.parent
            expected, remedy = "a candidate that no ensemble uses", f"remove {folder} first"
            raise RunError(directory.path, expected, f"one of {folder.name}", remedy)


def _hand_over_notes(
    directory: SweepDirectory, gone: Sequence[TrialSpec], kept: Sequence[TrialSpec]
) -> None:
    """Trainings that others have too are found there from now on; notes of the rest go."""
    heirs: dict[str, TrialSpec] = {}
    for spec in kept:
        if directory.trial(spec).result.is_file():
            heirs.setdefault(replace(spec, candidate=spec.candidate.trained).key, spec)
    by_key = {spec.key: spec for spec in gone}
    for note in sorted(directory.trials.glob(".trained/*/*")):
        former, heir = by_key.get(note.read_text(errors="replace")), heirs.get(note.name)
        if former is None:
            continue
        if heir is None:
            note.unlink()
            continue
        state, own = directory.trial(former).last, directory.trial(heir).last
        if state.is_file() and not own.is_file():
            shutil.move(state, own)  # more epochs go on from it
        write_bytes(note, heir.key.encode())


def _own_bytes(folder: Path) -> int:
    """Bytes of files that have no other name."""
    found = [path.stat() for path in folder.rglob("*") if path.is_file()]
    return sum(one.st_size for one in found if one.st_nlink == 1)
