"""Style of all charts: organ colors that color-blind readers can tell apart, sizes, saving."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from gitract_core.files.atomic import write_bytes
from gitract_core.organs import Organs
from orchestrator.report.organ_names import organ_name

SERIES_COLORS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#000000")
"""For series that are not organs, in the order of use."""

_LEGEND_LINES = 2  # fit every figure; more lines make it higher
_LEGEND_LINE_INCHES = 0.18

_STYLE: Any = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "legend.frameon": False,
    "savefig.dpi": 130,
    "svg.fonttype": "none",
    "svg.hashsalt": "gitract-cv",
}


def new_figure(
    rows: int = 1, columns: int = 1, *, width: float = 4.2, height: float = 3.0
) -> tuple[Figure, list[Axes]]:
    """A figure of equal panels.

    Args:
        rows: of panels.
        columns: of panels.
        width: of one panel, inches.
        height: of one panel, inches.

    Returns:
        The figure, and its axes row by row.
    """
    with rc_context(_STYLE):
        figure = Figure(figsize=(width * columns, height * rows), layout="constrained")
        grid = figure.subplots(rows, columns, squeeze=False)
    return figure, [axes for line in grid for axes in line]


def organ_legend(figure: Figure, organs: Organs, *, shown: Iterable[str] | None = None) -> None:
    """The color of each organ below a figure, in as many columns as fit its width.

    Args:
        figure: drawn with ``new_figure``.
        organs: of the data set.
        shown: those in the figure, if not all.
    """
    names = organs.names if shown is None else tuple(o for o in organs if o in set(shown))
    patches = [Patch(color=organs.colors[name], label=organ_name(name)) for name in names]
    if patches:
        columns = legend_columns(figure, [organ_name(name) for name in names])
        more_lines = max(0, -(-len(names) // columns) - _LEGEND_LINES)
        figure.set_figheight(figure.get_figheight() + _LEGEND_LINE_INCHES * more_lines)
        figure.legend(
            handles=patches, loc="outside lower center", ncols=columns, fontsize=8, frameon=False
        )


def legend_columns(figure: Figure, labels: Sequence[str]) -> int:
    """Columns of a legend that fit a figure's width, with labels of about 8 points."""
    longest_inch = 0.45 + 0.075 * max(map(len, labels))
    return max(1, min(len(labels), int(figure.get_figwidth() / longest_inch)))


def picture_axes(axes: Axes, title: str = "") -> Axes:
    """Axes for an image: no ticks, no grid, no frame."""
    axes.set_axis_off()
    axes.grid(False)
    if title:
        axes.set_title(title)
    return axes


def save_figure(figure: Figure, path: Path) -> Path:
    """Write a figure atomically as PNG or SVG, by the path's ending; equal input, equal bytes."""
    write_bytes(path, figure_bytes(figure, path.suffix.lstrip(".").lower() or "png"))
    return path


def figure_bytes(figure: Figure, kind: str = "svg") -> bytes:
    """A figure as the bytes of a ``png`` or ``svg`` file, without a date."""
    content = io.BytesIO()
    dated = {"Date": None} if kind == "svg" else {"Software": None}
    with rc_context(_STYLE):
        figure.savefig(content, format=kind, metadata=dated)
    return content.getvalue()
