"""Which candidates of a sweep are its plugins'. Loads torch."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from gitract_core.errors import RunError
from gitract_core.plugin import Plugin, digests_in
from gitract_core.plugins import foreign_names, plugin_of
from gitract_core.spec import Candidate
from orchestrator.sweeps.plugin_copies import FOLDER

if TYPE_CHECKING:
    from orchestrator.sweeps.run_directory import SweepRecord

_MOST_COPIES = 3


def with_plugin(candidate: Candidate, plugins: Sequence[Plugin]) -> Candidate:
    """The candidate with the hashes of the plugins that define what it names.

    Raises:
        SpaceError: see ``gitract_core.plugins.plugin_of``.
    """
    return dataclasses.replace(candidate, plugin=plugin_of(candidate, plugins))


def refuse_forgotten(
    candidates: Iterable[Candidate], plugins: Sequence[Plugin], before: SweepRecord
) -> None:
    """Refuse to go on without a plugin where the run has some and a name is not ours.

    Args:
        candidates: as the space has them.
        plugins: those that are named now.
        before: the run's record.

    Raises:
        RunError: none is named.
    """
    digests = sorted({d for c in before.candidates for d in digests_in(c.plugin)})
    for candidate in candidates if digests and not plugins else ():
        for kind, name in sorted(foreign_names(candidate)):
            copies = " and ".join(f"{FOLDER}/{digest}.py" for digest in digests[:_MOST_COPIES])
            expected = f"the file that defines {kind} {name!r}, since the run has plugins"
            remedy = f"pass --plugin FILE.py as before; the run holds {copies}"
            raise RunError("--plugin", expected, "none", remedy)
