"""Slices counted by the organs in them: the paper's tables 1 to 4 and its figure 3.

The paper prints the counts without naming the tables. We read them as: (1) empty or
not, (2) number of organs, (3) organs, (4) pairs of organs. Of up to ``FEW_ORGANS`` organs every
combination has a row, as in the paper; of more, only those that occur.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations as choose

import numpy as np

from gitract_core.errors import DataError, printable
from gitract_core.organs import Organs

FEW_ORGANS = 4
MOST_KINDS = 5
"""Combinations of one number of organs in figure 3, where there are more organs than a few."""
_LONGEST_GROUP = 4  # organs that a group's name spells out
_WORDS = {1: "one", 2: "two", 3: "three", 4: "four"}


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
        """Sum of the rows' counts. A slice may be in several rows."""
        return sum(row.slices for row in self.rows)


@dataclass(frozen=True)
class SliceCounts:
    """How many slices hold exactly which organs; all tables follow from it.

    Attributes:
        organs: of the data set.
        exact: slices by combination of organs, in the organs' order; ``()`` is no organ.
            Combinations that do not occur may be left out.
    """

    organs: Organs
    exact: Mapping[tuple[str, ...], int]

    def __post_init__(self) -> None:
        if min(self.exact.values(), default=0) < 0 or not any(self.exact.values()):
            expected, remedy = "counts, one of them above 0", "count every combination"
            raise DataError("slice counts", expected, dict(self.exact), remedy)

    @classmethod
    def of(cls, present: np.ndarray, organs: Organs) -> SliceCounts:
        """From the organs that each slice holds, boolean (slices, organs)."""
        kinds, slices = np.unique(np.packbits(present, axis=1), axis=0, return_counts=True)
        held = np.unpackbits(kinds, axis=1, count=len(organs))
        names = [tuple(organs.names[i] for i in np.flatnonzero(row)) for row in held]
        return cls(organs, dict(zip(names, slices.tolist(), strict=True)))

    @property
    def total(self) -> int:
        """Slices of the data set, empty ones included."""
        return sum(self.exact.values())

    @property
    def annotated(self) -> int:
        """Slices with at least one organ."""
        return self.total - self.exact.get((), 0)

    def holding(self, organs: Iterable[str]) -> int:
        """Slices that hold these organs and maybe others.

        >>> counts = SliceCounts(Organs(("a", "b")), {(): 5, ("a",): 1, ("a", "b"): 4})
        >>> counts.holding(["a"])
        5
        """
        held, slices = self._by_organ
        places = [self.organs.place(organ) for organ in organs]
        return int(slices[held[:, places].all(axis=1)].sum())

    @cached_property
    def _by_organ(self) -> tuple[np.ndarray, np.ndarray]:
        """Boolean (combinations, organs), and slices of each combination."""
        held = [[organ in set(kind) for organ in self.organs] for kind in self.exact]
        return np.array(held, bool), np.array(list(self.exact.values()))

    def row(self, name: str, slices: int, *, with_empty: bool = False) -> CountRow:
        """A row with its shares of all slices and of the annotated ones."""
        annotated = None if with_empty or not self.annotated else slices / self.annotated
        return CountRow(name, slices, slices / self.total, annotated)

    def combinations(self, number: int) -> list[tuple[str, ...]]:
        """Combinations of ``number`` organs: all of a few organs, else those that occur."""
        if len(self.organs) <= FEW_ORGANS:
            every = choose(range(len(self.organs)), number)
            in_order = sorted(every, key=lambda places: sum(1 << place for place in places))
            return [tuple(self.organs.names[p] for p in places) for places in in_order]
        occurring = [kind for kind, n in self.exact.items() if n and len(kind) == number]
        return sorted(occurring, key=lambda kind: (-self.exact[kind], kind))

    @property
    def most_organs(self) -> int:
        """Largest number of organs of a row: all of a few organs, else as many as occur."""
        if len(self.organs) <= FEW_ORGANS:
            return len(self.organs)
        return max((len(kind) for kind, n in self.exact.items() if n), default=0)


def pairs_of(organs: Organs) -> list[tuple[str, ...]]:
    """All pairs, in the organs' order."""
    return list(choose(organs.names, 2))


