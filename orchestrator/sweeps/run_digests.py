"""``RUN/digests.json``: what ``sweep.json`` and the fold files must be, against accidents.

It is written before the file that it speaks of, and keeps the digests of what that file was before:
whatever ends the process between the two, the file is one of those named. A run without it is of an
earlier version, and is taken as it is.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TypedDict

from gitract_core.files.atomic import read_bytes, read_json, write_bytes, write_json
from gitract_core.files.digests import CHECKED, changed, digest_of

NAME = "digests.json"
FOLDS = "folds*.json"
_KEPT = 8  # of one file, newest last; readers of an object store may be some writes behind
_TRIES, _PAUSE_SECONDS = 3, 0.05  # a sweep may be writing both
_REMEDY = f"restore the file; or remove {NAME}, if the change is meant"


class _Digests(TypedDict):
    files: dict[str, list[str]]


def write_noted(run: Path, name: str, content: bytes) -> None:
    """Write a file of a run, its digest first.

    Args:
        run: the run directory.
        name: of the file.
        content: that it is to have.
    """
    file = run / NAME
    noted = _noted(run) if file.is_file() else {}
    if not noted and CHECKED:  # new, or from before: what is there is taken as it is
        there = [path for path in (run / name, *sorted(run.glob(FOLDS))) if path.is_file()]
        noted = {path.name: [digest_of(path.read_bytes())] for path in there}
    before = [digest for digest in noted.get(name, []) if digest != digest_of(content)]
    noted[name] = [*before, digest_of(content)][-_KEPT:]
    if CHECKED:
        write_json(file, {"files": noted}, seal=True)
    write_bytes(run / name, content)


def read_noted(run: Path, name: str) -> bytes:
    """The content of a file of a run.

    Raises:
        RunError: missing, or not one that was noted.
    """
    for left in reversed(range(_TRIES)):
        content = read_bytes(run / name)
        if not CHECKED or not (run / NAME).is_file():
            return content
        noted, found = _noted(run).get(name, []), digest_of(content)
        if not noted or found in noted:
            return content
        if left:
            time.sleep(_PAUSE_SECONDS)
    raise changed(run / name, noted[-1], found, _REMEDY)


def _noted(run: Path) -> dict[str, list[str]]:
    remedy = "restore the file, or remove it: the run is then taken as it is"
    return read_json(run / NAME, _Digests, remedy)["files"]


def is_noted(run: Path) -> bool:
    """Whether the run's record has a digest.

    Raises:
        RunError: ``digests.json`` is damaged.
    """
    return (run / NAME).is_file() and bool(_noted(run))
