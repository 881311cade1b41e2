"""SIGTERM in a process that trains: the state is saved first, then the process ends.

Batch systems, Kubernetes and machines that are taken back say so before they kill. Between two
steps a training saves its state and raises ``Stopped``; outside of a training the process ends at
once. Whoever starts such processes waits for them no longer than there is time.
"""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Iterator


class Stopped(SystemExit):
    """The process was asked to end, and the state of its training is saved."""


class _Asked:
    """What this process was asked; a signal handler can change nothing else."""

    training = False
    to_stop = False


def end_or_save_first() -> None:
    """Let SIGTERM end this process: within ``saving_first`` at the next look, else at once."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _asked_to_stop)


@contextlib.contextmanager
def saving_first() -> Iterator[None]:
    """Around a training that looks at ``stop_asked`` after every step."""
    _Asked.training = True
    try:
        yield
    finally:
        _Asked.training = False
    if _Asked.to_stop:  # its last step was over
        raise Stopped(0)


def stop_asked() -> bool:
    """Whether the process is to end as soon as its state is saved."""
    return _Asked.to_stop


def _asked_to_stop(*_: object) -> None:
    first, _Asked.to_stop = not _Asked.to_stop, True
    if first and not _Asked.training:
        sys.exit(0)
