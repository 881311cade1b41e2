"""Where a Ray session of our own keeps its sockets and logs: below ``TMPDIR`` if that is short.

The path of a socket may have 107 bytes (``sun_path`` of ``unix(7)``), and Ray's own part of it
takes some seventy. Folders of batch jobs are often longer than what is left.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

from gitract_core.errors import GitractError

_MOST_BYTES = 107 if sys.platform == "linux" else 103
_SOCKET = "/session_2026-01-01_00-00-00_000000_{pid}/sockets/plasma_store"
_SHORT = ("/tmp", "/var/tmp", "/dev/shm")
_made: list[Path] = []


def session_folder() -> str | None:
    """A new short folder for a session, or None where Ray's own choice is short enough.

    Raises:
        GitractError: it is not, and no short folder can be written.
    """
    own = f"{os.environ.get('RAY_TMPDIR') or os.environ.get('TMPDIR') or '/tmp'}/ray"
    if _fits(own):
        return None
    for place in _SHORT:
        if _fits(f"{place}/gitract-xxxxxxxx") and os.access(place, os.W_OK | os.X_OK):
            _made.append(Path(tempfile.mkdtemp(prefix="gitract-", dir=place)))
            return str(_made[-1])
    room = _MOST_BYTES - len(os.fsencode(_SOCKET.format(pid=os.getpid()))) - len("/ray")
    remedy = "set TMPDIR to a shorter folder, or pass --local"
    raise GitractError("TMPDIR", f"a path of at most {room} bytes, for Ray's sockets", own, remedy)


def remove_session_folders() -> None:
    """Remove what ``session_folder`` made; called when the session is over."""
    while _made:
        shutil.rmtree(_made.pop(), ignore_errors=True)


def _fits(folder: str) -> bool:
    return len(os.fsencode(folder + _SOCKET.format(pid=os.getpid()))) <= _MOST_BYTES
