"""Names of files and folders in UTF-8, which some of the libraries that we write with need."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gitract_core.errors import RunError

if TYPE_CHECKING:
    from pathlib import Path


def is_utf8(path: Path) -> bool:
    """Whether all of a path can be written as text."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def require_utf8(path: Path) -> None:
    """Refuse a path that is not in UTF-8, those of the folders above it included.

    Raises:
        RunError: always for such a path.
    """
    whole = path.resolve()
    if not is_utf8(whole):
        raise RunError(whole, "a name in UTF-8", "other bytes", "rename the folder")
