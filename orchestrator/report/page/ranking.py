"""The leaderboard and the costs of candidates, as values for the page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from gitract_core.metrics.score import HAUSDORFF_SCORE, SLICE_DICE, Mean
from orchestrator.report.organ_names import organ_name
from orchestrator.report.terminal import score_in_words
from orchestrator.results.costs import training_costs
from orchestrator.results.leaderboard import Leaderboard

MOST_ROWS = 500
"""Of the leaderboard; a table of more can be read by nobody, and ``--csv`` writes them all."""

MOST_ORGAN_ROWS = 20
"""Candidates of the tables organ by organ."""

_HINTS = {
    SLICE_DICE: (
        "Mean over slices that hold the organ, or should.",
        "Mean Dice of this organ's slices.",
    ),
    HAUSDORFF_SCORE: (
        "1 is a perfect outline: 1 less the normalized distance in space.",
        "Mean Hausdorff score of this organ's scans.",
    ),
}
"""Of the contest's means, for all organs and for one."""
_BY_OTHERS = "Score had the other folds chosen the epochs: not flattered by that choice."

COSTS = {
    "cost_seconds": "time of all folds, without the noise of the machine",
    "parameters": "parameters",
    "peak_memory_bytes": "memory",
}


@dataclass(frozen=True)
class Column:
    """A column of the leaderboard.

    Attributes:
        key: in the rows.
        name: its header.
        kind: how a cell is written: ``rank``, ``text``, ``score``, ``epoch``, ``seconds``,
            ``count`` or ``bytes``.
        hint: what it is, in one sentence.
    """

    key: str
    name: str
    kind: str
    hint: str


def columns(board: Leaderboard, shown: Sequence[str]) -> list[Column]:
    """Columns of the leaderboard, in order.

    Args:
        board: the leaderboard.
        shown: organs that have columns.
    """
    folds = [
        Column(f"fold{i}_score", f"fold {i}", "score", f"Score of the cases of fold {i}.")
        for i in range(board.record.total_folds)
    ]
    organs = [
        Column(
            f"{organ}_{mean.key}", f"{organ_name(organ)} {mean.header}", "score", _hints(mean)[1]
        )
        for mean in board.score.means
        for organ in shown
    ]
    paper = [
        Column(key, name, "score", f"{what}, by the seed paper's likely definition.")
        for key, name, what in (
            ("paper_dice", "paper's Dice", "Dice"),
            ("paper_iou", "paper's IoU", "Intersection over union"),
            ("paper_accuracy", "paper's accuracy", "Accuracy"),
        )
    ]
    parts = [Column(m.key, m.header, "score", _hints(m)[0]) for m in board.score.means]
    return [
        Column("rank", "#", "rank", "Place by mean score over folds."),
        Column("candidate", "candidate", "text", "The knobs in which candidates differ."),
        Column("score", "score", "score", f"{board.score.formula}, mean over folds."),
        Column("score_sd", "± sd", "score", "Standard deviation of the score over folds."),
        *folds,
        *parts,
        *organs,
        *paper,
        Column("best_epoch", "best epoch", "epoch", "Mean over folds of the epoch kept."),
        Column("score_cross_fitted", "other folds", "score", _BY_OTHERS),
        Column("seconds", "time", "seconds", "Training and validation of all folds."),
        Column("cost_seconds", "cost", "seconds", "Its steps times the usual time of such a step."),
        Column("parameters", "parameters", "count", "Trainable numbers of the network."),
        Column("peak_memory_bytes", "memory", "bytes", "The most that a fold held."),
    ]


def _hints(mean: Mean) -> tuple[str, str]:
    """What a mean is, for all organs and for one."""
    note = f"{mean.note}."
    return _HINTS.get(mean, (note, note))


def ranking_values(board: Leaderboard, organs: Sequence[str]) -> dict[str, Any]:
    """Columns; one row a ranked candidate by column and ``key``; the others with reasons.

    Args:
        board: the leaderboard.
        organs: those with columns; the first ``MOST_ORGAN_ROWS`` rows hold all organs.
    """
    shown, means = columns(board, organs), board.score.means
    rows = board.to_rows()
    keep = [column.key for column in shown] + ["key"]
    keep_all = dict.fromkeys([*keep, *(f"{o}_{m.key}" for o in board.organs for m in means)])
    ranked = [
        {key: _short(row[key]) for key in (keep_all if row["rank"] <= MOST_ORGAN_ROWS else keep)}
        for row in rows
        if row["rank"]
    ]
    unranked = [
        {key: row[key] for key in ("candidate", "folds", "reason")}
        for row in rows
        if not row["rank"]
    ]
    return {
        "columns": [asdict(column) for column in shown],
        "score": score_in_words(board),
        "parts": [{"key": m.key, "name": f"{m.title}, mean over folds"} for m in means],
        "rows": ranked[:MOST_ROWS],
        "unranked": unranked[:MOST_ROWS],
        "left_out": max(0, len(ranked) - MOST_ROWS) + max(0, len(unranked) - MOST_ROWS),
    }


def cost_values(board: Leaderboard) -> list[dict[str, Any]]:
    """For each cost its name and the ranks of the candidates on the Pareto front."""
    lines = board.ranked[:MOST_ROWS]
    scores = [line.mean() for line in lines]
    seconds = {"cost_seconds": training_costs(lines, board.lines)}
    costs = {key: seconds.get(key) or [getattr(line, key) for line in lines] for key in COSTS}
    priced = [place for place, line in enumerate(lines) if not line.added]

    def front(key: str) -> list[int]:
        found = pareto_front([costs[key][i] for i in priced], [scores[i] for i in priced])
        return [priced[place] + 1 for place in found]

    return [{"key": key, "name": name, "front": front(key)} for key, name in COSTS.items()]


def pareto_front(costs: Sequence[float], scores: Sequence[float]) -> list[int]:
    """Places of the candidates that no other equals or beats in both cost and score.

    Of equal candidates the first stays. The result goes from the lowest cost to the highest.

    >>> pareto_front([3, 1, 2, 2], [0.9, 0.5, 0.4, 0.7])
    [1, 3, 0]
    """
    order = sorted(range(len(costs)), key=lambda place: (costs[place], -scores[place], place))
    front: list[int] = []
    for place in order:
        if not front or scores[place] > scores[front[-1]]:
            front.append(place)
    return front


def _short(value: Any) -> Any:
    """Numbers with six decimals, more than any cell shows; other values as they are."""
    return round(float(value), 6) if isinstance(value, float | np.floating) else value
