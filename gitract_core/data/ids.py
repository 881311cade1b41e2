"""Ids of patients, scans and slices: text, and the order in which people count them.

A patient's and a scan's id is 1 to 64 of ``A-Za-z0-9._-``. A slice is a scan and a number along
the scan's own slice axis. ``SliceKey`` is how the contest spells the id of a slice.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from gitract_core.errors import DataError

NAME_PATTERN = r"^[A-Za-z0-9._-]{1,64}$"
"""Of a patient's or a scan's id, for the shapes of JSON files."""
_NAME = re.compile(NAME_PATTERN.strip("^$"), re.ASCII)
_DIGITS = re.compile(r"(\d+)", re.ASCII)
_SLICE_ID = re.compile(r"case(\d{1,9})_day(\d{1,9})_slice_(\d{4}|[1-9]\d{4,5})", re.ASCII)
SLICE_ID_PATTERN = _SLICE_ID.pattern


def natural_key(text: str) -> tuple[tuple[str | int, ...], str]:
    """A sort key by which numbers inside of texts count as numbers.

    >>> sorted(["case12_day2", "case2_day10", "case2_day9"], key=natural_key)
    ['case2_day9', 'case2_day10', 'case12_day2']
    """
    parts = _DIGITS.split(text)  # text and digits in turns, so that likes are compared
    return tuple(int(p) if place % 2 else p for place, p in enumerate(parts)), text


def check_name(what: str, text: object) -> None:
    """Check the id of a patient or a scan.

    Raises:
        DataError: not text, or a character that file names and tables do not bear.
    """
    if not isinstance(text, str) or not _NAME.fullmatch(text) or not text.strip("."):
        expected = "1 to 64 of A-Z a-z 0-9 . _ -"
        raise DataError(what, expected, f"{text!r:.100}", "rename it")


@dataclass(frozen=True, slots=True, order=True)
class SliceKey:
    """What names a slice of the contest.

    >>> SliceKey.parse("case123_day20_slice_0065")
    SliceKey(case=123, day=20, slice=65)
    >>> SliceKey(123, 20, 65).id
    'case123_day20_slice_0065'
    """

    case: int
    day: int
    slice: int

    def __post_init__(self) -> None:
        if min(self.case, self.day) < 0 or self.slice < 1:
            expected = "case and day from 0, slice from 1"
            raise DataError("slice key", expected, self, "mend the id")

    @classmethod
    def parse(cls, text: str) -> SliceKey:
        """The key in an id of the contest.

        Raises:
            DataError: the text is not such an id.
        """
        match = _SLICE_ID.fullmatch(text)
        if match is None:
            remedy = "mend the id"
            raise DataError("slice id", "caseN_dayN_slice_NNNN", repr(text), remedy)
        return cls(*(int(g) for g in match.groups()))

    @property
    def id(self) -> str:
        """The contest's id of the slice."""
        return f"{self.scan}_slice_{self.slice:04d}"

    @property
    def scan(self) -> str:
        """The name of the scan, ``case123_day20``."""
        return f"case{self.case}_day{self.day}"