def groups_of(organs: Organs) -> list[tuple[str, ...]]:
    """The pairs, then all organs where these are more than two."""
    return [*pairs_of(organs), *([organs.names] if len(organs) > 2 else [])]


def group_name(organs: Sequence[str]) -> str:
    """A combination in words; "empty" without organs.

    >>> group_name(("small_bowel", "stomach"))
    'small_bowel+stomach'
    """
    return "+".join(organs) or "empty"


def spoken_name(name: str, organs: Sequence[str]) -> str:
    """A name of these tables as people write it.

    >>> spoken_name("large_bowel+stomach", ("large_bowel", "small_bowel", "stomach"))
    'large bowel + stomach'
    >>> spoken_name("a+b+c", ("a", "b", "c")), spoken_name("a+b+c+d+e", tuple("abcdefg"))
    ('all three organs', 'a + b + c + 2 more')
    """
    if len(organs) > 2 and name == group_name(organs):
        return f"all {_WORDS.get(len(organs), str(len(organs)))} organs"
    parts = name.split("+")
    if len(parts) > _LONGEST_GROUP:
        parts = [*parts[:3], f"{len(parts) - 3} more"]
    return printable(" + ".join(parts).replace("_", " "))


def tables(counts: SliceCounts) -> tuple[CountTable, CountTable, CountTable, CountTable]:
    """Tables 1 to 4."""
    organs = counts.organs
    empty = counts.row("empty", counts.exact.get((), 0), with_empty=True)
    by_number = [
        sum(n for kind, n in counts.exact.items() if len(kind) == number)
        for number in range(counts.most_organs + 1)
    ]
    few = len(organs) <= FEW_ORGANS
    shown = [(k, n) for k, n in enumerate(by_number) if n or few or not k]
    numbers = (counts.row(str(k), n, with_empty=k == 0) for k, n in shown)
    singles = (counts.row(organ, counts.holding([organ])) for organ in organs)
    pairs = (counts.row(group_name(pair), counts.holding(pair)) for pair in pairs_of(organs))
    return (
        CountTable(
            "empty and annotated slices", (empty, counts.row("annotated", counts.annotated))
        ),
        CountTable("number of organs in a slice", tuple(numbers)),
        CountTable("slices with an organ", tuple(singles)),
        CountTable("slices with a pair of organs", tuple(pairs)),
    )


def combination_table(counts: SliceCounts) -> CountTable:
    """The exact combinations, which add up to all slices; of many organs those that occur."""
    kinds = [k for number in range(counts.most_organs + 1) for k in counts.combinations(number)]
    rows = [_exact_row(counts, kind) for kind in kinds]
    return CountTable("slices by the exact combination of organs", tuple(rows))


def figure_3(counts: SliceCounts) -> dict[str, CountTable]:
    """Annotated slices in sections: one organ (A), two (B), three (C), most frequent first.

    Of many organs, sections that are empty are left out, and the rarer combinations of a section
    are one row.
    """
    sections = {}
    for number in range(1, counts.most_organs + 1):
        rows = [_exact_row(counts, kind) for kind in counts.combinations(number)]
        rows.sort(key=lambda row: -row.slices)
        if len(counts.organs) > FEW_ORGANS and len(rows) > MOST_KINDS + 1:
            rest = rows[MOST_KINDS:]
            other = f"{len(rest)} other combinations"
            rows = [*rows[:MOST_KINDS], counts.row(other, sum(row.slices for row in rest))]
        if rows:
            title = _number_of_organs(number, len(counts.organs))
            sections[_letters(number)] = CountTable(title, tuple(rows))
    return sections


def _number_of_organs(number: int, of: int) -> str:
    word = _WORDS.get(number, str(number))
    if number == of > 1:
        return f"all {word} organs"
    return f"exactly {word} organ{'s' if number > 1 else ''}"


def _letters(number: int) -> str:
    """A for 1, Z for 26, AA for 27."""
    before, place = divmod(number - 1, 26)
    return (_letters(before) if before else "") + chr(ord("A") + place)


def _exact_row(counts: SliceCounts, kind: tuple[str, ...]) -> CountRow:
    return counts.row(group_name(kind), counts.exact.get(kind, 0), with_empty=not kind)
