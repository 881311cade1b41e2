"""The exploratory analysis as tables, which a terminal and the page show alike.

Columns have the page's names. ``terminal`` and ``html`` pick columns and cut rows to their room.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

from gitract_core.eda.counting import spoken_name
from orchestrator.report.organ_names import organ_name
from orchestrator.report.table import Column, Table, number, percent

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gitract_core.eda.counting import CountTable
    from gitract_core.eda.exploration import Exploration
    from gitract_core.eda.overlaps import AreaProfile
    from gitract_core.eda.positions import Spread

_BLOCKS = " ▁▂▃▄▅▆▇█"
_SPARK_COLUMNS = 22
_BAR_COLUMNS = 16
_NAME_COLUMNS = 37
MOST_ROWS = 40
"""Rows of a table of combinations; JSON has all."""
MOST_PANELS = 8
"""Groups in figure 12, those of the largest overlaps."""


def size_table(exploration: Exploration) -> Table:
    """Sizes of images and pixels, with the slices and scans of each."""
    columns = (Column("height x width", "left"), Column("spacing mm"), *_counts("slices", "scans"))
    rows = []
    for size in exploration.inventory.sizes:
        spacing = (
            None if size.spacing_x_mm is None else f"{size.spacing_x_mm} x {size.spacing_y_mm}"
        )
        rows.append((f"{size.height} x {size.width}", spacing, size.slices, size.scans))
    return Table("Sizes", columns, tuple(rows))


def count_tables(exploration: Exploration) -> list[Table]:
    """Tables 1 to 4, and no part of figure 3."""
    return [
        _count_table(f"Table {n}", getattr(exploration, f"table_{n}"), exploration)
        for n in (1, 2, 3, 4)
    ]


def combination_tables(exploration: Exploration) -> list[Table]:
    """The parts of figure 3."""
    return [
        _count_table(f"Figure 3{part}", section, exploration)
        for part, section in exploration.figure_3.items()
    ]


def _count_table(name: str, section: CountTable, exploration: Exploration) -> Table:
    columns = (
        Column("", "left", min_width=_NAME_COLUMNS),
        *_counts("slices"),
        Column("of all", show=percent),
        Column("of annotated", show=percent),
        Column("bar", "left", show=bar, style="dim", wrap=False),
    )
    total = exploration.inventory.slices
    rows = tuple(
        (
            spoken_name(row.name, exploration.organs),
            row.slices,
            row.share,
            row.share_of_annotated,
            row.slices / total,
        )
        for row in section.rows
    )
    return Table(f"{name}: {section.title}", columns, rows)


def most_frequent(table: Table, most: int) -> Table:
    """A count table with its rows as they are, or the most frequent ones of more than ``most``."""
    if len(table.rows) <= most:
        return table
    place = table.header.index("slices")
    ordered = sorted(table.rows, key=lambda row: -int(row[place]))
    return replace(table, rows=tuple(ordered)).cut(most)


def position_table(exploration: Exploration) -> Table:
    """Figure 6 in numbers: where in a scan each organ lies."""
    columns = (
        Column("", "left"),
        *_counts("peak slice", "scans there", "median first", "median last"),
        Column("slices a scan", show=_spread),
        Column("along the scan", "left", show=sparkline),
    )
    rows = tuple(
        (
            organ_name(name),
            profile.peak_slice,
            profile.peak_scans,
            profile.first_median,
            profile.last_median,
            profile.slices_per_scan,
            profile.histogram if profile.slices else None,
        )
        for name, profile in exploration.figure_6.items()
    )
    return Table("Peaks, and least, median and most slices a scan", columns, rows)


def overlap_groups(exploration: Exploration, most: int = MOST_PANELS) -> list[str]:
    """The groups of figure 12: all, or of many those of most overlapping pixels, largest first."""
    groups = exploration.figure_12
    if len(groups) <= most:
        return list(groups)
    return sorted(groups, key=lambda group: -groups[group].sum_px)[:most]


def overlap_table(exploration: Exploration, most: int) -> Table:
    """Figure 12 in numbers: areas that several organs share.

    Args:
        exploration: of the data set.
        most: groups to show, chosen by ``overlap_groups``.
    """
    groups = {group: exploration.figure_12[group] for group in overlap_groups(exploration, most)}
    rows = tuple(
        (spoken_name(group, exploration.organs), profile.slices_together, *_areas(profile))
        for group, profile in groups.items()
    )
    columns = (Column("", "left"), *_counts("slices with all", "overlapping"), *_AREA_COLUMNS)
    left_out = len(exploration.figure_12) - len(rows)
    return Table("Overlap areas, pixels of a slice", columns, rows, left_out=left_out)


def area_table(exploration: Exploration) -> Table:
    """Areas of the organs in the slices that hold them."""
    rows = tuple((organ_name(name), *_areas(area)) for name, area in exploration.areas.items())
    columns = (Column("", "left"), *_counts("slices"), *_AREA_COLUMNS)
    return Table("Areas of organs, pixels of a slice", columns, rows)


def gap_table(exploration: Exploration, most_slices: int) -> Table:
    """Organs that are missing between two slices of a scan that hold them.

    Args:
        exploration: of the data set.
        most_slices: slice numbers to name in a row.
    """
    columns = (
        Column("scan", "left"),
        Column("organ"),
        Column("slices", show=lambda numbers: slice_list(numbers, most_slices)),
    )
    rows = tuple((gap.scan, organ_name(gap.organ), gap.slices) for gap in exploration.gaps)
    return Table("Organs missing between two slices of a scan that hold them", columns, rows)


def _counts(*names: str) -> tuple[Column, ...]:
    return tuple(Column(name, show=number) for name in names)


_AREA_COLUMNS = (*_counts("5 %", "median", "95 %", "largest"), Column("largest in"))


def _areas(profile: AreaProfile) -> tuple[int | str | None, ...]:
    """Slices, quantiles in whole pixels, the largest area and its slice."""
    levels = profile.quantiles_px or {}
    quantiles = [levels.get(level) for level in ("p5", "p50", "p95")]
    rounded = (None if value is None else round(value) for value in quantiles)
    largest = profile.max_px if profile.slices else None
    return profile.slices, *rounded, largest, profile.max_id or None


def _spread(spread: Spread) -> str:
    return f"{spread.min}-{number(spread.median)}-{spread.max}"


def frequencies(counts: dict[int, int], one: str, many: str) -> str:
    """Counts of counts in words.

    >>> frequencies({80: 15, 144: 259}, "slice", "slices")
    '15 of 80 slices, 259 of 144 slices'
    """
    return ", ".join(f"{n} of {k} {one if k == 1 else many}" for k, n in counts.items())


def bar(share: float) -> str:
    """A share of 1 as a bar of blocks.

    >>> bar(0.25)
    '████'
    """
    return "█" * round(_BAR_COLUMNS * share)


def sparkline(counts: Iterable[int], columns: int = _SPARK_COLUMNS) -> str:
    """Counts as a line of blocks, the largest of the neighbors in each column.

    >>> sparkline([0, 1, 2, 4], 4)
    ' ▂▄█'
    """
    values = list(counts)
    columns = min(columns, len(values))
    edges = [place * len(values) // columns for place in range(columns + 1)]
    tops = [max(values[a:b]) for a, b in pairwise(edges)]
    highest = max(1, *tops, 1)
    return "".join(_BLOCKS[-(-8 * top // highest)] for top in tops)


def slice_list(numbers: tuple[int, ...], most: int) -> str:
    """Slice numbers, the first ones if they are many.

    >>> slice_list((3, 4), 6), slice_list((1, 2, 3), 2)
    ('3, 4', '1, 2 and 1 more')
    """
    shown = ", ".join(map(str, numbers[:most]))
    return shown + (f" and {len(numbers) - most} more" if len(numbers) > most else "")
