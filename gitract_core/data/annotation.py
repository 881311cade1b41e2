"""What is known of an organ's annotation in a slice or a scan."""

from __future__ import annotations

from enum import IntEnum


class State(IntEnum):
    """An organ's annotation: nobody looked, looked and not there, or drawn."""

    UNKNOWN = 0
    EMPTY = 1
    DRAWN = 2
