"""One look for all charts: organ colors that color-blind readers can tell apart, sizes, saving."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gitract_core.files.atomic import write_bytes
from gitract_core.organs import ORGANS

ORGAN_COLORS = dict(zip(ORGANS, ("#0072B2", "#E69F00", "#009E73"), strict=True))
"""Blue, orange and green of Okabe and Ito (2008), told apart under every common color blindness."""

SERIES_COLORS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#000000")
"""For series that are not organs, in the order of use."""

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


def organ_name(organ: str) -> str:
    """As people write it.

    >>> organ_name("large_bowel")
    'large bowel'
    """
    return organ.replace("_", " ")


def new_figure(
    rows: int = 1, columns: int = 1, *, width: float = 4.2, height: float = 3.0
) -> tuple[Figure, list[Axes]]:
    """A figure of equal panels.

    Args:
        rows: of panels.
        columns: likewise.
        width: of one panel, inches.
        height: likewise.

    Returns:
        The figure, and its axes row by row.
    """
    with rc_context(_STYLE):
        figure = Figure(figsize=(width * columns, height * rows), layout="constrained")
        grid = figure.subplots(rows, columns, squeeze=False)
    return figure, [axes for line in grid for axes in line]


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
