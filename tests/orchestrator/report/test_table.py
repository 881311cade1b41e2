"""One table with hostile cells in each of its forms."""

from __future__ import annotations

import csv
import io
import math
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from rich.console import Console

from orchestrator.report.table import (
    Column,
    Table,
    number,
    percent,
    to_csv,
    to_html,
    to_markdown,
    to_terminal,
    to_terminal_together,
)

NAMES = ("a|b", "c\\|d\\", "[red]e[/red]", "<b>f</b> & 'g' \"h\"", "漢字 é", "i\x1b[2Jj", "k\nl")
VALUES = (0.25, None, math.nan, np.float32("nan"), 1, 0.0, "as it is")
SHOWN = ("25.00 %", "-", "-", "-", "100.00 %", "0.00 %", "as it is")
COUNTS = (1234567, 2.5, None, 0, math.nan, 7, 12)
TABLE = Table(
    "T [i]<x>",
    (Column("name [b] |<", "left"), Column("share", show=percent), Column("n", show=number)),
    tuple(zip(NAMES, VALUES, COUNTS, strict=True)),
    ("note <1> [u]",),
)


def terminal(view: object, width: int = 60) -> list[str]:
    text = io.StringIO()
    Console(width=width, file=text).print(view)
    return [line.rstrip() for line in text.getvalue().splitlines()]


def test_terminal_shows_markup_as_text_and_no_control_characters() -> None:
    lines = terminal(to_terminal(TABLE))
    assert lines[:2] == ["T [i]<x>", "name [b] |<            share          n"]
    assert lines[2] == "a|b                  25.00 %  1,234,567"
    assert lines[4] == "[red]e[/red]               -          -"
    assert lines[6].startswith("漢字 é ")
    assert re.fullmatch(r"i\\x1b\[2Jj +0.00 % +7", lines[7])
    assert re.fullmatch(r"k +as it is +12", lines[8])
    assert lines[9:] == ["l", "note <1> [u]"]
    assert terminal(to_terminal(TABLE, notes=False)) == lines[:-1]


def test_terminal_loses_no_text_where_it_is_narrow() -> None:
    table = Table("", (Column("", "left"), Column("n", wrap=False)), (("x" * 50, 123456),))
    lines = terminal(to_terminal(table), 20)
    assert "".join(lines).count("x") == 50
    assert any(line.endswith("123456") for line in lines)


def test_rows_left_out_are_counted() -> None:
    short = TABLE.cut(2)
    assert (len(short.rows), short.left_out) == (2, 5)
    assert TABLE.cut(99) == TABLE
    assert terminal(to_terminal(short, more="and {} more"))[4] == "and 5 more"
    assert "and" not in "".join(terminal(to_terminal(TABLE, more="and {} more")))
    lines = terminal(to_terminal_together([TABLE.cut(1), short], more="and {} more"))
    assert lines[1:4] == ["T [i]<x>", "  a|b         25.00 %  1,234,567", "  and 6 more"]
    assert lines[4:6] == ["", "T [i]<x>"]
    assert lines[-1] == "  and 5 more"


def test_markdown_has_one_line_a_row_and_the_same_columns_in_each() -> None:
    lines = to_markdown(TABLE).split("\n")
    assert lines[:2] == ["**T [i]<x>**", ""]
    assert lines[3] == "| --- | ---: | ---: |"
    assert lines[-3:] == ["", "note <1> [u]", ""]
    rows = lines[2:-3]
    assert len(rows) == 2 + len(NAMES)
    for line in rows:  # as the specification reads them: a backslash escapes what follows
        assert len(re.findall(r"(?:\\.|[^|\\])+(?=\|)", line)) == 3, line
    assert rows[2] == "| a\\|b | 25.00 % | 1,234,567 |"
    assert rows[3] == "| c\\\\\\|d\\ | - | 2.5 |"
    assert rows[-1] == "| k l | as it is | 12 |"
    assert to_markdown(Table("", TABLE.columns[:1], ())) == "| name [b] \\|< |\n| --- |\n"


def test_csv_keeps_values_and_leaves_missing_ones_empty() -> None:
    header, *rows = csv.reader(io.StringIO(to_csv(TABLE)))
    assert header == list(TABLE.header)
    assert [row[0] for row in rows] == list(NAMES)
    assert [row[1] for row in rows] == ["0.25", "", "", "", "1", "0.0", "as it is"]
    assert [row[2] for row in rows] == ["1234567", "2.5", "", "0", "", "7", "12"]


class _Cells(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.cells: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag in ("td", "th", "caption", "p"):
            self.cells.append("")

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.cells[-1] += data


def test_html_escapes_all_text() -> None:
    page = _Cells(to_html(TABLE))
    assert set(page.tags) == {"div", "table", "caption", "tr", "th", "td", "p"}
    assert page.tags.count("td") == 3 * len(NAMES)
    assert page.cells[:4] == [TABLE.title, *TABLE.header]
    assert page.cells[4:-1:3] == list(NAMES)
    assert page.cells[5:-1:3] == list(SHOWN)
    assert page.cells[-1] == TABLE.notes[0]


def test_columns_are_picked_renamed_and_checked() -> None:
    picked = TABLE.pick({"n": "count", "name [b] |<": ""})
    assert picked.header == ("count", "")
    assert picked.rows[0] == (1234567, "a|b")
    assert picked.cells[1] == ("2.5", "c\\|d\\")
    assert TABLE.without("share").header == ("name [b] |<", "n")
    with pytest.raises(ValueError, match="3 columns, row"):
        Table("t", TABLE.columns, ((1, 2),))


def test_records_may_lack_columns_but_add_none() -> None:
    table = Table.of_records([{"a": 1, "b": 2}, {"b": 3}])
    assert to_csv(table) == "a,b\n1,2\n,3\n"
    with pytest.raises(ValueError, match="later also"):
        Table.of_records([{"a": 1}, {"a": 1, "c": 2}])
