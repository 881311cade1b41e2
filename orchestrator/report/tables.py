"""The leaderboard as files."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

from gitract_core.files.atomic import write_bytes
from orchestrator.report.terminal import decimal
from orchestrator.results.leaderboard import Leaderboard
from orchestrator.results.verdict import Verdict

_UP_TO_SCORE = 5  # rank, candidate, folds, score, score_sd


def write_csv(board: Leaderboard, path: Path, verdict: Verdict | None = None) -> None:
    """One row a candidate with every figure and every knob; an empty field where there is none."""
    rows = table_rows(board, verdict)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({k: "" if v is None or v != v else v for k, v in row.items()} for row in rows)
    write_bytes(path, text.getvalue().encode())


def table_rows(board: Leaderboard, verdict: Verdict | None) -> list[dict[str, Any]]:
    """``Leaderboard.to_rows`` with the verdict's columns after the score's."""
    rows = board.to_rows()
    extra = [verdict.row(line) if verdict else {} for line in (*board.ranked, *board.unranked)]
    names = list(extra[0]) if extra else []
    return [
        {
            **dict(list(row.items())[:_UP_TO_SCORE]),
            **{name: some.get(name) for name in names},
            **dict(list(row.items())[_UP_TO_SCORE:]),
        }
        for row, some in zip(rows, extra, strict=True)
    ]


def write_markdown(board: Leaderboard, path: Path, verdict: Verdict | None = None) -> None:
    """What the ranking is worth, and the ranked table, ready to be pasted."""
    folds = [f"fold {i}" for i in range(board.record.total_folds)]
    header = ["#", "candidate", "score", "sd", "95 % interval", *folds, "Dice", "Hausdorff"]
    lines = [f"{verdict.in_words}\n"] if verdict else []
    lines += [_line(header), _line(["---:", "---", *["---:"] * (len(header) - 2)])]
    for rank, c in enumerate(board.ranked, 1):
        one = verdict.of(c) if verdict else None
        span = f"{decimal(one.low)} to {decimal(one.high)}" if one else "-"
        scores = [decimal(c.mean()), decimal(c.sd()), span]
        rest = map(decimal, [*c.folds(), c.mean("dice"), c.mean("hausdorff")])
        lines.append(_line([str(rank), c.label, *scores, *rest]))
    for c in board.unranked:
        done = f"{len(c.finished)}/{len(c.results)}, not ranked"
        figures = [*c.folds(), float("nan"), float("nan")]
        lines.append(_line(["-", c.label, done, "-", "-", *map(decimal, figures)]))
    write_bytes(path, ("\n".join(lines) + "\n").encode())


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
