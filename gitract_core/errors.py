"""The exceptions of this project.

::

    GitractError            exit code 2: something given to us is wrong
    |-- DataError           a data set: folder, train.csv, image, fold
    |   |-- FaultyDataError      several of its faults at once
    |   |-- NoScanError     files that hold something else than a scan for networks
    |   `-- RleError        run-length text that is not a mask of the stated size
    |-- SpaceError          a search space or a knob in it, a loss expression included
    |-- SubmissionError     a submission or another table of masks
    |-- RunError            a run directory, a result or a manifest in it
    `-- TrialError          exit code 1: a trial that could not be finished
        `-- DivergedError   its figures are no longer such as a result can hold
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Self


_LONGEST_PART = 400


class GitractError(Exception):
    """One line a person can act on: where, what was expected, what was found, what to do.

    Args:
        where: the file, row or key at fault.
        expected: what should have been there.
        got: what was there.
        remedy: what to do about it, as an imperative ("pass --data DIR").
    """

    def __init__(self, where: object, expected: str, got: object, remedy: str) -> None:
        super().__init__(where, expected, got, remedy)

    def __str__(self) -> str:
        where, expected, got, remedy = (one_line(part) for part in self.args)
        return f"{where}: expected {expected}, got {got}; {remedy}"

    def within(self, where: object) -> Self:
        """The same error, with the larger place (a file, a slice) named before its own."""
        inner, *rest = self.args
        return type(self)(f"{where}, {inner}", *rest)


def one_line(part: object) -> str:
    r"""What we were given as people can read it, who may see it on a terminal.

    >>> one_line("a\n b\x1b[2J")
    'a b\\x1b[2J'
    >>> len(one_line("x" * 10**6))
    403
    """
    return printable(" ".join(str(part).split()))


def printable(text: str) -> str:
    """A line of a file of someone else's, for a terminal: not too long, without escapes."""
    text = in_utf8(text if len(text) <= _LONGEST_PART else f"{text[:_LONGEST_PART]}...")
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def in_utf8(text: str) -> str:
    r"""A text with the bytes of a name that are not UTF-8 as escapes, so that it can be written.

    >>> in_utf8("gr\udcf6\udcdfe")
    'gr\\xf6\\xdfe'
    """
    if text.isascii():
        return text
    known = (f"\\x{ord(c) - 0xDC00:02x}" if "\udc80" <= c <= "\udcff" else c for c in text)
    return "".join(known).encode(errors="backslashreplace").decode()


def counted(number: int, word: str, form: str = "") -> str:
    """A number with its word.

    Args:
        number: how many.
        word: one of them; its plural ends with an s.
        form: of the number, as ``format`` takes it.

    >>> counted(1, "patient"), counted(2, "patient"), counted(1200, "slice", ",")
    ('1 patient', '2 patients', '1,200 slices')
    """
    return f"{number:{form}} {word}{'' if number == 1 else 's'}"


class DataError(GitractError):
    """A data set is not as the contest's layout says."""


class FaultyDataError(DataError):
    """Several faults of a data set, all of them known; reads as the first.

    Attributes:
        faults: one or more.
    """

    def __init__(self, *faults: DataError) -> None:
        super().__init__(*faults[0].args)
        self.faults = faults

    def __str__(self) -> str:
        others = len(self.faults) - 1
        more = f" (and {others} more; gitract-cv validate lists them)" if others else ""
        return f"{self.faults[0]}{more}"

    def __reduce__(self) -> tuple[type[FaultyDataError], tuple[DataError, ...]]:
        return FaultyDataError, self.faults


class RleError(DataError):
    """A run-length text is not a mask of the stated size."""


class NoScanError(DataError):
    """Files hold something else than a scan: a localizer, a dose, an image of one value."""


class SpaceError(GitractError):
    """A search space, or a knob in it, is not one we know."""


class SubmissionError(GitractError):
    """A submission, or another table of masks, cannot be read as one."""


class RunError(GitractError):
    """A run directory does not hold what it should."""


class TrialError(GitractError):
    """A trial could not be finished."""


class DivergedError(TrialError):
    """Figures that are not finite, or too large to be written; another attempt would end alike."""

    kind = "diverged"


def suggestion(word: str, known: Iterable[str]) -> str:
    """An imperative for an unknown word: the nearest known one, or the whole list.

    >>> suggestion("lerning_rate", ["learning_rate", "batch_size"])
    "did you mean 'learning_rate'?"
    >>> suggestion("x", ["b", "a"])
    'use one of: a, b'
    >>> suggestion("x", ["dice, depth 4", "bce, depth 4"])
    'use one of: bce, depth 4; dice, depth 4'
    """
    names = sorted(known)
    close = get_close_matches(word, names, n=1)
    between = "; " if any("," in name for name in names) else ", "
    return f"did you mean {close[0]!r}?" if close else f"use one of: {between.join(names)}"
