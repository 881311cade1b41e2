"""Charts of the exploratory analysis: which organs, where in a scan, how far they overlap."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from matplotlib.ticker import MaxNLocator

from gitract_core.eda.counting import GROUPS, group_name, spoken_name
from gitract_core.organs import ORGANS
from orchestrator.report.style import ORGAN_COLORS, SERIES_COLORS, new_figure, organ_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from gitract_core.eda.exploration import Exploration
    from gitract_core.eda.overlaps import OverlapProfile

OVERLAP_GROUPS = tuple(group_name(group) for group in GROUPS)
_ANY_COLOR = "#777777"
_OVERLAP_COLOR = SERIES_COLORS[len(ORGANS)]  # no organ's
_BAR_HEIGHT = 0.72


def combination_figure(exploration: Exploration) -> Figure:
    """Figure 3: annotated slices by exact combination, a band of each organ's color in a bar."""
    figure, (axes,) = new_figure(width=5.6, height=3.2)
    rows = [row for table in exploration.figure_3.values() for row in table.rows]
    for place, row in enumerate(rows):
        organs = row.name.split("+")
        band = _BAR_HEIGHT / len(organs)
        for number, organ in enumerate(organs):
            bottom = place - _BAR_HEIGHT / 2 + number * band
            axes.barh(bottom, row.slices, band, align="edge", color=ORGAN_COLORS[organ])
        share = "" if row.share_of_annotated is None else f" ({row.share_of_annotated:.1%})"
        text = f"{row.slices:,}{share}"
        axes.annotate(text, (row.slices, place), (4, 0), textcoords="offset points", va="center")
    axes.set_yticks(range(len(rows)), [spoken_name(row.name) for row in rows])
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    axes.set_xlim(0, 1.45 * max(1, *(row.slices for row in rows)))
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.set_xlabel("slices (share of the annotated ones)")
    axes.set_title("Annotated slices by the organs they hold", loc="left")
    return figure


def position_figure(exploration: Exploration) -> Figure:
    """Figure 6: scans whose slice of a number holds an organ, with the peaks marked."""
    figure, (axes,) = new_figure(width=5.6, height=3.6)
    colors = {"any": _ANY_COLOR, **ORGAN_COLORS}
    for name, color in colors.items():
        profile = exploration.figure_6[name]
        numbers = range(1, len(profile.histogram) + 1)
        label = f"{organ_name(name)} organ" if name == "any" else organ_name(name)
        if profile.peak_slice is not None and profile.peak_scans is not None:
            label += f", peak {profile.peak_slice} ({profile.peak_scans} scans)"
            axes.plot(profile.peak_slice, profile.peak_scans, "o", color=color, markersize=5)
            axes.vlines(profile.peak_slice, 0, profile.peak_scans, color, "dotted", linewidth=1)
        axes.plot(numbers, profile.histogram, color=color, label=label, linewidth=1.6)
        if name == "any":
            axes.fill_between(numbers, profile.histogram, color=color, alpha=0.12, linewidth=0)
    axes.set_xlim(1, max(2, len(exploration.figure_6["any"].histogram)))
    axes.set_ylim(0)
    axes.yaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.set_xlabel("slice number")
    axes.set_ylabel("scans with the organ in that slice")
    axes.set_title("Where in a scan the organs lie", loc="left")
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    return figure


def overlap_figure(
    exploration: Exploration, groups: Sequence[str] = OVERLAP_GROUPS, columns: int = 2
) -> Figure:
    """Figure 12: slices by the area in which a group of organs overlaps, a panel a group."""
    rows = -(-len(groups) // columns)
    figure, panels = new_figure(rows, columns, width=4.4, height=2.9)
    for axes, group in zip(panels, groups, strict=False):
        _overlap_panel(axes, group, exploration.figure_12[group])
    for axes in panels[len(groups) :]:
        axes.set_axis_off()
    return figure


def _overlap_panel(axes: Axes, group: str, profile: OverlapProfile) -> None:
    axes.set_title(spoken_name(group), loc="left")
    axes.set_xlabel("overlap, pixels of a slice")
    axes.set_ylabel("slices (log)")
    lefts = [profile.bin_width_px * place for place in range(len(profile.histogram))]
    axes.bar(lefts, profile.histogram, profile.bin_width_px, align="edge", color=_OVERLAP_COLOR)
    axes.set_yscale("log")
    axes.set_ylim(0.7, 4.0 * max(10, *profile.histogram, 10))
    axes.set_xlim(0, max(10, profile.max_px + profile.bin_width_px))
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    text = f"{profile.slices:,} of {profile.slices_together:,} slices overlap"
    if profile.quantiles_px is not None:
        text += f"\nmedian {profile.quantiles_px['p50']:,.0f} px, largest {profile.max_px:,} px"
    axes.text(0.98, 0.96, text, transform=axes.transAxes, ha="right", va="top")


def organ_colors() -> dict[str, str]:
    """For keys beside pictures: name of an organ as people write it -> color."""
    return {organ_name(organ): ORGAN_COLORS[organ] for organ in ORGANS}
