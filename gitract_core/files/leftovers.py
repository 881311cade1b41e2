"""Half-written files (``.NAME.*.part``): whose writers live, and what the killed ones left.

A writer holds a lock on its file (``flock``), which the kernel takes back however the writer ends.
Where the file system has no locks, a file of a day ago is nobody's.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

_SUFFIX = ".part"
_LONG_SECONDS = 24 * 3600.0


@contextlib.contextmanager
def new_part(path: Path) -> Iterator[Path]:
    """A new file beside ``path``, this process's own; removed at the end unless it was renamed."""
    handle, part = _made(path)
    try:
        yield part
    finally:
        part.unlink(missing_ok=True)
        os.close(handle)


def remove_leftovers(folder: Path, name: str = "") -> None:
    """Remove half-written files whose writers have ended; raises nothing.

    Args:
        folder: looked through, without those below it.
        name: of the file that they were to be; any if empty.
    """
    with contextlib.suppress(OSError):
        begin = f".{name}." if name else "."
        for found in os.listdir(folder):
            if found.endswith(_SUFFIX) and found.startswith(begin):
                _remove_left(folder / found)


def set_aside(path: Path) -> None:
    """Name what is there, if anything, ``NAME.damaged``, in place of an earlier one."""
    import shutil

    if not os.path.lexists(path):
        return
    aside = path.with_name(f"{path.name}.damaged")
    if aside.is_dir() and not aside.is_symlink():
        shutil.rmtree(aside)
    else:
        aside.unlink(missing_ok=True)  # a folder takes the place of no file
    path.replace(aside)


def _made(path: Path) -> tuple[int, Path]:
    while True:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=_SUFFIX, dir=path.parent)
        with contextlib.suppress(OSError):  # no locks there
            fcntl.flock(handle, fcntl.LOCK_EX)
        if os.fstat(handle).st_nlink:
            return handle, Path(name)
        os.close(handle)  # taken for a leftover before it was locked


def _remove_left(part: Path) -> None:
    with contextlib.suppress(OSError), part.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return  # its writer lives
        except OSError:
            if time.time() - os.fstat(file.fileno()).st_mtime < _LONG_SECONDS:
                return
        part.unlink()
