"""Tables 5 and 6 of the seed paper, from a run: receptive fields, and the best epochs.

Both are data first (``field_levels``, ``best_epochs``), and text made of it after (``table_5``,
``table_6``), which goes to a terminal, to Markdown and to CSV alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from gitract_core.errors import SpaceError
from gitract_core.spec import Candidate
from orchestrator.report.table import MISSING, Column, Table, is_missing
from orchestrator.results.histories import CandidateHistories, TrialHistory, finite_mean

PAPER_METRICS = {"paper_dice": "Dice", "paper_iou": "IoU", "paper_accuracy": "accuracy"}
HONEST_METRICS = {"dice": "Dice", "iou": "IoU", "balanced_accuracy": "balanced acc."}
LEAST_FALL = 0.01
"""A validation loss that never gets more than 1 % below its first value "never falls"."""


@dataclass(frozen=True)
class FieldLevel:
    """Receptive fields of one encoder level: sides, in input pixels.

    Attributes:
        poolings: how many lie above the level.
        paper, exact: by the paper's recurrence and by the exact one.
        measured: by gradients, for each network of the run that has this level.
    """

    poolings: int
    paper: int
    exact: int
    measured: Mapping[str, int]


def field_levels(candidates: Sequence[Candidate]) -> list[FieldLevel]:
    """Every encoder level of the deepest network of a run; table 5.

    Networks that differ only in widths have equal fields and are measured once. A network whose
    levels cannot be measured (see ``gitract_core.networks.gradient_field``) has no figure.
    """
    from gitract_core.networks import receptive_field_exact, receptive_field_paper

    measured = {
        name: _measured(candidate)
        for name, candidate in {network_name(c): c for c in reversed(candidates)}.items()
    }
    deepest = max(candidate.network.depth for candidate in candidates)
    return [
        FieldLevel(
            level,
            receptive_field_paper(level),
            receptive_field_exact(level),
            {name: sides[level] for name, sides in sorted(measured.items()) if level < len(sides)},
        )
        for level in range(deepest + 1)
    ]


def network_name(candidate: Candidate) -> str:
    """The knobs of a network that determine its receptive field.

    >>> network_name(Candidate())
    'unet, depth 4'
    """
    return f"{candidate.network.family}, depth {candidate.network.depth}"


def _measured(candidate: Candidate) -> tuple[int, ...]:
    from gitract_core.networks import build_network
    from gitract_core.networks.gradient_field import measured_receptive_field

    try:
        network = build_network(candidate.network, 1, 1, candidate.plugin)  # of any channel
    except SpaceError:  # of a plugin that was not named
        return ()
    try:
        return measured_receptive_field(network)
    except Exception:
        if not candidate.plugin:  # others' networks may be built in any way
            raise
        return ()


def table_5(levels: Sequence[FieldLevel], candidates: Sequence[Candidate]) -> Table:
    """Receptive fields as text: the paper's recurrence, the exact one, measurements."""
    names = sorted({network_name(candidate) for candidate in candidates})
    columns = ("paper", "exact", *(f"measured: {name}" for name in names))
    rows = tuple(
        (level.poolings, level.paper, level.exact, *map(level.measured.get, names))
        for level in levels
    )
    return Table(
        "Table 5. Receptive field of one unit after so many poolings, side in input pixels",
        (Column("poolings", "left"), *map(Column, columns)),
        rows,
        (
            "paper: r -> 2r + 3 from 5; exact: a pooling and the convolutions after it add 9 "
            "units of the level above; measured: pixels with a gradient in the run's own network.",
            _agreement(levels),
        ),
    )


def _agreement(levels: Sequence[FieldLevel]) -> str:
    pairs = [(level.exact, side) for level in levels for side in level.measured.values()]
    wrong = sum(exact != side for exact, side in pairs)
    if not pairs:
        return "No network of this run has levels that can be measured."
    return f"{len(pairs) - wrong} of {len(pairs)} measured figures equal the exact recurrence."


@dataclass(frozen=True)
class TrialBest:
    """One trial's line of table 6.

    Attributes:
        fold, epochs: which trial, and how long it trained.
        best_epoch: that of the least validation loss, counted from 1; 0 if no loss is finite.
        falls: whether the validation loss ever falls, see ``LEAST_FALL``.
        best: best value of each metric over all epochs.
        at_least_loss: its value at ``best_epoch``.
    """

    fold: int
    epochs: int
    best_epoch: int
    falls: bool
    best: Mapping[str, float]
    at_least_loss: Mapping[str, float]


