"""Correlation of each metric with the validation loss over epochs: the paper's open problem 1.

The paper finds that its accuracy is "unstable and unrelated to the loss". For every finished trial
we correlate validation loss and metric over its epochs, and measure how much the metric jumps from
one epoch to the next.

Why the paper's accuracy is unstable: it compares the argmax over the three channels, though the
channels are sigmoids of their own and organs overlap. Where a pixel holds no organ, which is almost
everywhere, no channel is true; the argmax of the truth is then the first channel by convention, and
the argmax of the prediction is whichever of three numbers near zero happens to be the largest.
Where organs overlap, two channels are true, and the argmax again picks one by chance. A change of
logits that changes neither the loss nor any mask can thus move this accuracy from near 0 to 1.
``tests/gitract_core/metrics/test_epoch_metrics_argmax.py`` builds such a case.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import stats

from orchestrator.report.style import SERIES_COLORS, new_figure
from orchestrator.results.histories import METRICS, CandidateHistories, TrialHistory, finite_mean

POOLED = "all trials"
LEAST_EPOCHS = 3
DRAWS = 2000


@dataclass(frozen=True)
class Estimate:
    """A mean over trials with its 95 % interval; NaN where too few trials define it.

    Attributes:
        mean, low, high: the mean, and the percentile bootstrap's bounds over trials.
        trials: how many it is made of.
    """

    mean: float
    low: float
    high: float
    trials: int


@dataclass(frozen=True)
class MetricRelation:
    """Correlation of one metric with the validation loss, of one candidate or of all trials.

    Attributes:
        candidate: its label, or ``POOLED``.
        metric: a key of ``METRICS``.
        spearman, pearson: correlation over epochs, -1 to 1; -1 where the metric rises whenever the
            loss falls.
        jump: standard deviation of the differences of neighboring epochs.
    """

    candidate: str
    metric: str
    spearman: Estimate
    pearson: Estimate
    jump: Estimate

    def to_row(self) -> dict[str, Any]:
        """One flat record for CSV and JSON."""
        row: dict[str, Any] = {"candidate": self.candidate, "metric": self.metric}
        row["trials"] = self.spearman.trials
        for name in ("spearman", "pearson", "jump"):
            estimate = getattr(self, name)
            row |= {name: estimate.mean, f"{name}_low": estimate.low}
            row |= {f"{name}_high": estimate.high}
        return row


def relations(candidates: Sequence[CandidateHistories]) -> list[MetricRelation]:
    """Every metric of all trials together, then of each candidate.

    A bootstrap over the few folds of one candidate is narrower than it should be; the interval over
    all trials treats them as independent, though folds and candidates share data. Both say how much
    trials differ, not how other data would turn out.
    """
    everything = list(chain.from_iterable(c.trials for c in candidates))
    groups = [(POOLED, everything), *((c.label, list(c.trials)) for c in candidates)]
    return [_relation(name, trials, metric) for name, trials in groups for metric in METRICS]


def _relation(name: str, trials: Sequence[TrialHistory], metric: str) -> MetricRelation:
    pairs = [(trial.values("loss"), trial.values(metric)) for trial in trials]
    spearman = [correlation(loss, values, "spearman") for loss, values in pairs]
    pearson = [correlation(loss, values, "pearson") for loss, values in pairs]
    jumps = [jump(values) for _, values in pairs]
    return MetricRelation(name, metric, *map(bootstrapped_mean, (spearman, pearson, jumps)))


def correlation(loss: np.ndarray, values: np.ndarray, kind: str) -> float:
    """Spearman's or Pearson's correlation over epochs at which both are finite.

    Returns:
        -1 to 1; NaN with fewer than ``LEAST_EPOCHS`` such epochs, or if one of both never changes.

    >>> round(correlation(np.array([3.0, 2.0, 1.0]), np.array([0.1, 0.2, 0.9]), "spearman"), 9)
    -1.0
    """
    both = np.isfinite(loss) & np.isfinite(values)
    loss, values = loss[both], values[both]
    if len(loss) < LEAST_EPOCHS or np.ptp(loss) == 0 or np.ptp(values) == 0:
        return float("nan")
    if kind == "spearman":  # Pearson's of the ranks
        loss, values = stats.rankdata(loss), stats.rankdata(values)
    return float(stats.pearsonr(loss, values).statistic)


def jump(values: np.ndarray) -> float:
    """Standard deviation (n - 1) of the differences of neighboring epochs; NaN under 3 epochs.

    A steady rise is no jump: it moves every difference alike.

    >>> jump(np.array([0.1, 0.2, 0.3, 0.4])) < 1e-12, round(jump(np.array([0.0, 1.0, 0.0])), 3)
    (True, 1.414)
    """
    differences = np.diff(values)
    differences = differences[np.isfinite(differences)]
    return float(np.std(differences, ddof=1)) if len(differences) > 1 else float("nan")


def bootstrapped_mean(values: Sequence[float]) -> Estimate:
    """Mean of the finite values, and the 2.5 and 97.5 percentiles of means of redrawn ones."""
    numbers = np.array([v for v in values if np.isfinite(v)])
    if len(numbers) < 2:
        return Estimate(finite_mean(values), float("nan"), float("nan"), len(numbers))
    draws = np.random.default_rng(0).integers(len(numbers), size=(DRAWS, len(numbers)))
    low, high = np.percentile(numbers[draws].mean(axis=1), [2.5, 97.5])
    return Estimate(float(numbers.mean()), float(low), float(high), len(numbers))


def draw_relations(rows: Sequence[MetricRelation]) -> Figure:
    """Dots: Spearman's correlation with the loss, and the jumps, of every metric.

    The mean of all trials is black with its interval; candidates are small, named up to seven.
    """
    figure, (left, right) = new_figure(1, 2, width=5.2, height=4.0)
    names = list(dict.fromkeys(row.candidate for row in rows if row.candidate != POOLED))
    for panel, name in ((left, "spearman"), (right, "jump")):
        for place, metric in enumerate(METRICS):
            _draw_metric(
                panel, [r for r in rows if r.metric == metric], names, place=place, field=name
            )
        panel.set_ylim(len(METRICS) - 0.5, -0.5)
        panel.axhline(4.5, color="0.6", linewidth=0.8, linestyle=":")
    left.set_yticks(range(len(METRICS)), list(METRICS.values()))
    right.set_yticks(range(len(METRICS)), [""] * len(METRICS))
    left.axvline(0, color="0.3", linewidth=0.8)
    left.set_xlim(-1.05, 1.05)
    left.set_title("Correlation with the validation loss", loc="left", fontsize=10)
    left.set_xlabel("Spearman over epochs (-1: rises whenever the loss falls)")
    right.set_xlim(left=0)
    right.set_title("Jumps from epoch to epoch", loc="left", fontsize=10)
    right.set_xlabel("standard deviation of the change from one epoch to the next")
    handles, labels = left.get_legend_handles_labels()
    unique = dict(zip(labels, handles, strict=True))
    columns = max(1, min(4, 130 // (8 + max(map(len, unique)))))
    style: dict[str, Any] = {"ncols": columns, "fontsize": 8, "frameon": False}
    figure.legend(unique.values(), unique.keys(), loc="outside lower left", **style)
    return figure


def _draw_metric(
    panel: Axes, rows: Sequence[MetricRelation], names: Sequence[str], *, place: int, field: str
) -> None:
    named = len(names) < len(SERIES_COLORS)
    for row in rows:
        estimate: Estimate = getattr(row, field)
        if row.candidate == POOLED:
            ends = (estimate.mean - estimate.low, estimate.high - estimate.mean)
            spread = [[0.0 if end < 0 else end] for end in ends]  # by rounding alone
            label = "all trials, mean and 95 % interval"
            panel.errorbar(
                estimate.mean, place, xerr=spread, fmt="D", color="black", label=label, zorder=3
            )
            continue
        number = names.index(row.candidate)
        color = SERIES_COLORS[number] if named else "0.55"
        offset = 0.3 * ((number + 1) / (len(names) + 1) - 0.5) + 0.22
        label = row.candidate if named else "a candidate"
        panel.plot(estimate.mean, place + offset, "o", color=color, markersize=4, label=label)
