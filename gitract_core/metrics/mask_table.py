"""Tables of masks as the contest writes them: one row a (slice, class), run-length text.

Ids are ``case123_day20_slice_0065``; what stands before ``_slice_`` names the scan.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from gitract_core.data import rle
from gitract_core.data.scan_table_faults import Gap, gap_of
from gitract_core.errors import RleError, SubmissionError, suggestion
from gitract_core.files.limits import MOST_PIXELS, MOST_VOXELS
from gitract_core.metrics.scan_score import ScanScore
from gitract_core.organs import CONTEST, Organs

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    Row = tuple[str, str]  # id and class

Gaps: TypeAlias = Literal["close", "keep"]
_ID = re.compile(r"(?P<scan>.+)_slice_(?P<number>[0-9]+)")


@dataclass(frozen=True)
class MaskTable:
    """Run-length text by (id, class).

    Attributes:
        name: what the table is called in errors.
        texts: (id, class) -> text, empty for an empty mask.
        organs: the classes that may occur, in channel order.
    """

    name: str
    texts: dict[Row, str]
    organs: Organs = CONTEST

    @classmethod
    def of(
        cls,
        table: pd.DataFrame,
        name: str,
        columns: Sequence[str],
        *,
        organs: Organs | None = None,
    ) -> MaskTable:
        """Read a table with columns ``id``, ``class`` and the first of ``columns`` that it has.

        Args:
            table: the rows.
            name: what the table is called in errors.
            columns: names that the column of run-length text may have.
            organs: the classes that may occur; those of the table by default (``organs_of``).

        Raises:
            SubmissionError: a missing column, an unknown class, a row given twice.
        """
        column = next((c for c in columns if c in table.columns), columns[0])
        for needed in ("id", "class", column):
            if needed not in table.columns:
                got = ", ".join(map(str, table.columns))
                raise SubmissionError(name, f"a column {needed!r}", got, "mend the header")
        organs = organs_of(table) if organs is None else organs
        values = table[column].astype("object")
        rows = zip(map(str, table["id"]), map(str, table["class"]), strict=True)
        texts: dict[Row, str] = {}
        for row, text in zip(rows, values.where(values.notna(), ""), strict=True):
            where = f"{name}, {row[0]}, {row[1]}"
            if row[1] not in organs.names:
                remedy = suggestion(row[1], organs.names)
                raise SubmissionError(where, "a known class", repr(row[1]), remedy)
            if row in texts:
                raise SubmissionError(where, "one row a slice and class", "it twice", "remove one")
            texts[row] = text
        return cls(name, texts, organs)

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes that occur, in channel order."""
        there = {organ for _, organ in self.texts}
        return tuple(organ for organ in self.organs if organ in there)

    def check_complete(self) -> None:
        """Raise a ``SubmissionError`` unless each id has every class that occurs."""
        classes = self.classes
        for name in dict.fromkeys(name for name, _ in self.texts):
            for organ in classes:
                if (name, organ) not in self.texts:
                    where = f"{self.name}, {name}, {organ}"
                    remedy = f"give every slice the rows {', '.join(classes)}"
                    raise SubmissionError(where, "a row", "none", remedy)

    def check_rows_are_those_of(self, other: MaskTable) -> None:
        """Raise a ``SubmissionError`` naming the first row that only one of both has."""
        for rows, others, got in (
            (other.texts, self.texts, "none"),
            (self.texts, other.texts, "a row too many"),
        ):
            lonely = next((row for row in rows if row not in others), None)
            if lonely:
                where = f"{self.name}, {lonely[0]}, {lonely[1]}"
                expected = f"the rows of the {other.name}"
                raise SubmissionError(where, expected, got, f"match the {other.name}'s ids")


def organs_of(table: pd.DataFrame) -> Organs:
    """The organs of a table's column ``class``.

    Those of the contest if it has no others; else its classes as they come, without those that
    fewer than half of the ids have, which are slips of the pen.
    """
    named = table["class"].dropna()
    times = named.astype(str).value_counts(sort=False)  # in order of appearance
    classes = times.index[(2 * times >= table["id"].nunique()) & (times.index != "")]
    if set(classes) <= set(CONTEST):
        return CONTEST
    return Organs(tuple(classes))


@dataclass(frozen=True, slots=True)
class ScanSlices:
    """A scan's slices: ids in slice order, and their one size in pixels.

    An empty id is the place of a slice that the scan lacks.
    """

    ids: tuple[str, ...]
    height: int
    width: int

    def of_slices(self, score: ScanScore) -> ScanScore:
        """A score without rows of slices that the scan lacks; distances stay as they are."""
        there = np.array([bool(name) for name in self.ids])
        if there.all():
            return score
        return replace(
            score,
            intersection_px=score.intersection_px[:, there],
            prediction_px=score.prediction_px[:, there],
            truth_px=score.truth_px[:, there],
        )


