"""A run in a folder of this machine or of a shared file system: nothing has to be copied."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from gitract_core.spec import TrialSpec


class LocalTrial:
    """A trial whose files are where they belong."""

    def begin(self) -> None:
        """Nothing: the files are here."""

    def save(self) -> None:
        """Nothing: what is written is safe."""


@dataclass(frozen=True)
class LocalRun:
    """A run in a folder.

    Attributes:
        directory: the run directory, there or not.
    """

    directory: Path

    def __reduce__(self) -> tuple[type[LocalRun], tuple[Path]]:
        """Sent to another process, which may have another working directory, it is absolute."""
        return LocalRun, (self.directory.resolve(),)

    @property
    def name(self) -> str:
        """Its path."""
        return str(self.directory)

    def held(self, on_stored: Callable[[str], object]) -> AbstractContextManager[None]:
        """Nothing: ``run_lock.sole_sweep`` keeps other sweeps out of a folder."""
        return nullcontext()

    def pull(self, *, bulky: bool = True) -> Path:
        """The folder as it is."""
        return self.directory

    def push(self, below: str = "") -> None:
        """Nothing: what is written is safe."""

    def push_rest(self) -> None:
        """Nothing, as above."""

    def collect(self, key: str) -> None:
        """Nothing: workers write here."""

    def collect_file(self, name: str) -> None:
        """Nothing: what is written is safe."""

    def fetch_longer(self, name: str) -> None:
        """Nothing: workers write here."""

    def trial(self, spec: TrialSpec) -> LocalTrial:
        """A trial whose files are where they belong."""
        return LocalTrial()
