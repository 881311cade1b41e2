"""Looks at a run's fold files, for those who make no use of the folds.

That the digests are right says enough, and needs no pandas.
"""

from __future__ import annotations

from os.path import lexists
from typing import TypedDict

from gitract_core.errors import RunError
from gitract_core.files.atomic import parse_json
from gitract_core.files.digests import CHECKED
from orchestrator.sweeps.run_digests import is_noted, read_noted
from orchestrator.sweeps.run_directory import SweepDirectory, SweepRecord


class _Plan(TypedDict):
    """What is read of a fold file."""

    fingerprint: str


def check_folds(directory: SweepDirectory, record: SweepRecord) -> None:
    """Compare every fold file that is there with what was noted of it.

    Of one that is gone nothing false can come: it is missed where folds are used.

    Raises:
        RunError: one is not what was written, or not the plan of this run.
    """
    files = [directory.repeat_file(number) for number in range(1, len(record.plans) + 1)]
    if not (CHECKED and is_noted(directory.path)):  # of an earlier version
        if all(map(lexists, files)):
            directory.plans(record)
        return
    for file, repeat in zip(files, record.plans, strict=True):
        if not lexists(file):
            continue
        plan: _Plan = parse_json(file, read_noted(directory.path, file.name), _Plan)
        if plan["fingerprint"] != repeat.folds_fingerprint:
            expected = f"fold plan {repeat.folds_fingerprint}"
            raise RunError(file, expected, plan["fingerprint"], "restore the file")
