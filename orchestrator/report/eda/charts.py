"""Charts of the exploratory analysis: which organs, where in a scan, how far they overlap."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from matplotlib.ticker import MaxNLocator

from gitract_core.eda.counting import spoken_name
from gitract_core.errors import counted
from gitract_core.organs import Organs
from orchestrator.report.eda.tables import overlap_groups
from orchestrator.report.organ_names import organ_name
from orchestrator.report.style import SERIES_COLORS, legend_columns, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from gitract_core.eda.exploration import Exploration
    from gitract_core.eda.overlaps import OverlapProfile

_ANY_COLOR = "#777777"
_OVERLAP_COLOR = SERIES_COLORS[3]
MOST_BARS = 24
"""Combinations in figure 3, the most frequent ones."""
MOST_CURVES = 8
"""Organs in figure 6, those of most slices."""
_BAR_HEIGHT = 0.72


def combination_figure(exploration: Exploration) -> Figure:
    """Figure 3: annotated slices by exact combination, a band of each organ's color in a bar."""
    every = [row for table in exploration.figure_3.values() for row in table.rows]
    named = [row for row in every if set(row.name.split("+")) <= set(exploration.organs)]
    frequent = sorted(named, key=lambda row: -row.slices)[:MOST_BARS]
    rows = [row for row in named if row in frequent]
    colors = Organs(exploration.organs).colors
    figure, (axes,) = new_figure(width=5.6, height=max(3.2, 0.9 + 0.27 * len(rows)))
    for place, row in enumerate(rows):
        organs = row.name.split("+")
        band = _BAR_HEIGHT / len(organs)
        for number, organ in enumerate(organs):
            bottom = place - _BAR_HEIGHT / 2 + number * band
            axes.barh(bottom, row.slices, band, align="edge", color=colors[organ])
        share = "" if row.share_of_annotated is None else f" ({row.share_of_annotated:.1%})"
        text = f"{row.slices:,}{share}"
        axes.annotate(text, (row.slices, place), (4, 0), textcoords="offset points", va="center")
    axes.set_yticks(range(len(rows)), [spoken_name(row.name, exploration.organs) for row in rows])
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    axes.set_xlim(0, 1.45 * max([1, *(row.slices for row in rows)]))
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.set_xlabel("slices (share of the annotated ones)")
    which = "" if len(rows) == len(every) else f", the {len(rows)} most frequent sets"
    axes.set_title(f"Annotated slices by the organs they hold{which}", loc="left")
    return figure


def position_figure(exploration: Exploration) -> Figure:
    """Figure 6: scans whose slice of a number holds an organ, with the peaks marked."""
    figure, (axes,) = new_figure(width=5.6, height=3.6)
    shown = drawn_organs(exploration)
    colors = {"any": _ANY_COLOR, **Organs(exploration.organs).colors}
    labels = []
    for name in ("any", *shown):
        color = colors[name]
        profile = exploration.figure_6[name]
        numbers = range(1, len(profile.histogram) + 1)
        label = f"{organ_name(name)} organ" if name == "any" else organ_name(name)
        if profile.peak_slice is not None and profile.peak_scans is not None:
            label += f", peak {profile.peak_slice} ({counted(profile.peak_scans, 'scan')})"
            axes.plot(profile.peak_slice, profile.peak_scans, "o", color=color, markersize=5)
            axes.vlines(profile.peak_slice, 0, profile.peak_scans, color, "dotted", linewidth=1)
        labels.append(label)
        axes.plot(numbers, profile.histogram, color=color, label=label, linewidth=1.6)
        if name == "any":
            axes.fill_between(numbers, profile.histogram, color=color, alpha=0.12, linewidth=0)
    axes.set_xlim(1, max(2, len(exploration.figure_6["any"].histogram)))
    axes.set_ylim(0)
    axes.yaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.set_xlabel("slice number")
    axes.set_ylabel("scans with the organ in that slice")
    more = len(exploration.organs) - len(shown)
    which = "" if not more else f", the {len(shown)} in most slices of {len(exploration.organs)}"
    axes.set_title(f"Where in a scan the organs lie{which}", loc="left")
    columns = min(2, legend_columns(figure, labels))
    figure.legend(loc="outside lower center", ncols=columns, frameon=False, fontsize=9)
    return figure


def drawn_organs(exploration: Exploration) -> list[str]:
    """The organs of figure 6: all, or of many those that most slices hold."""
    slices = {organ: exploration.figure_6[organ].slices for organ in exploration.organs}
    most = sorted(slices, key=lambda organ: -slices[organ])[:MOST_CURVES]
    return [organ for organ in exploration.organs if organ in most]


def overlap_figure(
    exploration: Exploration, groups: Sequence[str] | None = None, columns: int = 2
) -> Figure:
    """Figure 12: slices by the area in which a group of organs overlaps, a panel a group."""
    groups = overlap_groups(exploration) if groups is None else groups
    if not groups:
        figure, (axes,) = new_figure(height=1.2)
        axes.set_axis_off()
        axes.text(0.5, 0.5, "no organs overlap", ha="center", va="center")
        return figure
    rows = -(-len(groups) // columns)
    figure, panels = new_figure(rows, columns, width=4.4, height=2.9)
    for axes, group in zip(panels, groups, strict=False):
        axes.set_title(spoken_name(group, exploration.organs), loc="left")
        _overlap_panel(axes, exploration.figure_12[group])
    for axes in panels[len(groups) :]:
        axes.set_axis_off()
    return figure


def _overlap_panel(axes: Axes, profile: OverlapProfile) -> None:
    axes.set_xlabel("overlap, pixels of a slice")
    axes.set_ylabel("slices (log)")
    lefts = [profile.bin_width_px * place for place in range(len(profile.histogram))]
    axes.bar(lefts, profile.histogram, profile.bin_width_px, align="edge", color=_OVERLAP_COLOR)
    axes.set_yscale("log")
    axes.set_ylim(0.7, 4.0 * max(10, *profile.histogram, 10))
    axes.set_xlim(0, max(10, profile.max_px + profile.bin_width_px))
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    text = f"{profile.slices:,} of {counted(profile.slices_together, 'slice', ',')} overlap"
    if profile.quantiles_px is not None:
        text += f"\nmedian {profile.quantiles_px['p50']:,.0f} px, largest {profile.max_px:,} px"
    axes.text(0.98, 0.96, text, transform=axes.transAxes, ha="right", va="top")


def organ_colors(exploration: Exploration, shown: Iterable[str]) -> dict[str, str]:
    """Legend of pictures: shown name of an organ -> its color."""
    colors, wanted = Organs(exploration.organs).colors, set(shown)
    return {organ_name(organ): color for organ, color in colors.items() if organ in wanted}
