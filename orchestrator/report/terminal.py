"""The leaderboard in a terminal: the ranking and its uncertainty, then folds, organs and costs."""

from __future__ import annotations

from collections.abc import Callable

from rich.console import Group, RenderableType
from rich.text import Text

from gitract_core.errors import counted
from gitract_core.metrics.score import COMPETITION, Mean
from orchestrator.report.answers import answer_tables, margin_notes
from orchestrator.report.organ_names import known_in_words, short_names
from orchestrator.report.progress_table import format_seconds
from orchestrator.report.table import Column, Table, decimal, span, to_terminal
from orchestrator.results.board_words import added_in_words, fold_notes, others_in_words
from orchestrator.results.candidate_scores import CandidateScores
from orchestrator.results.costs import training_costs
from orchestrator.results.epoch_words import epochs_in_words
from orchestrator.results.leaderboard import PAPER_METRICS, Leaderboard
from orchestrator.results.steadiness import Trainings
from orchestrator.results.verdict import Verdict
from orchestrator.statistics import CandidateStatistics

MOST_ROWS = 50
"""Candidates shown, ranked and not ranked; files have them all."""
MOST_ORGANS = 6
"""Organs shown of each candidate; where there are more, the three worst and the three best."""
_ORGANS_BESIDE_BOTH = 3  # more take a table for Dice and another for the Hausdorff score
Figure = tuple[str, Callable[[CandidateScores], str]]
"""A column: its header, and what it shows of a candidate."""


def leaderboard_view(board: Leaderboard, verdict: Verdict | None = None) -> RenderableType:
    """The verdict in words, the tables of ranked candidates, and the candidates without a rank."""
    trainings = verdict.trainings if verdict else Trainings.of(board.lines)
    parts: list[RenderableType] = []
    if trainings.nothing:
        parts += [Text(trainings.nothing_in_words, style="bold"), Text("")]
    parts += [Text(_heading(board), style="bold")]
    if verdict:
        parts += [Text(verdict.after_nothing), Text("")]
    if epochs := epochs_in_words(board):
        parts += [Text(epochs), Text("")]
    if board.ranked:
        columns = (
            _score_columns(),
            _fold_columns(board),
            *_organ_columns(board),
            _cost_columns(board),
        )
        with_verdict = [*columns[0], *_verdict_columns(verdict)]
        for figures in (with_verdict, *columns[1:]):
            parts += [_table(board, figures, verdict), Text("")]
        if verdict:
            parts += [Text(line, style="dim") for line in margin_notes(verdict)]
        parts += [Text(line, style="bold") for line in fold_notes(board)]
        notes = [mean.note for mean in board.score.means if mean.note]
        parts += [Text(line, style="dim") for line in notes]
        parts += [Text(line, style="dim") for line in _organ_notes(board)]
        parts += [Text("other folds: score at the epochs that the other folds choose", style="dim")]
        parts += [Text("* the seed paper's likely definitions, at the best epoch", style="dim")]
        parts += [Text("cost: steps times the usual time of such a step in this run", style="dim")]
        parts += [
            part for table in answer_tables(verdict) for part in (Text(""), to_terminal(table))
        ]
    if board.unranked:
        parts += [Text(""), _unranked(board)]
    for line in filter(None, (*added_in_words(board), others_in_words(board))):
        parts += [Text(""), Text(line, style="dim")]
    more = [max(len(lines) - MOST_ROWS, 0) for lines in (board.ranked, board.unranked)]
    if any(more):
        text = f"{more[0]} more ranked and {more[1]} more not ranked: --csv FILE writes them all"
        parts += [Text(""), Text(text, style="bold")]
    return Group(*parts)


def _heading(board: Leaderboard) -> str:
    n, folds = len(board.ranked) + len(board.unranked), board.record.folds_in_words
    return (
        f"{len(board.ranked)} of {counted(n, 'candidate')} ranked by mean score over {folds} "
        f"({score_in_words(board)})"
    )


def score_in_words(board: Leaderboard) -> str:
    """The formula, and what is left out of it."""
    if board.score is COMPETITION:
        return f"{COMPETITION.formula}, native size, empty slices skipped"
    return f"{board.score.name}, native size, organs that neither side holds not counted"


def _score_columns() -> list[Figure]:
    return [("score ± sd", lambda c: f"{decimal(c.mean())} ± {decimal(c.sd())}")]


