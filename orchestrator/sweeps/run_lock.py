"""Locks of a run: one sweep at a time into it; for object stores see ``storage.lease``.

The kernel holds the lock (``flock``) and lets go of it when the process ends, however it ends: a
sweep that was killed keeps nobody out. The file says who holds it, and goes with the lock. Each
trial has a lock of its own, held by the process that runs it; others may ask for it.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TextIO

from gitract_core.errors import RunError

LOCK = ".sweep.lock"
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)


@contextmanager
def sole_sweep(run: Path) -> Iterator[None]:
    """Hold a run directory, new or not, alone; a file system without locks keeps nobody out.

    Directories that it had to make are removed again where they stay empty.

    Raises:
        RunError: another process holds it; at once.
    """
    if run.exists() and not run.is_dir():
        yield  # not a run directory; a later check says so
        return
    made = [path for path in (run, *run.parents) if not path.exists()]
    run.mkdir(parents=True, exist_ok=True)
    with ExitStack() as at_end:
        at_end.callback(_remove_empty, made)
        file = at_end.enter_context(_locked(run))
        at_end.callback((run / LOCK).unlink, missing_ok=True)
        file.write(f"process {os.getpid()} on {socket.gethostname()}")
        file.flush()
        yield


def is_locked(lock: Path) -> bool:
    """Whether a process runs the trial of this lock; asked without keeping anyone from it."""
    try:
        with lock.open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _locked(run: Path) -> TextIO:
    """The lock's file, locked, and still the one that others find."""
    while True:
        file = (run / LOCK).open("a+")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            with file:
                raise _held(run, file) from None
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                file.close()
                raise
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file.fileno()), (run / LOCK).stat()):
                file.truncate(0)
                return file
        file.close()  # who held it removed it just now


def _held(run: Path, file: TextIO) -> RunError:
    file.seek(0)
    got = f"the one of {file.read(200) or 'another process'}"
    remedy = "wait for it to end, or pass another --out"
    return RunError(run, "no other sweep into this run", got, remedy)


def _remove_empty(made: list[Path]) -> None:
    for path in made:
        with suppress(OSError):
            path.rmdir()
