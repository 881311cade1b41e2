"""Waiting for other processes, and ports for them."""

from __future__ import annotations

import random
import socket
import time
from collections.abc import Callable

LONG_SECONDS = 200.0  # busy machines are slow; what comes sooner is not waited for


def wait_until(true: Callable[[], object], seconds: float = LONG_SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def free_port() -> int:
    """A port on loopback that nobody is given unasked.

    Connections take theirs above 32767, Ray's workers below 20000; one of those would be taken by
    another process before the server that it is meant for has started.
    """
    while True:
        port = random.SystemRandom().randrange(20000, 32768)
        with socket.socket() as bound:
            try:
                bound.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