def _verdict_columns(verdict: Verdict | None) -> list[Figure]:
    if verdict is None:
        return []

    def about(line: CandidateScores, show: Callable[[CandidateStatistics], str]) -> str:
        one = verdict.of(line)
        return show(one) if one else "-"

    def behind(one: CandidateStatistics) -> str:
        return "" if one.rank == 1 else span(one.behind_low, one.behind_high)

    return [
        ("95 % interval", lambda c: about(c, lambda one: span(one.low, one.high))),
        ("behind the first", lambda c: about(c, behind)),
        ("first", lambda c: about(c, lambda one: _percent(one.probability_first))),
    ]


def _fold_columns(board: Leaderboard) -> list[Figure]:
    def fold(number: int) -> Figure:
        return f"fold {number}", lambda c: decimal(c.folds()[number])

    return [fold(i) for i in range(board.record.total_folds)]


def _organ_columns(board: Leaderboard) -> list[list[Figure]]:
    """The columns of one table, or of one for each metric where there are many organs."""
    shown = board.telling_organs(MOST_ORGANS)
    beside = len(shown) <= _ORGANS_BESIDE_BOTH
    headers = dict(zip(shown, short_names(shown, 7 if beside else 6), strict=True))

    def organ(name: str, metric: str) -> Figure:
        return headers[name], lambda c: decimal(c.organ_mean(name, metric))

    def part(mean: Mean) -> list[Figure]:
        every = mean.short, lambda c: decimal(c.mean(mean.key))
        return [every, *(organ(name, mean.key) for name in shown)]

    parts = [part(mean) for mean in board.score.means]
    return [[*parts[0], *parts[1]]] if beside and len(parts) == 2 else parts


def _organ_notes(board: Leaderboard) -> list[str]:
    """Lines on organs that are left out, and on annotation that is not known."""
    shown, notes = board.telling_organs(MOST_ORGANS), []
    if len(shown) < len(board.organs):
        half = MOST_ORGANS // 2
        by = board.score.means[0].short
        notes.append(
            f"organs: the first candidate's {half} worst and {half} best by {by}, and "
            f"{len(board.organs) - len(shown)} more in --csv, --json and --html"
        )
    known = known_in_words(board.known, MOST_ORGANS)
    return [*notes, *[known] * bool(known)]


def _cost_columns(board: Leaderboard) -> list[Figure]:
    lines = board.lines
    costs = dict(zip((c.candidate for c in lines), training_costs(lines), strict=True))

    def paper(header: str, name: str) -> Figure:
        return header, lambda c: decimal(c.at_best(name))

    headers = ("Dice*", "IoU*", "acc.*")
    return [
        *(paper(h, name) for h, name in zip(headers, PAPER_METRICS, strict=True)),
        ("epoch", lambda c: "-" if c.added else f"{c.best_epoch:.1f}"),
        ("other folds", lambda c: decimal(cross_fitted(c))),
        ("param.", lambda c: "-" if c.added else f"{c.parameters / 1e6:.2f} M"),
        ("cost", lambda c: "-" if c.added else format_seconds(costs[c.candidate])),
    ]


def cross_fitted(line: CandidateScores) -> float:
    """The score of the epochs that other folds choose; NaN where it is not known."""
    found = line.epoch_choice.cross_fitted
    return float("nan") if found is None else found


def _table(board: Leaderboard, columns: list[Figure], verdict: Verdict | None) -> RenderableType:
    shown = (Column(name, wrap=False) for name, _ in columns)
    unsteady = verdict.trainings.unsteady if verdict else ()
    names = {line.label: f"{line.label} ~" for line in board.ranked if line.label in unsteady}
    rows = tuple(
        (
            f"{rank}{_mark(line, verdict)}",
            names.get(line.label, line.label),
            *(value(line) for _, value in columns),
        )
        for rank, line in enumerate(board.ranked[:MOST_ROWS], 1)
    )
    first = Column("#"), Column("candidate", "left", min_width=15)
    return to_terminal(Table("", (*first, *shown), rows))


def _mark(line: CandidateScores, verdict: Verdict | None) -> str:
    one = verdict.of(line) if verdict else None
    if verdict is None or one is None or not one.tied or len(verdict.statistics.tie_group) == 1:
        return " "
    return "$" if one.name == verdict.statistics.cheapest else "="


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share == share else "-"


def _unranked(board: Leaderboard) -> RenderableType:
    rows = tuple(
        (
            line.label,
            f"{len(line.finished)}/{len(line.results)}",
            "; ".join(line.reasons) or "no score",
        )
        for line in board.unranked[:MOST_ROWS]
    )
    columns = (Column("not ranked", "left"), Column("folds"), Column("why", "left"))
    return to_terminal(Table("", columns, rows))
