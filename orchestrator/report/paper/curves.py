"""Figures 7, 9 and 10: loss, Dice and IoU by epoch, each candidate in panels of its own.

The paper shows its curves smoothed by 60 % with the raw ones faint behind them, as TensorBoard
draws them; so do we. Its Dice and IoU stand beside the honest ones, in panels of their own, since
they are other quantities (see ``gitract_core.metrics.epoch``).
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from orchestrator.report.style import SERIES_COLORS, new_figure
from orchestrator.results.histories import CandidateHistories

SMOOTHING = 0.6
MOST_CANDIDATES = 12
_ACROSS = {1: 4, 2: 2}  # candidates side by side, by their number of panels
_BLUE, _ORANGE, _GREEN, *_ = SERIES_COLORS


@dataclass(frozen=True)
class Series:
    """One kind of line: a field of ``EpochRecord``, its name for people, and its color."""

    metric: str
    name: str
    color: str


@dataclass(frozen=True)
class CurveFigure:
    """A figure of the paper about training.

    Attributes:
        number: the paper's.
        title: what is shown.
        panels: the panels of each candidate, each with its series.
        shared: whether all panels have one scale, from 0 to at most 1.
    """

    number: int
    title: str
    panels: tuple[tuple[Series, ...], ...]
    shared: bool = True

    @property
    def file(self) -> str:
        """Name of the figure's PNG file."""
        return f"figure_{self.number}.png"


CURVE_FIGURES = (
    CurveFigure(
        7,
        "Loss by epoch",
        ((Series("train_loss", "training", _BLUE), Series("loss", "validation", _ORANGE)),),
        shared=False,
    ),
    CurveFigure(
        9,
        "Validation Dice by epoch",
        (
            (Series("dice", "Dice, pooled", _BLUE),),
            (Series("paper_dice", "Dice, the paper's", _GREEN),),
        ),
    ),
    CurveFigure(
        10,
        "Validation IoU by epoch",
        (
            (Series("iou", "IoU, pooled", _BLUE),),
            (Series("paper_iou", "IoU, the paper's", _GREEN),),
        ),
    ),
)


def smoothed(values: Sequence[float] | np.ndarray, weight: float = SMOOTHING) -> np.ndarray:
    """TensorBoard's smoothing: an exponential moving average without the bias of its start.

    ``last = weight * last + (1 - weight) * value`` from 0, divided by ``1 - weight ** n`` after n
    finite values. Values that are not finite stay as they are and are not remembered; a series of
    one value throughout is left alone. Source: ``resmoothDataset`` in TensorBoard's
    ``vz_line_chart2/line-chart.ts``.

    Args:
        values: one an epoch.
        weight: 0 (no smoothing) to below 1; the paper's is 0.6.

    >>> smoothed([1.0, 0.0]).round(3).tolist()
    [1.0, 0.375]
    """
    raw = np.asarray(values, dtype=float)
    if not len(raw) or (raw == raw[0]).all():
        return raw.copy()
    result, last = raw.copy(), 0.0
    for count, place in enumerate(np.flatnonzero(np.isfinite(raw)), 1):
        last = weight * last + (1 - weight) * raw[place]
        result[place] = last / (1 - weight**count)
    return result


def draw_curves(what: CurveFigure, candidates: Sequence[CandidateHistories]) -> Figure:
    """A figure of the paper with small panels, at most ``MOST_CANDIDATES`` candidates of them.

    Thin lines are folds, the faint line their mean, the strong line the mean smoothed. A mean ends
    where the first of the folds ended.

    Args:
        what: one of ``CURVE_FIGURES``.
        candidates: best first; at least one.
    """
    shown = candidates[:MOST_CANDIDATES]
    each = len(what.panels)
    across = min(len(shown), _ACROSS[each] if len(shown) > 4 else 3 - (each > 1))
    rows = -(-len(shown) // across)
    width = {1: 4.6, 2: 3.6, 3: 3.2}.get(across * each, 2.9)
    figure, axes = new_figure(rows, across * each, width=width, height=2.3)
    top = _top(what, shown)
    for place, candidate in enumerate(shown):
        for number, series in enumerate(what.panels):
            panel = axes[place * each + number]
            _draw_panel(panel, candidate, series)
            if number == 0:
                title = "\n".join(textwrap.wrap(candidate.label, int(width * 13)))
                panel.set_title(title, loc="left", fontsize=9)
            if what.shared:
                panel.set_ylim(-0.03 * top, top)
    for panel in axes[len(shown) * each :]:
        panel.set_axis_off()
    for panel in axes[: len(shown) * each][-across * each :]:  # nothing stands below these
        panel.set_xlabel("epoch")
    _title_and_legend(figure, what, (len(shown), len(candidates)))
    return figure


def _top(what: CurveFigure, candidates: Sequence[CandidateHistories]) -> float:
    """Upper end of a scale from 0: the largest value rounded up to a tenth, at most 1."""
    metrics = [series.metric for panel in what.panels for series in panel]
    values = np.concatenate([t.values(m) for c in candidates for t in c.trials for m in metrics])
    largest = max(values[np.isfinite(values)], default=1.0)
    return float(min(1.0, np.ceil(10 * largest + 0.1) / 10)) * 1.02


def _draw_panel(panel: Axes, candidate: CandidateHistories, series: Sequence[Series]) -> None:
    for one in series:
        for trial in candidate.trials:
            raw = trial.values(one.metric)
            epochs = np.arange(1, len(raw) + 1)
            panel.plot(epochs, raw, color=one.color, linewidth=0.6, alpha=0.35)
        mean = candidate.mean(one.metric)
        epochs = np.arange(1, len(mean) + 1)
        single = "." if len(mean) == 1 else ""  # a line of one point is invisible
        panel.plot(epochs, mean, color=one.color, linewidth=1.6, alpha=0.4, marker=single)
        panel.plot(epochs, smoothed(mean), color=one.color, linewidth=2.0, marker=single)
    if len(series) == 1:
        panel.set_ylabel(series[0].name)
    panel.locator_params(axis="x", integer=True, nbins=6)


def _title_and_legend(figure: Figure, what: CurveFigure, counts: tuple[int, int]) -> None:
    shown, of = counts
    limit = f" (the best {shown} of {of} candidates)" if shown < of else ""
    figure.suptitle(f"{what.title}{limit}", x=0.01, ha="left", fontsize=11, fontweight="bold")
    several = what.panels[0] if len(what.panels[0]) > 1 else ()
    colors = [Line2D([], [], color=s.color, linewidth=2, label=s.name) for s in several]
    gray = "0.35"
    styles = [
        Line2D([], [], color=gray, linewidth=0.6, alpha=0.5, label="a fold"),
        Line2D([], [], color=gray, linewidth=1.6, alpha=0.4, label="mean of folds"),
        Line2D(
            [], [], color=gray, linewidth=2.0, label=f"mean, smoothed by {100 * SMOOTHING:.0f} %"
        ),
    ]
    figure.legend(
        handles=[*colors, *styles], loc="outside lower left", ncols=5, fontsize=8, frameon=False
    )
