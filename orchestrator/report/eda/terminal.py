"""The exploratory analysis in a terminal, 80 columns wide."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.text import Text

from gitract_core.errors import counted
from orchestrator.report.eda.tables import (
    MOST_ROWS,
    area_table,
    combination_tables,
    count_tables,
    frequencies,
    gap_table,
    most_frequent,
    overlap_table,
    position_table,
    size_table,
)
from orchestrator.report.organ_names import known_in_words
from orchestrator.report.table import Table, to_terminal, to_terminal_together

if TYPE_CHECKING:
    from gitract_core.eda.exploration import Exploration
    from gitract_core.eda.inventory import Inventory

_MOST_GROUPS = 15  # rows of a table whose rows are groups of organs
_MOST_GAPS = 10
_MOST_GAP_SLICES = 6
_POSITIONS = {
    "": "",
    "peak slice": "peak",
    "scans there": "scans",
    "median first": "first",
    "median last": "last",
    "slices a scan": "slices a scan",
    "along the scan": "along the scan",
}
_AREAS = {"5 %": "p5", "median": "median", "95 %": "p95", "largest": "largest px"}


def eda_view(exploration: Exploration) -> RenderableType:
    """All tables, one below the other."""
    parts = [
        _inventory(exploration.inventory),
        to_terminal(size_table(exploration)),
        _counts(exploration),
        to_terminal(_positions(exploration)),
        to_terminal(_overlaps(exploration), more="and {} smaller ones in --json"),
        to_terminal(area_table(exploration).pick({"": "", "slices": "slices", **_AREAS})),
        _gaps(exploration),
    ]
    if exploration.known:
        known = known_in_words(exploration.known, 6).replace("not scored", "counted as not there")
        parts.insert(2, Text(known))
    spaced = [line for part in parts for line in (part, Text(""))]
    return Group(*spaced[:-1])


def _inventory(inventory: Inventory) -> RenderableType:
    numbers = (inventory.cases, "case"), (inventory.scans, "scan"), (inventory.slices, "slice")
    heading = ", ".join(counted(number, word, ",") for number, word in numbers)
    lines = (
        f"Cases: {frequencies(inventory.scans_per_case, 'scan', 'scans')}",
        f"Scans: {frequencies(inventory.slices_per_scan, 'slice', 'slices')}",
    )
    return Group(Text(heading, style="bold"), *map(Text, lines))


def _counts(exploration: Exploration) -> RenderableType:
    """Tables 1 to 4 and figure 3 under one header."""
    tables = []
    for table in (*count_tables(exploration), *combination_tables(exploration)):
        of_groups = any(" + " in name for name, *_ in table.rows)
        cut = most_frequent(table, _MOST_GROUPS if of_groups else MOST_ROWS)
        tables.append(cut.pick({**dict(zip(cut.header, cut.header, strict=True)), "bar": ""}))
    return to_terminal_together(tables, more="and {} rarer ones in --json")


def _positions(exploration: Exploration) -> Table:
    title = "Figure 6: where in a scan organs lie (medians over the scans that hold them)"
    return replace(position_table(exploration).pick(_POSITIONS), title=title)


def _overlaps(exploration: Exploration) -> Table:
    names = {"": "", "slices with all": "of", "overlapping": "slices", **_AREAS}
    table = overlap_table(exploration, _MOST_GROUPS).pick(names)
    return replace(table, title="Figure 12: overlaps, pixels of a slice")


def _gaps(exploration: Exploration) -> RenderableType:
    if not exploration.gaps:
        return Text("No organ is missing between two slices of a scan that hold it.")
    table = gap_table(exploration, _MOST_GAP_SLICES).cut(_MOST_GAPS)
    title = "Organs missing between slices that hold them"
    return to_terminal(replace(table, title=title), more="and {} more")
