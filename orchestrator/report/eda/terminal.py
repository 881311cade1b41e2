"""The exploratory analysis in a terminal, 80 columns wide."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from gitract_core.eda.counting import spoken_name
from orchestrator.report.organ_names import known_in_words, organ_name

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gitract_core.eda.counting import CountRow, CountTable
    from gitract_core.eda.exploration import Exploration
    from gitract_core.eda.inventory import Inventory
    from gitract_core.eda.overlaps import AreaProfile
    from gitract_core.eda.positions import Gap

_BLOCKS = " ▁▂▃▄▅▆▇█"
_SPARK_COLUMNS = 22
_BAR_COLUMNS = 16
_NAME_COLUMNS = 37
_GAPS_SHOWN = 10
MOST_ROWS = 40
"""Rows of a table of combinations; JSON has all."""
_MOST_TERMINAL_ROWS = 15
MOST_PANELS = 8
"""Groups in figure 12, those of the largest overlaps."""


def eda_view(exploration: Exploration) -> RenderableType:
    """All tables, one below the other."""
    parts = [
        _inventory(exploration.inventory),
        _counts(exploration),
        _positions(exploration),
        _areas(exploration),
        _gaps(exploration.gaps),
    ]
    if exploration.known:
        known = known_in_words(exploration.known, 6).replace("not scored", "counted as not there")
        parts.insert(1, Text(known))
    spaced = [line for part in parts for line in (part, Text(""))]
    return Group(*spaced[:-1])


def percent(share: float | None) -> str:
    """A share with two decimals, or a dash.

    >>> percent(0.569046), percent(None)
    ('56.90 %', '-')
    """
    return "-" if share is None else f"{100 * share:.2f} %"


def number(value: float | None) -> str:
    """With thousands parted and no decimals but a half, or a dash.

    >>> number(38496), number(52.5), number(92.0), number(None)
    ('38,496', '52.5', '92', '-')
    """
    if value is None:
        return "-"
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.1f}"


def frequencies(counts: dict[int, int], one: str, many: str) -> str:
    """Counts of counts in words.

    >>> frequencies({80: 15, 144: 259}, "slice", "slices")
    '15 of 80 slices, 259 of 144 slices'
    """
    return ", ".join(f"{n} of {k} {one if k == 1 else many}" for k, n in counts.items())


def sparkline(counts: Iterable[int], columns: int = _SPARK_COLUMNS) -> str:
    """Counts as a line of blocks, the greatest of neighbors in each column.

    >>> sparkline([0, 1, 2, 4], 4)
    ' ▂▄█'
    """
    values = list(counts)
    columns = min(columns, len(values))
    edges = [place * len(values) // columns for place in range(columns + 1)]
    tops = [max(values[a:b]) for a, b in pairwise(edges)]
    highest = max(1, *tops, 1)
    return "".join(_BLOCKS[-(-8 * top // highest)] for top in tops)


def _table(title: str, first: str, *columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", title=title, title_style="bold")
    table.title_justify = "left"
    table.add_column(first)
    for column in columns:
        table.add_column(column, justify="right")
    return table


def _inventory(inventory: Inventory) -> RenderableType:
    heading = f"{inventory.cases:,} cases, {inventory.scans:,} scans, {inventory.slices:,} slices"
    lines = (
        f"Cases: {frequencies(inventory.scans_per_case, 'scan', 'scans')}",
        f"Scans: {frequencies(inventory.slices_per_scan, 'slice', 'slices')}",
    )
    table = _table("Sizes", "height x width", "spacing mm", "slices", "scans")
    for size in inventory.sizes:
        spacing = "-" if size.spacing_x_mm is None else f"{size.spacing_x_mm} x {size.spacing_y_mm}"
        table.add_row(
            f"{size.height} x {size.width}", spacing, number(size.slices), number(size.scans)
        )
    return Group(Text(heading, style="bold"), *map(Text, lines), Text(""), table)


def _counts(exploration: Exploration) -> Table:
    """Tables 1 to 4 and figure 3 under one header, so that figures stand below each other."""
    table = _table("", "", "slices", "of all", "of annotated", "")
    table.title = None
    table.columns[0].min_width = _NAME_COLUMNS
    table.columns[-1].justify = "left"
    sections = {f"Table {n}": getattr(exploration, f"table_{n}") for n in (1, 2, 3, 4)} | {
        f"Figure 3{s}": part for s, part in exploration.figure_3.items()
    }
    for name, section in sections.items():
        _add_section(table, f"{name}: {section.title}", section, exploration)
    return table


def largest(section: CountTable, most: int) -> tuple[list[CountRow], int]:
    """The rows of a table, or the most frequent ones of many; and how many are left out."""
    if len(section.rows) <= most:
        return list(section.rows), 0
    return sorted(section.rows, key=lambda row: -row.slices)[:most], len(section.rows) - most


def overlap_groups(exploration: Exploration, most: int = MOST_PANELS) -> list[str]:
    """The groups of figure 12: all, or of many those of most overlapping pixels, largest first."""
    groups = exploration.figure_12
    if len(groups) <= most:
        return list(groups)
    return sorted(groups, key=lambda group: -groups[group].sum_px)[:most]


def _add_section(table: Table, title: str, section: CountTable, exploration: Exploration) -> None:
    total = exploration.inventory.slices
    if table.row_count:
        table.add_row()
    table.add_row(Text(title, style="bold"))
    most = _MOST_TERMINAL_ROWS if any("+" in row.name for row in section.rows) else MOST_ROWS
    shown, more = largest(section, most)
    for row in shown:
        name = Text(f"  {spoken_name(row.name, exploration.organs)}")
        bar = "█" * round(_BAR_COLUMNS * row.slices / total)
        shares = percent(row.share), percent(row.share_of_annotated)
        table.add_row(name, number(row.slices), *shares, Text(bar, style="dim"))
    if more:
        table.add_row(f"  and {more} rarer ones in --json")


def _positions(exploration: Exploration) -> Table:
    table = _table(
        "Figure 6: where in a scan organs lie (medians over the scans that hold them)",
        "",
        "peak",
        "scans",
        "first",
        "last",
        "slices a scan",
        "along the scan",
    )
    table.columns[-1].justify = "left"
    for name, profile in exploration.figure_6.items():
        spread = profile.slices_per_scan
        a_scan = "-" if spread is None else f"{spread.min}-{number(spread.median)}-{spread.max}"
        figures = (profile.peak_slice, profile.peak_scans, profile.first_median)
        cells = (number(value) for value in (*figures, profile.last_median))
        spark = sparkline(profile.histogram) if profile.slices else "-"
        table.add_row(Text(organ_name(name)), *cells, a_scan, spark)
    return table


def _areas(exploration: Exploration) -> RenderableType:
    columns = ("slices", "p5", "median", "p95", "largest px")
    overlaps = _table("Figure 12: overlaps, pixels of a slice", "", "of", *columns)
    groups = overlap_groups(exploration, _MOST_TERMINAL_ROWS)
    for name in groups:
        profile = exploration.figure_12[name]
        shown = Text(spoken_name(name, exploration.organs))
        overlaps.add_row(shown, number(profile.slices_together), *_area_cells(profile))
    if len(groups) < len(exploration.figure_12):
        more = len(exploration.figure_12) - len(groups)
        overlaps.add_row(f"and {more} smaller ones in --json")
    areas = _table("Areas of organs, pixels of a slice", "", *columns)
    for name, area in exploration.areas.items():
        areas.add_row(Text(organ_name(name)), *_area_cells(area))
    return Group(overlaps, Text(""), areas)


def _area_cells(profile: AreaProfile) -> tuple[str, ...]:
    levels = profile.quantiles_px or {}
    quantiles = (levels.get(name) for name in ("p5", "p50", "p95"))
    rounded = (number(None if q is None else round(q)) for q in quantiles)
    largest = profile.max_px if profile.slices else None
    return number(profile.slices), *rounded, number(largest)


def _gaps(gaps: tuple[Gap, ...]) -> RenderableType:
    if not gaps:
        return Text("No organ is missing between two slices of a scan that hold it.")
    table = _table("Organs missing between slices that hold them", "scan", "organ", "slices")
    for gap in gaps[:_GAPS_SHOWN]:
        table.add_row(gap.scan, Text(organ_name(gap.organ)), slice_list(gap.slices))
    if len(gaps) > _GAPS_SHOWN:
        table.add_row(f"and {len(gaps) - _GAPS_SHOWN} more")
    return table


def slice_list(numbers: tuple[int, ...], most: int = 6) -> str:
    """Slice numbers, the first ones if they are many.

    >>> slice_list((3, 4)), slice_list((1, 2, 3), 2)
    ('3, 4', '1, 2 and 1 more')
    """
    shown = ", ".join(map(str, numbers[:most]))
    return shown + (f" and {len(numbers) - most} more" if len(numbers) > most else "")
