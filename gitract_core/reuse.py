"""One training for trials that differ in post-processing alone.

A finished trial notes its training beside the trials, in ``trials/.trained``; a later one of the
same training, fold and seed takes over its weights, its history and, if they were kept, its
out-of-fold probabilities.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
from pathlib import Path

from gitract_core.errors import RunError
from gitract_core.files import replacing, write_bytes
from gitract_core.results import TrialFiles, TrialResult
from gitract_core.spec import TrialSpec


def remember_training(spec: TrialSpec, files: TrialFiles) -> None:
    """Note that this trial's files hold its training."""
    note = training_note(spec, files)
    if not note.is_file():
        write_bytes(note, files.directory.name.encode())


def adopt_training(spec: TrialSpec, files: TrialFiles) -> TrialResult | None:
    """Take over the files of a finished trial of the same training.

    Returns:
        That trial's result; None if there is none, or what there is is damaged.
    """
    try:
        other = TrialFiles(files.directory.parent / training_note(spec, files).read_text())
        result = TrialResult.load(other.result)
        if result.spec.key == spec.key or _training(result.spec) != _training(spec):
            return None
        _link(other.best, files.best)
        _link(other.history, files.history)
        if other.oof.is_file():
            _link(other.oof, files.oof)
    except (OSError, UnicodeDecodeError, RunError):
        return None
    return result


def _training(spec: TrialSpec) -> TrialSpec:
    return dataclasses.replace(spec, candidate=spec.candidate.trained)


def training_note(spec: TrialSpec, files: TrialFiles) -> Path:
    """The file that names a finished trial of the same training."""
    return files.directory.parent / ".trained" / _training(spec).key


def _link(source: Path, target: Path) -> None:
    """A second name for the same bytes; a copy where the file system has no links."""
    with replacing(target) as part:
        part.unlink()
        try:
            os.link(source, part)
        except OSError:
            shutil.copyfile(source, part)