def gaps_of(table: pd.DataFrame) -> list[Gap]:
    """The gaps of the scans of a table with a column ``id``, in its order; bad ids are left out."""
    numbers: dict[str, list[int]] = {}
    for name in dict.fromkeys(map(str, table["id"])):
        if match := _ID.fullmatch(name):
            numbers.setdefault(match["scan"], []).append(int(match["number"]))
    found = (gap_of(scan, np.array(there)) for scan, there in numbers.items())
    return [gap for gap in found if gap is not None]


def scans_of(table: pd.DataFrame, gaps: Gaps = "close") -> list[ScanSlices]:
    """The scans of a table with columns ``id``, ``height`` and ``width``, one row or more an id.

    Args:
        table: the rows.
        gaps: ``close``: slices are stacked as they come; ``keep``: one that is missing between
            two others has its place.

    Raises:
        SubmissionError: a missing column, an id that names no slice, a bad size, a scan with
            slices of several sizes.
    """
    members: dict[str, list[tuple[int, str]]] = {}
    sizes: dict[str, tuple[int, int]] = {}
    for name, size in slice_sizes(table).items():
        match = _ID.fullmatch(name)
        if not match:
            remedy = "write ids as case123_day20_slice_0065"
            raise SubmissionError(f"truth, id {name!r}", "an id of a slice", repr(name), remedy)
        scan = match["scan"]
        if sizes.setdefault(scan, size) != size:
            remedy = "give every slice of a scan one size"
            raise SubmissionError(f"truth, {name}", f"size {sizes[scan]}", size, remedy)
        members.setdefault(scan, []).append((int(match["number"]), name))
        if len(members[scan]) * size[0] * size[1] > MOST_VOXELS:
            expected, got = f"at most {MOST_VOXELS} voxels a scan", "more"
            raise SubmissionError(f"truth, {name}", expected, got, "correct the sizes")
    ordered = {scan: tuple(name for _, name in sorted(pairs)) for scan, pairs in members.items()}
    if gaps == "keep":
        ordered = {s: _with_places(s, sorted(pairs), sizes[s]) for s, pairs in members.items()}
    return [ScanSlices(ids, *sizes[scan]) for scan, ids in ordered.items()]


def _with_places(
    scan: str, slices: Sequence[tuple[int, str]], size: tuple[int, int]
) -> tuple[str, ...]:
    """Ids by number, empty where there is no slice."""
    first, last = slices[0][0], slices[-1][0]
    if (last - first + 1) * size[0] * size[1] > MOST_VOXELS:
        expected, got = f"at most {MOST_VOXELS} voxels a scan", f"slices {first} to {last}"
        raise SubmissionError(f"truth, {scan}", expected, got, "leave --gaps keep out")
    names = dict(slices)
    if len(names) < len(slices):
        got = f"two of number {next(n for n, name in slices if names[n] != name)}"
        raise SubmissionError(f"truth, {scan}", "one slice a number", got, "mend the ids")
    return tuple(names.get(number, "") for number in range(first, last + 1))


def slice_sizes(table: pd.DataFrame) -> dict[str, tuple[int, int]]:
    """Id -> (height, width) in pixels, in the order of the table.

    Raises:
        SubmissionError: a missing column, a size that is no whole number of 1 or more, an id with
            two sizes.
    """
    import pandas as pd  # here, so that scores of arrays load without it

    for column in ("id", "height", "width"):
        if column not in table.columns:
            raise SubmissionError("truth", f"a column {column!r}", "none", "add the sizes")
    heights, widths = (pd.to_numeric(table[c], errors="coerce") for c in ("height", "width"))
    sizes: dict[str, tuple[int, int]] = {}
    for name, height, width in zip(map(str, table["id"]), heights, widths, strict=True):
        if not (height >= 1 and width >= 1 and height % 1 == width % 1 == 0):
            got = f"{height} x {width}"
            raise SubmissionError(f"truth, {name}", "a size in pixels", got, "correct it")
        if height * width > MOST_PIXELS:
            expected, got = f"at most {MOST_PIXELS} pixels", f"{height:.0f} x {width:.0f}"
            raise SubmissionError(f"truth, {name}", expected, got, "correct the size")
        size = (int(height), int(width))
        if sizes.setdefault(name, size) != size:
            remedy = "give a slice one size"
            raise SubmissionError(f"truth, {name}", f"size {sizes[name]}", size, remedy)
    return sizes


def scan_volume(table: MaskTable, scan: ScanSlices) -> NDArray[np.bool_]:
    """Masks of a scan, boolean (organs, slices, height, width); absent rows are empty.

    Raises:
        RleError: bad run-length text; names the table and row.
    """
    masks = np.zeros((len(table.organs), len(scan.ids), scan.height, scan.width), np.bool_)
    for channel, organ in enumerate(table.organs):
        for place, name in enumerate(scan.ids):
            text = table.texts.get((name, organ), "")
            if text:
                try:
                    rle.decode_into(text, masks[channel, place])
                except RleError as error:
                    raise error.within(f"{table.name}, {name}, {organ}") from None
    return masks
