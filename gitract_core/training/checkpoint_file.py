"""The digest at the end of a checkpoint; loads no torch, so that everybody may look at it.

PyTorch does not compare the check sums of its own archives when it reads them.
"""

from __future__ import annotations

from pathlib import Path

from gitract_core.errors import RunError
from gitract_core.files.digests import CHECKED, changed, digest_of

_MARK = b"\nxxh3_128 "  # then 32 hexadecimal digits, of all before it
_MARKED_BYTES = len(_MARK) + 32


def mark_of(state: memoryview) -> bytes:
    """What follows a state in its file."""
    return _MARK + digest_of(state).encode() if CHECKED else b""


def unmarked(checkpoint: Path) -> bytes | memoryview:
    """The state that a file holds.

    Raises:
        OSError: unreadable.
        RunError: not what was written; files of an earlier version have no digest.
    """
    content = checkpoint.read_bytes()
    before, mark, noted = content[-_MARKED_BYTES:].partition(_MARK)
    if not mark or before or not CHECKED:
        return content
    state = memoryview(content)[:-_MARKED_BYTES]
    said, found = noted.decode("ascii", "replace"), digest_of(state)
    if found != said:
        raise changed(checkpoint, said, found, "remove the file")
    return state


def check_whole(checkpoint: Path) -> None:
    """Compare a checkpoint with its own digest.

    Raises:
        RunError: unreadable, or not what was written.
    """
    try:
        unmarked(checkpoint)
    except OSError as error:
        raise RunError(checkpoint, "a checkpoint", error.strerror, "remove the file") from None


def is_whole(checkpoint: Path) -> bool:
    """Whether a checkpoint is as it was written."""
    try:
        check_whole(checkpoint)
    except RunError:
        return False
    return True
