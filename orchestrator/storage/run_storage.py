"""Where a run lives: what a local folder and an object store have in common.

Whoever works on a run reads and writes in ``directory``, a folder of this machine, and says through
this protocol what it is about to read and what it has written. In a local folder that is all; an
object store is then asked, or written to. One contract suite holds for both
(``tests/orchestrator/storage/test_contract.py``).
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from gitract_core.errors import TrialError
from gitract_core.spec import TrialSpec


class StoreError(TrialError):
    """The store does not answer; it may later."""


class TrialStorage(Protocol):
    """One trial of a run, on the machine that runs it."""

    def begin(self) -> None:
        """Bring here what there is of the trial, and of one whose training it can take over.

        Raises:
            RunError: the run is not ours to read.
            StoreError: no answer.
        """

    def save(self) -> None:
        """Make safe what the trial has changed; ``result.json`` last.

        Raises:
            RunError, StoreError: as ``begin``.
        """


class RunStorage(Protocol):
    """Where a run lives; small, so that it can be sent to workers on other machines."""

    @property
    def name(self) -> str:
        """The run as a person calls it: a path or an address."""

    @property
    def directory(self) -> Path:
        """The run directory on this machine, there or not."""

    def held(self, on_stored: Callable[[str], object]) -> AbstractContextManager[None]:
        """Keep sweeps of other machines out, bring ``directory`` up to date, and in the end store.

        Sweeps of this machine are kept out of ``directory`` by ``run_lock.sole_sweep``.

        Args:
            on_stored: called with the run's name when all that was written is in a store.

        Raises:
            RunError: another sweep holds the run, or there can be none at its address.
            StoreError: no answer.
        """

    def pull(self, *, bulky: bool = True) -> Path:
        """Bring ``directory`` up to date, and return it.

        Args:
            bulky: also weights and probabilities.

        Raises:
            RunError, StoreError: as ``held``.
        """

    def push(self, below: str = "") -> None:
        """Make safe what was written below a folder or a file of the run.

        Raises:
            RunError, StoreError: as ``held``.
        """

    def push_rest(self) -> None:
        """Make safe what an earlier sweep could not: all but the files of unfinished trials."""

    def collect(self, key: str) -> None:
        """Bring the files of a trial that has ended here; raises nothing."""

    def collect_file(self, name: str) -> None:
        """Make a small file safe that was written here; raises nothing."""

    def fetch_longer(self, name: str) -> None:
        """Bring a log here that has grown elsewhere; raises nothing."""

    def trial(self, spec: TrialSpec) -> TrialStorage:
        """One trial of the run."""
