"""Signals: the first Ctrl-C ends a command, further ones do not interrupt its end; SIGTERM."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from orchestrator.execution.termination import EXIT_CODE, Terminated

_PATIENCE_SECONDS = 10.0
_EXIT_CODE = 130


@contextmanager
def interrupted_once() -> Iterator[None]:
    """Within the block the first SIGINT raises ``KeyboardInterrupt``, and others are ignored.

    They stay so until the process is over, but for one after ten seconds: an end that hangs.
    """
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield  # somebody else's to handle, or ignored as in the background of a shell
        return
    first: list[float] = []

    def handle(*_: object) -> None:
        if not first:
            first.append(time.monotonic())
            raise KeyboardInterrupt
        if time.monotonic() - first[0] > _PATIENCE_SECONDS:
            os._exit(_EXIT_CODE)

    signal.signal(signal.SIGINT, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN if first else signal.default_int_handler)


@contextmanager
def terminated_in_a_line() -> Iterator[None]:
    """Within the block SIGTERM ends the process with one line and 143, as ``sweep`` promises.

    It is for the time before the sweep itself listens (``execution.termination``), in which there
    is nothing to save, and for that after it.
    """
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return

    def handle(*_: object) -> None:
        os.write(2, f"gitract-cv: {Terminated()}\n".encode())
        os._exit(EXIT_CODE)

    signal.signal(signal.SIGTERM, handle)
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGTERM) is handle:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


def ignore_further_terms() -> None:
    """Let the process, which SIGTERM has ended, come to its end whatever is sent meanwhile."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
