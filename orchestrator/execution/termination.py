"""SIGTERM in a sweep: batch systems, Kubernetes and machines that are taken back give it some time.

Outside of an executor's run the signal raises ``Terminated`` at once. Within it the executor asks
``asked``, lets running trials save their state for as long as there is grace, and raises it then.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from gitract_core.errors import counted

EXIT_CODE = 143
"""128 + SIGTERM, as shells have it."""


class Terminated(KeyboardInterrupt):
    """The sweep was told to end, by SIGTERM.

    Args:
        saved, running: trials that were under way, and those of them that saved where they were.
    """

    def __init__(self, saved: int = 0, running: int = 0) -> None:
        super().__init__(saved, running)
        self.saved, self.running = saved, running

    def __str__(self) -> str:
        if not self.running:
            return "terminated; the same command goes on from here"
        saved = f"{self.saved} of {counted(self.running, 'running trial')} saved where they were"
        rest = "; the others go on from their last epoch or save" * (self.saved < self.running)
        return f"terminated; {saved}{rest}; the same command goes on from here"


class _Signal:
    """What the handler, which can change nothing else, and those who asked for it share."""

    asked = False
    awaited = 0  # executors that look for themselves


@contextmanager
def termination() -> Iterator[None]:
    """Within the block SIGTERM raises ``Terminated``; in threads other than the main one nothing.

    A second SIGTERM changes nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _Signal.asked = False
    before = signal.signal(signal.SIGTERM, _handle)
    try:
        yield
    finally:
        _Signal.asked = False
        signal.signal(signal.SIGTERM, before)


@contextmanager
def looked_for() -> Iterator[None]:
    """Within the block SIGTERM is only noted for ``asked``; ``termination`` is around it."""
    _Signal.awaited += 1
    try:
        yield
    finally:
        _Signal.awaited -= 1


def asked() -> bool:
    """Whether the sweep was told to end."""
    return _Signal.asked


def _handle(*_: object) -> None:
    if _Signal.asked:
        return
    _Signal.asked = True
    if not _Signal.awaited:
        raise Terminated