@dataclass(frozen=True)
class CandidateBest:
    """One candidate's line of table 6: means over its finished folds."""

    candidate: str
    trials: tuple[TrialBest, ...]

    @property
    def falling(self) -> int:
        """In how many folds the validation loss falls."""
        return sum(trial.falls for trial in self.trials)

    @property
    def best_epoch(self) -> float:
        """Mean epoch of the least validation loss."""
        return finite_mean([float(trial.best_epoch) for trial in self.trials])

    def best(self, metric: str) -> float:
        """Mean over folds of the best value over epochs."""
        return finite_mean([trial.best[metric] for trial in self.trials])

    def at_least_loss(self, metric: str) -> float:
        """Mean over folds of the value at the epoch of least validation loss."""
        return finite_mean([trial.at_least_loss[metric] for trial in self.trials])

    def to_row(self) -> dict[str, Any]:
        """One flat record for CSV."""
        row: dict[str, Any] = {
            "candidate": self.candidate,
            "folds": len(self.trials),
            "folds_in_which_the_loss_falls": self.falling,
            "best_epoch": self.best_epoch,
        }
        for metric in (*PAPER_METRICS, *HONEST_METRICS):
            row |= {f"{metric}_best": self.best(metric)}
            row |= {f"{metric}_at_least_loss": self.at_least_loss(metric)}
        return row

    def to_json(self) -> dict[str, Any]:
        """The means and every fold."""
        return {**self.to_row(), "trials": [asdict(trial) for trial in self.trials]}


def best_epochs(candidates: Sequence[CandidateHistories]) -> list[CandidateBest]:
    """Table 6 as numbers, candidate by candidate."""
    return [CandidateBest(c.label, tuple(map(trial_best, c.trials))) for c in candidates]


def trial_best(trial: TrialHistory) -> TrialBest:
    """The best values of one trial, and those at its least validation loss."""
    losses = trial.values("loss")
    finite = np.flatnonzero(np.isfinite(losses))
    least = int(finite[np.argmin(losses[finite])]) if len(finite) else -1
    values = {metric: trial.values(metric) for metric in (*PAPER_METRICS, *HONEST_METRICS)}
    undefined = float("nan")
    return TrialBest(
        trial.fold,
        len(losses),
        least + 1,
        loss_falls(losses),
        {metric: max(v[np.isfinite(v)], default=undefined) for metric, v in values.items()},
        {metric: float(v[least]) if least >= 0 else undefined for metric, v in values.items()},
    )


def loss_falls(losses: np.ndarray) -> bool:
    """Whether a validation loss ever gets more than 1 % (of its size) below its first value.

    >>> loss_falls(np.array([0.8, 0.9, 0.7])), loss_falls(np.array([0.8, 0.9, 0.795]))
    (True, False)
    """
    losses = losses[np.isfinite(losses)]
    return bool(len(losses)) and bool(losses[0] - losses.min() > LEAST_FALL * abs(losses[0]))


def table_6(lines: Sequence[CandidateBest], metrics: Mapping[str, str], what: str) -> Table:
    """Table 6 as the paper prints it.

    Args:
        lines: from ``best_epochs``.
        metrics: ``PAPER_METRICS`` or ``HONEST_METRICS``.
        what: which metrics these are, for the title.
    """
    columns = (
        Column("candidate", "left"),
        Column("best epoch", show=lambda epoch: f"{epoch:.1f}"),
        *(Column(name, show=_best_and_kept) for name in metrics.values()),
    )
    return Table(f"Table 6, {what}", columns, tuple(_line(x, metrics) for x in lines), NOTES_6)


NOTES_6 = (
    "Best value over epochs, in brackets the value at the epoch of least validation loss (the best "
    "epoch); means over folds.",
    "never falls: in no fold does the validation loss get more than 1 % below its first value.",
)


def _line(line: CandidateBest, metrics: Mapping[str, str]) -> tuple[Any, ...]:
    if not line.falling:
        return (line.candidate, "never falls", *("/" for _ in metrics))
    pairs = ((line.best(metric), line.at_least_loss(metric)) for metric in metrics)
    return (line.candidate, line.best_epoch, *pairs)


def _best_and_kept(pair: tuple[float, float]) -> str:
    """The best value, and in brackets the one at the best epoch."""
    best, kept = (MISSING if is_missing(value) else f"{value:.4f}" for value in pair)
    return f"{best} ({kept})"


PAPER_TABLE_6 = Table(
    "Table 6 as the paper printed it (depth 4, its own data split)",
    (Column("loss", "left"), *map(Column, ("best epoch", "Dice", "IoU", "accuracy"))),
    (
        ("BCE", "25", "0.6786 (0.4241)", "0.7305 (0.3747)", "0.6786 (0.4241)"),
        ("Dice", "never falls", "/", "/", "/"),
        ("soft Dice", "37", "0.448 (0.4458)", "0.5678 (0.5309)", "0.9683 (0.9548)"),
        ("BCE + Dice", "36", "0.6957 (0.6957)", "0.7665 (0.7631)", "0.8628 (0.1534)"),
        ("BCE + 0.5 Dice", "19", "0.7006 (0.7006)", "0.7699 (0.7576)", "0.9287 (0.6449)"),
    ),
)
"""For comparison of layout and size; its Dice loss is printed without "1 -"."""
