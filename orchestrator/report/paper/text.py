"""A ``PaperTable`` in a terminal and as Markdown; flat rows as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from gitract_core.files.atomic import write_bytes
from orchestrator.report.paper.tables import PaperTable


def terminal_view(table: PaperTable, *, notes: bool = True) -> RenderableType:
    """The title, the table, and (unless they stand elsewhere) its notes dimmed."""
    view = Table(box=None, pad_edge=False, header_style="bold")
    for number, name in enumerate(table.header):
        view.add_column(Text(name), justify="right" if number else "left", overflow="fold")
    for row in table.rows:
        view.add_row(*map(Text, row))
    below = [Text(note, style="dim") for note in table.notes] if notes else []
    return Group(Text(table.title, style="bold"), view, *below, Text(""))


def markdown(tables: Sequence[PaperTable]) -> str:
    """The tables one after another, each with its title and notes."""
    return "\n".join(_markdown(table) for table in tables)


def _markdown(table: PaperTable) -> str:
    rule = ["---", *["---:"] * (len(table.header) - 1)]
    lines = ["| " + " | ".join(map(_cell, row)) + " |" for row in (table.header, rule, *table.rows)]
    notes = [f"\n{note}" for note in table.notes]
    return "\n".join([f"**{table.title}**\n", *lines, *notes, ""])


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def write_markdown_tables(tables: Sequence[PaperTable], path: Path) -> Path:
    """Write the tables as Markdown, atomically."""
    write_bytes(path, markdown(tables).encode())
    return path


def write_rows(rows: Sequence[Mapping[str, Any]], path: Path) -> Path:
    """Write flat rows as CSV, atomically; an empty field where there is no number."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n", restval="")
    writer.writeheader()
    writer.writerows({k: "" if v is None or v != v else v for k, v in row.items()} for row in rows)
    write_bytes(path, text.getvalue().encode())
    return path
