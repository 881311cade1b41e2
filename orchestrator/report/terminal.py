"""The leaderboard in a terminal: what is best and how sure, then what it is made of."""

from __future__ import annotations

from collections.abc import Callable

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from gitract_core.organs import ORGANS
from orchestrator.leaderboard import PAPER_METRICS, CandidateScores, Leaderboard
from orchestrator.progress import format_seconds

Column = tuple[str, Callable[[CandidateScores], str]]


def leaderboard_view(board: Leaderboard) -> RenderableType:
    """Three tables: scores by fold, what they consist of, and candidates that are not ranked."""
    parts: list[RenderableType] = [Text(_heading(board), style="bold")]
    if board.ranked:
        parts += [_table(board, _score_columns(board)), Text("")]
        parts += [_table(board, _organ_columns()), Text("")]
        parts += [_table(board, _cost_columns())]
        parts += [Text("* the seed paper's likely definitions, at the best epoch", style="dim")]
    if board.unranked:
        parts += [Text(""), _unranked(board)]
    return Group(*parts)


def _heading(board: Leaderboard) -> str:
    n, folds = len(board.ranked) + len(board.unranked), board.record.n_folds
    return (
        f"{len(board.ranked)} of {n} candidates ranked by mean score over {folds} folds "
        "(0.4 Dice + 0.6 Hausdorff score, native size, empty slices skipped)"
    )


def _score_columns(board: Leaderboard) -> list[Column]:
    def fold(number: int) -> Column:
        return f"fold {number}", lambda c: decimal(c.folds()[number])

    scores: Column = ("score ± sd", lambda c: f"{decimal(c.mean())} ± {decimal(c.sd())}")
    return [scores, *(fold(i) for i in range(board.record.n_folds))]


def _organ_columns() -> list[Column]:
    def organ_dice(organ: str) -> Column:
        return organ.replace("_", " "), lambda c: decimal(c.organ_mean(organ, "dice"))

    return [
        ("Dice", lambda c: decimal(c.mean("dice"))),
        ("Hausdorff", lambda c: decimal(c.mean("hausdorff"))),
        *(organ_dice(organ) for organ in ORGANS),
    ]


def _cost_columns() -> list[Column]:
    def paper(header: str, name: str) -> Column:
        return header, lambda c: decimal(c.at_best(name))

    headers = ("Dice*", "IoU*", "acc.*")
    return [
        *(paper(h, name) for h, name in zip(headers, PAPER_METRICS, strict=True)),
        ("epoch", lambda c: f"{c.best_epoch:.1f}"),
        ("param.", lambda c: f"{c.parameters / 1e6:.2f} M"),
        ("time", lambda c: format_seconds(c.seconds)),
    ]


def _table(board: Leaderboard, columns: list[Column]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("#", justify="right")
    table.add_column("candidate", min_width=16, overflow="fold")
    for name, _ in columns:
        table.add_column(name, justify="right")
    for rank, line in enumerate(board.ranked, 1):
        table.add_row(str(rank), Text(line.label), *(value(line) for _, value in columns))
    return table


def _unranked(board: Leaderboard) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", title_justify="left")
    table.add_column("not ranked")
    table.add_column("folds", justify="right")
    table.add_column("why", overflow="fold")
    for line in board.unranked:
        done = f"{len(line.finished)}/{len(line.results)}"
        table.add_row(Text(line.label), done, Text("; ".join(line.reasons) or "no score"))
    return table


def decimal(value: float) -> str:
    """Four decimals without the leading zero, or a dash for NaN.

    >>> decimal(0.61237), decimal(1.0), decimal(float("nan"))
    ('.6124', '1.0000', '-')
    """
    return "-" if value != value else f"{value:.4f}".removeprefix("0")
