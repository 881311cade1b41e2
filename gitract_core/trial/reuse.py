"""One training for trials that train alike.

Trials of one fold and seed train alike if their candidates differ in post-processing, in
``training.epochs`` and in ``training.patience`` alone: the weights of the one that ends later pass
through those of the other. (Under a schedule that is not constant each epoch's learning rate
depends on the number of epochs, which must then be equal too. ``training.keep`` must be equal.)

A finished trial notes its training beside the trials, in ``trials/.trained``. A later trial that
trains alike looks there, and

- takes over weights, history and, if they were kept, out-of-fold probabilities, if the history
  shows that it would end with those very weights: as if patience had ended the other one, or
  after fewer epochs that contain the best one (``adopt_training``);
- or else goes on from the other's last state, if that was kept and it would not have ended by
  then (``go_on_from_another``).

On a CPU both end as a training of its own would, bit for bit.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from gitract_core.errors import RunError
from gitract_core.files.atomic import replacing, write_bytes
from gitract_core.prediction.probabilities import OofStore, Origin
from gitract_core.results.trial_result import (
    EpochRecord,
    TrialFiles,
    TrialResult,
    read_history,
    summarize_history,
    write_history,
)
from gitract_core.spec import TrialSpec
from gitract_core.training.checkpoint_file import is_whole
from gitract_core.training.early_stopping import ending


def remember_training(spec: TrialSpec, files: TrialFiles) -> None:
    """Note that this trial's files hold its training."""
    note = training_note(spec, files)
    if not note.is_file():
        write_bytes(note, files.directory.name.encode())


def epochs_ready(spec: TrialSpec, files: TrialFiles) -> int:
    """How many of a trial's epochs other trials have trained for it; all of them if it can adopt.

    What the trial itself has done is not counted.
    """
    knobs = spec.candidate.training
    found = [0]
    for other, result, records in _alike(spec, files):
        end = ending(records, knobs)
        if end and end[1] == result.history["best_epoch"]:
            return knobs.epochs
        if end is None and other.last.is_file():
            found.append(len(records))
    return max(found)


def adopt_training(spec: TrialSpec, files: TrialFiles) -> TrialResult | None:
    """Take over the files of a finished trial whose training gives this one's weights.

    Returns:
        That trial's result, with the history that this trial would have; None if there is none, or
        what there is is damaged.
    """
    for other, result, records in _alike(spec, files):
        end = ending(records, spec.candidate.training)
        if end is None or end[1] != result.history["best_epoch"]:
            continue  # it would go on, or its best weights were replaced by better ones
        own = records[: end[0]]
        try:
            result.check(other.best)
            _link(other.best, files.best)
            write_history(files.history, own)
            files.oof.unlink(missing_ok=True)  # of an attempt of its own
            if other.oof.is_file() and _is_intact(other.oof, other, result):
                _link(other.oof, files.oof)
            alike = result.spec.candidate.postprocess == spec.candidate.postprocess
            if alike and other.epochs.is_file() and _is_intact(other.epochs, other, result):
                _link(other.epochs, files.epochs)
        except (FileNotFoundError, RunError):
            continue
        cost = {**result.cost, "seconds": sum(r.seconds for r in own)}
        return dataclasses.replace(result, history=summarize_history(own, end[1]), cost=cost)
    return None


def go_on_from_another(spec: TrialSpec, files: TrialFiles) -> str:
    """Make the last state of a shorter training of its kind this trial's checkpoint.

    Does nothing if this trial has a checkpoint already, or there is no such training.

    Returns:
        What was done, one line for the trial's log; empty if nothing.
    """
    if files.checkpoint.is_file():
        return ""
    knobs = spec.candidate.training
    shorter = [
        (len(records), other)
        for other, result, records in _alike(spec, files)
        if other.last.is_file()
        and ending(records, knobs) is None
        and is_whole(other.last)
        and _is_intact(other.best, other, result)
    ]
    if not shorter:
        return ""
    epochs, other = max(shorter, key=lambda found: found[0])
    _link(other.best, files.best)
    _link(other.history, files.history)
    _link(other.last, files.checkpoint)  # the last: from now on there is something to resume
    return f"goes on after epoch {epochs} of trial {other.directory.name}, a shorter one"


def _is_intact(file: Path, files: TrialFiles, result: TrialResult) -> bool:
    """Whether a file is the one that its trial left, or was predicted from its weights later."""
    try:
        if file == files.oof:
            OofStore(file, Origin.of(files, result))
        else:
            result.check(file)
    except RunError:
        return False
    return True


def _alike(
    spec: TrialSpec, files: TrialFiles
) -> Iterator[tuple[TrialFiles, TrialResult, list[EpochRecord]]]:
    """Files, result and history of the finished trials that train alike, damaged ones left out."""
    for note in sorted(_notes(spec, files).glob("*")):
        try:
            other = TrialFiles(files.directory.parent / note.read_text())
            result = TrialResult.load(other.result)
            records = read_history(other.history, result.stamp(other.history))
        except (OSError, UnicodeDecodeError, RunError):
            continue
        another = result.spec.key != spec.key and result.spec.training_key == spec.training_key
        if another and len(records) == result.history["epochs"]:
            yield other, result, records


def training_note(spec: TrialSpec, files: TrialFiles) -> Path:
    """The file that names a finished trial of the same training."""
    trained = dataclasses.replace(spec, candidate=spec.candidate.trained)
    return _notes(spec, files) / trained.key


def _notes(spec: TrialSpec, files: TrialFiles) -> Path:
    """One note a training: a file whose content is the name of the trial's directory."""
    return files.directory.parent / ".trained" / spec.training_key


def _link(source: Path, target: Path) -> None:
    """A second name for the same bytes; a copy where the file system has no links."""
    with replacing(target) as part:
        part.unlink()
        try:
            os.link(source, part)
        except OSError:
            shutil.copyfile(source, part)
