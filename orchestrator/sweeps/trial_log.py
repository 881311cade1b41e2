"""A trial's log, ``RUN/trials/<key>/trial.log``, as it is read; ``execution`` writes it.

It holds everything that the trial's process wrote to its standard output and error. Each attempt
begins and ends with a marked line.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

NAME = "trial.log"
MARK = "=== "


def last_lines(log: Path, count: int = 4) -> tuple[str, ...]:
    """The end of the last attempt, without our own marks; nothing where there is no log."""
    with contextlib.suppress(OSError):
        text = tail(log, 2**16).decode(errors="replace")
        last = f"\n{text}".rpartition(f"\n{MARK}attempt ")[2].splitlines()[1:]
        lines = [line.rstrip() for line in last if line.strip() and not line.startswith(MARK)]
        return tuple(lines[-count:])
    return ()


def tail(log: Path, size: int) -> bytes:
    """The last bytes of a file; nothing if it is not there."""
    try:
        with log.open("rb") as file:
            file.seek(max(log.stat().st_size - size, 0))
            return file.read()
    except FileNotFoundError:
        return b""
