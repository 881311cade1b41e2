"""The leaderboard as files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gitract_core.files.atomic import write_bytes
from orchestrator.report.answers import answer_tables
from orchestrator.report.table import Column, Table, decimal, to_csv, to_markdown
from orchestrator.results.board_words import added_in_words
from orchestrator.results.epoch_words import epochs_in_words
from orchestrator.results.leaderboard import Leaderboard
from orchestrator.results.verdict import Verdict

_UP_TO_SCORE = 5  # rank, candidate, folds, score, score_sd


def write_csv(board: Leaderboard, path: Path, verdict: Verdict | None = None) -> None:
    """One row a candidate with every figure and every knob; an empty field where there is none."""
    write_bytes(path, to_csv(Table.of_records(table_rows(board, verdict))).encode())


def table_rows(board: Leaderboard, verdict: Verdict | None) -> list[dict[str, Any]]:
    """``Leaderboard.to_rows`` with the verdict's columns after the score's."""
    rows = board.to_rows()
    extra = [verdict.row(line) if verdict else {} for line in (*board.ranked, *board.unranked)]
    names = list(extra[0]) if extra else []
    return [
        {
            **dict(list(row.items())[:_UP_TO_SCORE]),
            **{name: judged.get(name) for name in names},
            **dict(list(row.items())[_UP_TO_SCORE:]),
        }
        for row, judged in zip(rows, extra, strict=True)
    ]


def write_markdown(board: Leaderboard, path: Path, verdict: Verdict | None = None) -> None:
    """Write the verdict, the ranked table and the tables of knobs as Markdown, atomically."""
    above = f"{verdict.in_words}\n\n" if verdict else ""
    epochs = epochs_in_words(board)
    above += f"{epochs}\n\n" if epochs else ""
    above += "".join(f"{line}\n\n" for line in added_in_words(board))
    tables = [_ranking(board, verdict), *answer_tables(verdict)]
    write_bytes(path, (above + "\n".join(map(to_markdown, tables))).encode())


def _ranking(board: Leaderboard, verdict: Verdict | None) -> Table:
    """Ranked candidates, then the others with the number of their finished folds."""
    folds = [f"fold {i}" for i in range(board.record.total_folds)]
    means = board.score.means
    columns = (
        Column("#"),
        Column("candidate", "left"),
        *(Column(name, show=decimal) for name in ("score", "sd")),
        Column("95 % interval"),
        *(Column(name, show=decimal) for name in (*folds, *(mean.header for mean in means))),
    )
    rows: list[tuple[Any, ...]] = []
    for rank, line in enumerate(board.ranked, 1):
        one = verdict.of(line) if verdict else None
        span = f"{decimal(one.low)} to {decimal(one.high)}" if one else None
        parts = [line.mean(mean.key) for mean in means]
        rows.append((rank, line.label, line.mean(), line.sd(), span, *line.folds(), *parts))
    for line in board.unranked:
        done = f"{len(line.finished)}/{len(line.results)}, not ranked"
        rows.append((None, line.label, done, None, None, *line.folds(), *[None] * len(means)))
    return Table("", columns, tuple(rows))
