"""The leaderboard in a terminal: what is best and how sure, then what it is made of."""

from __future__ import annotations

from collections.abc import Callable

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from gitract_core.organs import ORGANS
from orchestrator.report.progress import format_seconds
from orchestrator.results.leaderboard import PAPER_METRICS, CandidateScores, Leaderboard
from orchestrator.results.verdict import Verdict
from orchestrator.statistics import CandidateStatistics

MOST_ROWS = 50
"""Candidates shown, ranked and not ranked; files have them all."""
SHORT_NAMES = dict(zip(ORGANS, ("large", "small", "stom."), strict=True))
Column = tuple[str, Callable[[CandidateScores], str]]


def leaderboard_view(board: Leaderboard, verdict: Verdict | None = None) -> RenderableType:
    """A paragraph on what the ranking is worth, the ranked tables, and who is not ranked."""
    parts: list[RenderableType] = [Text(_heading(board), style="bold")]
    if verdict:
        parts += [Text(verdict.in_words), Text("")]
    if board.ranked:
        columns = _score_columns(), _fold_columns(board), _organ_columns(), _cost_columns()
        tables = [_table(board, some, verdict) for some in columns]
        tables[0] = _table(board, [*columns[0], *_verdict_columns(verdict)], verdict)
        for table in tables:
            parts += [table, Text("")]
        if verdict:
            parts.append(
                Text("= cannot be told from the first; $ the cheapest with a fair chance", "dim")
            )
        parts += [Text("Haus.: 1 - normalized Hausdorff distance, higher is better", style="dim")]
        parts += [Text("* the seed paper's likely definitions, at the best epoch", style="dim")]
    if board.unranked:
        parts += [Text(""), _unranked(board)]
    more = [max(len(lines) - MOST_ROWS, 0) for lines in (board.ranked, board.unranked)]
    if any(more):
        text = f"{more[0]} more ranked and {more[1]} more not ranked: --csv FILE writes them all"
        parts += [Text(""), Text(text, style="bold")]
    return Group(*parts)


def _heading(board: Leaderboard) -> str:
    n, folds = len(board.ranked) + len(board.unranked), board.record.folds_in_words
    return (
        f"{len(board.ranked)} of {n} candidates ranked by mean score over {folds} "
        "(0.4 Dice + 0.6 Hausdorff score, native size, empty slices skipped)"
    )


def _score_columns() -> list[Column]:
    return [("score ± sd", lambda c: f"{decimal(c.mean())} ± {decimal(c.sd())}")]


def _verdict_columns(verdict: Verdict | None) -> list[Column]:
    if verdict is None:
        return []

    def about(line: CandidateScores, show: Callable[[CandidateStatistics], str]) -> str:
        one = verdict.of(line)
        return show(one) if one else "-"

    def behind(one: CandidateStatistics) -> str:
        return "" if one.rank == 1 else _range(one.behind_low, one.behind_high)

    return [
        ("95 % interval", lambda c: about(c, lambda one: _range(one.low, one.high))),
        ("behind the first", lambda c: about(c, behind)),
        ("first", lambda c: about(c, lambda one: _percent(one.probability_first))),
    ]


def _fold_columns(board: Leaderboard) -> list[Column]:
    def fold(number: int) -> Column:
        return f"fold {number}", lambda c: decimal(c.folds()[number])

    return [fold(i) for i in range(board.record.total_folds)]


def _organ_columns() -> list[Column]:
    def organ(name: str, metric: str) -> Column:
        return SHORT_NAMES[name], lambda c: decimal(c.organ_mean(name, metric))

    return [
        ("Dice", lambda c: decimal(c.mean("dice"))),
        *(organ(name, "dice") for name in ORGANS),
        ("Haus.", lambda c: decimal(c.mean("hausdorff"))),
        *(organ(name, "hausdorff") for name in ORGANS),
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


def _table(board: Leaderboard, columns: list[Column], verdict: Verdict | None) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("#", justify="right")
    table.add_column("candidate", min_width=16, overflow="fold")
    for name, _ in columns:
        table.add_column(name, justify="right", no_wrap=True)
    for rank, line in enumerate(board.ranked[:MOST_ROWS], 1):
        cells = (value(line) for _, value in columns)
        table.add_row(f"{rank}{_mark(line, verdict)}", Text(line.label), *cells)
    return table


def _mark(line: CandidateScores, verdict: Verdict | None) -> str:
    one = verdict.of(line) if verdict else None
    if verdict is None or one is None or not one.tied or len(verdict.statistics.tie_group) == 1:
        return " "
    return "$" if one.name == verdict.statistics.cheapest else "="


def _range(low: float, high: float) -> str:
    return f"{_signed(low)} to {_signed(high)}" if low == low else "-"


def _signed(value: float) -> str:
    return f"-{decimal(-value)}" if value < 0 else decimal(value)


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share == share else "-"


def _unranked(board: Leaderboard) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", title_justify="left")
    table.add_column("not ranked")
    table.add_column("folds", justify="right")
    table.add_column("why", overflow="fold")
    for line in board.unranked[:MOST_ROWS]:
        done = f"{len(line.finished)}/{len(line.results)}"
        table.add_row(Text(line.label), done, Text("; ".join(line.reasons) or "no score"))
    return table


def decimal(value: float) -> str:
    """Four decimals without the leading zero, or a dash for NaN.

    >>> decimal(0.61237), decimal(1.0), decimal(float("nan"))
    ('.6124', '1.0000', '-')
    """
    return "-" if value != value else f"{value:.4f}".removeprefix("0")
