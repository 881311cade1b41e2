"""A process that trains is asked to end: the state is saved first.

Batch systems, Kubernetes and machines that are taken back send SIGTERM before they kill. Between
two steps a training saves its state and raises ``Stopped``; what is under way outside of a training
is given up at once, as the last epoch's state is there. Whoever starts such processes waits for
them no longer than there is time.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator


class Stopped(SystemExit):
    """The process was asked to end, and the state of its training is saved."""


class _Asked:
    """What this process was asked; a signal handler can change nothing else."""

    to_stop = False
    training = False  # looks at ``to_stop`` itself, soon
    interruptible = True


def stop_on(number: int, *, when_idle: bool = True) -> None:
    """Let a signal end this process: within ``saving_first`` at the next look, else at once.

    Args:
        number: of the signal.
        when_idle: outside of ``only_within`` too.
    """
    _Asked.interruptible = when_idle
    if threading.current_thread() is threading.main_thread():
        signal.signal(number, _ask)


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


@contextlib.contextmanager
def only_within() -> Iterator[None]:
    """In a process that does not end with its work: only within the block is it interrupted."""
    _Asked.interruptible = True
    try:
        if _Asked.to_stop:
            raise Stopped(0)
        yield
    finally:
        _Asked.interruptible = False


def stop_asked() -> bool:
    """Whether the process is to end as soon as its state is saved."""
    return _Asked.to_stop


def _ask(*_: object) -> None:
    first, _Asked.to_stop = not _Asked.to_stop, True
    if first and _Asked.interruptible and not _Asked.training:
        raise Stopped(0)
