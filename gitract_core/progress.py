"""The type of progress callbacks; the core itself prints nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

Progress: TypeAlias = Callable[[int, int], None]
"""Called with (done, all), from the caller's thread."""


def silent(done: int, total: int) -> None:
    """Progress that nobody watches."""
