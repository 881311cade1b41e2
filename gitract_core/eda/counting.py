"""Slices counted by the organs they hold: the paper's tables 1 to 4 and its figure 3.

The paper prints the counts; which of its tables holds which count is our reading: (1) empty or
not, (2) number of organs, (3) organs, (4) pairs of organs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations as choose

import numpy as np

from gitract_core.eda.coverage import N_COMBINATIONS, combination_of, organs_of
from gitract_core.errors import DataError
from gitract_core.organs import N_ORGANS, ORGANS

PAIRS = tuple(choose(ORGANS, 2))
GROUPS = (*PAIRS, ORGANS)
"""The pairs of organs, then all three."""
_SECTIONS = {"A": "exactly one organ", "B": "exactly two organs", "C": "all three organs"}


@dataclass(frozen=True)
class CountRow:
    """Slices of one kind.

    Attributes:
        name: of the kind.
        slices: how many there are.
        share: of all slices, 0 to 1.
        share_of_annotated: of the slices with an organ; None where the row holds empty slices or
            no slice has an organ.
    """

    name: str
    slices: int
    share: float
    share_of_annotated: float | None


@dataclass(frozen=True)
class CountTable:
    """Rows that may or may not exclude each other; the title says what is counted."""

    title: str
    rows: tuple[CountRow, ...]

    @property
    def slices(self) -> int:
        """The rows' counts added up."""
        return sum(row.slices for row in self.rows)


@dataclass(frozen=True)
class SliceCounts:
    """How many slices hold exactly which organs; all tables follow from it.

    Attributes:
        exact: eight counts, by the number of the combination.
    """

    exact: tuple[int, ...]

    def __post_init__(self) -> None:
        if len(self.exact) != N_COMBINATIONS or min(self.exact) < 0 or not any(self.exact):
            expected = f"{N_COMBINATIONS} counts, one of them above 0"
            raise DataError("slice counts", expected, self.exact, "count every combination")

    @classmethod
    def of(cls, slice_combinations: np.ndarray) -> SliceCounts:
        """From the combination of each slice, int (slices,), 0 to 7."""
        return cls(tuple(np.bincount(slice_combinations, minlength=N_COMBINATIONS).tolist()))

    @property
    def total(self) -> int:
        """All slices."""
        return sum(self.exact)

    @property
    def annotated(self) -> int:
        """Slices with an organ."""
        return self.total - self.exact[0]

    def holding(self, organs: Iterable[str]) -> int:
        """Slices that hold these organs and maybe others.

        >>> SliceCounts((5, 1, 0, 2, 0, 0, 0, 4)).holding(["large_bowel", "small_bowel"])
        6
        """
        wanted = combination_of(organs)
        return sum(n for c, n in enumerate(self.exact) if c & wanted == wanted)

    def row(self, name: str, slices: int, *, with_empty: bool = False) -> CountRow:
        """A row with its shares."""
        annotated = None if with_empty or not self.annotated else slices / self.annotated
        return CountRow(name, slices, slices / self.total, annotated)


def group_name(organs: Sequence[str]) -> str:
    """A combination in words; "empty" without organs.

    >>> group_name(("small_bowel", "stomach"))
    'small_bowel+stomach'
    """
    return "+".join(organs) or "empty"


def spoken_name(name: str) -> str:
    """A name of these tables as people write it.

    >>> spoken_name("large_bowel+stomach"), spoken_name("large_bowel+small_bowel+stomach")
    ('large bowel + stomach', 'all three organs')
    """
    if name == group_name(ORGANS):
        return "all three organs"
    return name.replace("_", " ").replace("+", " + ")


def tables(counts: SliceCounts) -> tuple[CountTable, CountTable, CountTable, CountTable]:
    """Tables 1 to 4."""
    empty = counts.row("empty", counts.exact[0], with_empty=True)
    by_number = [
        sum(n for c, n in enumerate(counts.exact) if c.bit_count() == number)
        for number in range(N_ORGANS + 1)
    ]
    numbers = (counts.row(str(k), n, with_empty=k == 0) for k, n in enumerate(by_number))
    organs = (counts.row(organ, counts.holding([organ])) for organ in ORGANS)
    pairs = (counts.row(group_name(pair), counts.holding(pair)) for pair in PAIRS)
    return (
        CountTable(
            "empty and annotated slices", (empty, counts.row("annotated", counts.annotated))
        ),
        CountTable("number of organs in a slice", tuple(numbers)),
        CountTable("slices with an organ", tuple(organs)),
        CountTable("slices with a pair of organs", tuple(pairs)),
    )


def combination_table(counts: SliceCounts) -> CountTable:
    """All eight exact combinations, which add up to all slices."""
    rows = [_exact_row(counts, c) for c in sorted(range(N_COMBINATIONS), key=int.bit_count)]
    return CountTable("slices by the exact combination of organs", tuple(rows))


def figure_3(counts: SliceCounts) -> dict[str, CountTable]:
    """Annotated slices in sections: one organ (A), two (B), three (C), most frequent first."""
    sections = {}
    for number, (section, title) in enumerate(_SECTIONS.items(), 1):
        rows = [_exact_row(counts, c) for c in range(N_COMBINATIONS) if c.bit_count() == number]
        rows.sort(key=lambda row: -row.slices)
        sections[section] = CountTable(title, tuple(rows))
    return sections


def _exact_row(counts: SliceCounts, combination: int) -> CountRow:
    name = group_name(organs_of(combination))
    return counts.row(name, counts.exact[combination], with_empty=combination == 0)
