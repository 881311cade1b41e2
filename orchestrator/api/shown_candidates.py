"""Which candidates of a run a report is about. Loads no torch."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gitract_core.errors import RunError
from gitract_core.spec import Candidate
from orchestrator.sweeps.run_directory import SweepDirectory
from search_spaces import load_space


def of_space(
    directory: SweepDirectory, space: str | Path | Mapping[str, Any]
) -> tuple[Candidate, ...]:
    """The candidates of a run that a space asks for; of a search all that it may propose.

    Raises:
        SpaceError: no such space.
        RunError: the run has none of them.
    """
    record, loaded = directory.record(), load_space(space)
    if loaded.search:
        found = tuple(loaded.search.inside(record.candidates))
    else:
        asked = {_spelled_alike(c) for c in loaded.candidates}
        found = tuple(c for c in record.candidates if _spelled_alike(c) in asked)
    if not found:
        got = f"none of the {len(loaded.candidates)} of {loaded.name}"
        remedy = "pass the space as it was swept, with the values of --set in it"
        raise RunError("--space", f"candidates of {directory.path}", got, remedy)
    return found


def _spelled_alike(candidate: Candidate) -> Candidate:
    """With the loss in one spelling of its spaces, whatever plugin defines it."""
    loss = " ".join(re.sub(r"([+*])", r" \1 ", candidate.loss).split())
    return dataclasses.replace(candidate, loss=loss, plugin="")
