"""A trial that ran out of memory beside others on a GPU runs again alone on a whole GPU.

Neighbors may have been the cause, and a batch in one piece is the training that was asked for. Only
a trial that is alone and still does not fit has its batches split (``gitract_core.training.loop``).
"""

from __future__ import annotations

import contextlib

from gitract_core.files.atomic import write_json
from orchestrator.execution.executor import Jobs, TrialEvent


class ToRunAlone:
    """The keys of such trials, also those of earlier sweeps into the same run.

    Args:
        jobs: where GPUs are not shared, no trial is one of these.
    """

    def __init__(self, jobs: Jobs) -> None:
        self._jobs, self._noted = jobs, set[str]()

    def note(self, event: TrialEvent) -> None:
        """Remember a trial, in its directory too if the disk has room for it."""
        self._noted.add(event.key)
        with contextlib.suppress(OSError):
            note = self._jobs.files(event.key).to_run_alone
            write_json(note, {"message": event.message})
            # Now: whoever runs the trial next has what the store has.
            self._jobs.storage.collect_file(f"trials/{event.key}/{note.name}")

    def __contains__(self, key: str) -> bool:
        shared = self._jobs.slots.shared
        return shared and (key in self._noted or self._jobs.files(key).to_run_alone.is_file())
