"""Standard output and error that cannot end a command: readers that leave, full disks, encodings.

A reader that goes away (``| head -1``) is nothing wrong: what a command has still to say is dropped
and its work goes on. Output that cannot be written for another reason is told once, and makes the
exit code 1. Characters that a stream's encoding lacks are replaced by the nearest that it has. A
terminal that tells no width, or one in which no table fits, is taken to have 80 columns.
"""

from __future__ import annotations

import codecs
import contextlib
import errno
import io
import os
import select
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from typing_extensions import Buffer

_NEAREST = {"\u00b1": "~", "\u00b2": "2", "\u00d7": "x", "\u2026": "."}
_ERRORS = "gitract-nearest"
_LEAST_COLUMNS = 20


class Outlet(io.RawIOBase):
    """A descriptor that is written to as long as somebody takes what is written.

    Attributes:
        fault: why writing ended, unless a reader has gone; None as long as it has not.
    """

    def __init__(self, descriptor: int, name: str) -> None:
        self.descriptor, self.name = descriptor, name
        self.fault: OSError | None = None
        self._gone = False

    def write(self, data: Buffer) -> int:
        """Write some of the data, or all of it to nowhere."""
        size = memoryview(data).nbytes
        while not self._gone:
            try:
                return os.write(self.descriptor, data)
            except BlockingIOError:  # whoever shares it has set it so
                select.select([], [self.descriptor], [])
            except OSError as error:
                self._gone = True
                if error.errno not in (errno.EPIPE, errno.ECONNRESET):
                    self._tell(error)
        return size

    def _tell(self, error: OSError) -> None:
        self.fault = error
        line = f"gitract-cv: {self.name}: expected room to write, got {error.strerror}; "
        with contextlib.suppress(OSError):
            os.write(2, f"{line}free some space, or send it elsewhere\n".encode())

    def writable(self) -> bool:
        """Yes."""
        return True

    def fileno(self) -> int:
        """The descriptor."""
        return self.descriptor

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        return os.isatty(self.descriptor)


@contextlib.contextmanager
def tolerant_streams() -> Iterator[list[Outlet]]:
    """``sys.stdout`` and ``sys.stderr`` through outlets; those that a caller replaced stay."""
    codecs.register_error(_ERRORS, _nearest)
    _open_missing()
    before, outlets = (sys.stdout, sys.stderr), list[Outlet]()
    sys.stdout = _tolerant(sys.stdout, 1, "standard output", outlets)
    sys.stderr = _tolerant(sys.stderr, 2, "standard error", outlets)
    try:
        yield outlets
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        sys.stdout, sys.stderr = before


def settle_width() -> None:
    """Let Rich see a width that lines fit in; ``COLUMNS`` may say 0, serial terminals 1."""
    told = os.environ.get("COLUMNS", "")
    if told.isdigit() and int(told) < _LEAST_COLUMNS:
        del os.environ["COLUMNS"]
    for number in range(3):
        with contextlib.suppress(OSError):
            if 0 < os.get_terminal_size(number).columns < _LEAST_COLUMNS:
                os.environ.setdefault("COLUMNS", "80")


def _open_missing() -> None:
    """Open nothing in place of closed descriptors: a file of a run might get their numbers."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free


def _tolerant(stream: TextIO | None, number: int, name: str, outlets: list[Outlet]) -> TextIO:
    if stream is None:  # closed before Python began
        return open(os.devnull, "w", encoding="utf-8")
    try:
        ours = stream.fileno() == number
    except (OSError, ValueError):
        ours = False
    if not ours:
        return stream
    with contextlib.suppress(OSError, ValueError):
        stream.flush()
    outlets.append(Outlet(number, name))
    return io.TextIOWrapper(
        io.BufferedWriter(outlets[-1]),
        encoding=stream.encoding,
        errors=_ERRORS,
        line_buffering=stream.isatty() or number == 2,
    )


def _nearest(error: UnicodeError) -> tuple[str | bytes, int]:
    """What stands for characters that an encoding lacks, one for one; bytes of names as escapes."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    bad = error.object[error.start : error.end]
    return "".join(map(_nearest_character, bad)), error.end


def _nearest_character(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte of a name that is not UTF-8
        return f"\\x{code - 0xDC00:02x}"
    return _NEAREST.get(character, "?")
