"""A table as values, and what it is as text: terminal, Markdown, CSV, HTML.

Each renderer escapes what its form would take for markup. All follow one rule for a cell:
``Column.text``. CSV alone keeps the values, for programs.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from numbers import Real
from typing import TYPE_CHECKING, Any, Literal

from rich.console import Group
from rich.table import Table as RichTable
from rich.text import Text

if TYPE_CHECKING:
    from markupsafe import Markup
    from rich.console import RenderableType

MISSING = "-"
"""A cell without a value."""


@dataclass(frozen=True)
class Column:
    """What the cells of a column have in common.

    Attributes:
        name: the header.
        align: of header and cells, in a terminal and in Markdown.
        show: makes text of a value that is neither text nor missing.
        style: of the cells in a terminal, a style of rich.
        min_width: characters in a terminal.
        wrap: whether a terminal may break its cells into lines.
    """

    name: str
    align: Literal["left", "right"] = "right"
    show: Callable[[Any], str] = str
    style: str = ""
    min_width: int | None = None
    wrap: bool = True

    def text(self, value: Any) -> str:
        """The cell of a value: ``MISSING`` for None and NaN, text as it is, else by ``show``."""
        if is_missing(value):
            return MISSING
        return value if isinstance(value, str) else self.show(value)


@dataclass(frozen=True)
class Table:
    """Named columns and rows of values.

    Attributes:
        title: one line; empty for none.
        columns: one for each value of a row.
        rows: values, in the order of the columns.
        notes: lines below the table.
        left_out: rows that ``cut`` removed.
    """

    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Any, ...], ...]
    notes: tuple[str, ...] = ()
    left_out: int = 0

    def __post_init__(self) -> None:
        wrong = [row for row in self.rows if len(row) != len(self.columns)]
        if wrong:
            raise ValueError(f"table {self.title!r}: {len(self.columns)} columns, row {wrong[0]}")

    @classmethod
    def of_records(cls, records: Sequence[Mapping[str, Any]]) -> Table:
        """Rows by column name; the first record has all columns, others may lack some.

        Raises:
            ValueError: a later record has a column that the first one lacks.
        """
        names = list(records[0])
        for record in records:
            more = record.keys() - names
            if more:
                raise ValueError(f"columns of the first row: {names}, later also {sorted(more)}")
        rows = tuple(tuple(record.get(name) for name in names) for record in records)
        return cls("", tuple(map(Column, names)), rows)

    @property
    def header(self) -> tuple[str, ...]:
        """Names of the columns."""
        return tuple(column.name for column in self.columns)

    @property
    def cells(self) -> tuple[tuple[str, ...], ...]:
        """The rows as text, before any escaping."""
        return tuple(
            tuple(column.text(value) for column, value in zip(self.columns, row, strict=True))
            for row in self.rows
        )

    def cut(self, most: int) -> Table:
        """The first ``most`` rows."""
        more = max(len(self.rows) - most, 0)
        return replace(self, rows=self.rows[:most], left_out=self.left_out + more)

    def pick(self, names: Mapping[str, str]) -> Table:
        """Some columns, under other names.

        Args:
            names: old name -> new name, in the new order.
        """
        places = [self.header.index(name) for name in names]
        columns = tuple(replace(self.columns[p], name=names[self.header[p]]) for p in places)
        return replace(
            self, columns=columns, rows=tuple(tuple(r[p] for p in places) for r in self.rows)
        )

    def without(self, *names: str) -> Table:
        """All columns but these."""
        return self.pick({name: name for name in self.header if name not in names})


def is_missing(value: Any) -> bool:
    """Whether a value is None or NaN."""
    return value is None or (isinstance(value, Real) and value != value)


def percent(share: float) -> str:
    """A share with two decimals.

    >>> percent(0.569046)
    '56.90 %'
    """
    return f"{100 * share:.2f} %"


def number(value: float) -> str:
    """With thousands parted and no decimals but a half.

    >>> number(38496), number(52.5), number(92.0)
    ('38,496', '52.5', '92')
    """
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.1f}"


def decimal(value: float) -> str:
    """Four decimals without the leading zero, or a dash for NaN; a zero has no sign.

    >>> decimal(0.61237), decimal(1.0), decimal(-0.05), decimal(-1e-9), decimal(float("nan"))
    ('.6124', '1.0000', '-.0500', '.0000', '-')
    """
    if value != value:
        return "-"
    shown = round(value, 4)
    return ("-" if shown < 0 else "") + f"{abs(shown):.4f}".removeprefix("0")


def span(low: float, high: float) -> str:
    """An interval, or a dash where there is none.

    >>> span(-0.0123, 0.5), span(float("nan"), float("nan"))
    ('-.0123 to .5000', '-')
    """
    return f"{decimal(low)} to {decimal(high)}" if low == low else MISSING


def to_terminal(table: Table, *, notes: bool = True, more: str = "") -> RenderableType:
    """The title, the table and its notes, one below the other.

    Args:
        table: what to show.
        notes: whether to show the notes.
        more: last line of a table that was cut, with ``{}`` for the number of rows left out.
    """
    view = _rich_table(table.columns)
    for row in table.cells:
        view.add_row(*map(_visible, row))
    if more and table.left_out:
        view.add_row(_visible(more.format(table.left_out)))
    above = [Text(table.title, style="bold")] if table.title else []
    below = [Text(note, style="dim") for note in table.notes] if notes else []
    return Group(*above, view, *below)


def to_terminal_together(tables: Sequence[Table], *, more: str = "") -> RenderableType:
    """Tables of the same columns under one header, so that their figures stand below each other.

    Args:
        tables: one or more; titles are lines of their own, and rows are indented below them.
        more: as in ``to_terminal``.
    """
    view = _rich_table(tables[0].columns)
    for place, table in enumerate(tables):
        if place:
            view.add_row()
        view.add_row(Text(table.title, style="bold"))
        for first, *others in table.cells:
            view.add_row(_visible(f"  {first}"), *map(_visible, others))
        if more and table.left_out:
            view.add_row(_visible(f"  {more.format(table.left_out)}"))
    return view


def _rich_table(columns: Sequence[Column]) -> RichTable:
    view = RichTable(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        view.add_column(
            _visible(column.name),
            justify=column.align,
            style=column.style,
            min_width=column.min_width,
            no_wrap=not column.wrap,
            overflow="fold",
        )
    return view


def _visible(text: str) -> Text:
    """Text without markup and with escapes in place of control characters."""
    return Text("".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in text))


def to_markdown(table: Table) -> str:
    """The title in bold, the table and its notes; ends with a line break."""
    rule = ["---" if column.align == "left" else "---:" for column in table.columns]
    lines = [_markdown_row(row) for row in (table.header, rule, *table.cells)]
    title = [f"**{table.title}**\n"] if table.title else []
    return "\n".join([*title, *lines, *(f"\n{note}" for note in table.notes), ""])


def _markdown_row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(map(_markdown_cell, cells)) + " |"


def _markdown_cell(text: str) -> str:
    """One line; a pipe, and backslashes that would undo its escape, are escaped."""
    line = " ".join(text.splitlines())
    return re.sub(r"(\\*)\|", r"\1\1\\|", line)


def to_csv(table: Table) -> str:
    """Header and values, unrounded; an empty field where a value is missing."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(table.header)
    writer.writerows(["" if is_missing(v) else v for v in row] for row in table.rows)
    return text.getvalue()


def to_html(table: Table) -> Markup:
    """A ``table`` element in a box that scrolls sideways, then a paragraph for each note.

    Alignment is left to the page's style sheet.
    """
    from markupsafe import Markup, escape

    def row(tag: str, end: str, cells: Sequence[str]) -> str:
        return "<tr>" + "".join(f"<{tag}>{escape(cell)}</{end}>" for cell in cells) + "</tr>\n"

    return Markup(
        f'<div class="wide"><table><caption>{escape(table.title)}</caption>\n'
        + row('th scope="col"', "th", table.header)
        + "".join(row("td", "td", cells) for cells in table.cells)
        + "</table></div>"
        + "".join(f"\n<p>{escape(note)}</p>" for note in table.notes)
    )
