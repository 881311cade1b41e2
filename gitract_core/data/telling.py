"""What a reader does with a fault: stop at it, or have it listed and read on without the part."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from gitract_core.errors import DataError

Tell: TypeAlias = Callable[[DataError], None]


def stop(fault: DataError) -> None:
    """Raise the fault: what a reader does unless it is told otherwise."""
    raise fault
