"""The processes of a soak: what descends from it, and which of them trains."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from orchestrator.execution.executor import Executor
from orchestrator.execution.local.executor import LocalExecutor

MARK = f"GITRACT_SOAK={os.getpid()}"
_TRIAL = b"ray::ResourceTrainable.train"  # what Tune makes of our trainable
_AGENTS = (b"ray::DashboardAgent", b"ray::RuntimeEnvAgent")


@dataclass(frozen=True)
class Place:
    """Where trials run: in worker processes of this machine, without or with Ray."""

    ray: bool

    @contextmanager
    def executor(self) -> Iterator[Executor]:
        """For trials of this very process."""
        if not self.ray:
            yield LocalExecutor()
            return
        from orchestrator.execution.ray.executor import RayExecutor, connect, disconnect

        connect()
        try:
            yield RayExecutor()
        finally:
            disconnect()

    def workers(self, driver: int) -> list[int]:
        """Processes in which a driver's trials run, in the order of their numbers."""
        if self.ray:  # they descend from a daemon of Ray's
            return [number for number, _, command in _descendants() if _TRIAL in command]
        return [
            n
            for n, parent, command in _descendants()
            if parent == driver and b"spawn_main" in command
        ]


def marked() -> list[int]:
    """Processes that descend from this one, but for the tracker that lives as long as it does.

    Nor Ray's agents: these see only after minutes that their session was killed.
    """
    return [
        number
        for number, _, command in _descendants()
        if b"resource_tracker" not in command and not command.startswith(_AGENTS)
    ]


def agents() -> list[int]:
    return [number for number, _, command in _descendants() if command.startswith(_AGENTS)]


def _descendants() -> list[tuple[int, int, bytes]]:
    """Number, parent and command of what descends from this process; zombies are none.

    They are known by a word in their environment, as a daemon has another parent; Ray's workers,
    which write their title over it, by the logs of their session, which are below ``RAY_TMPDIR``.
    """
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                ours = MARK.encode() in (entry / "environ").read_bytes().split(b"\0")
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                command = (entry / "cmdline").read_bytes()
                if ours or (command.startswith(b"ray::") and _logs_here(entry)):
                    found.append((int(entry.name), parent, command))
            except OSError:
                continue
    return sorted(found)


def _logs_here(process: Path) -> bool:
    session = os.path.join(os.environ.get("RAY_TMPDIR", "nowhere"), "ray", "session")
    return any(os.path.realpath(file).startswith(session) for file in (process / "fd").iterdir())
