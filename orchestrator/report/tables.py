"""The leaderboard as files."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from gitract_core.files import write_bytes
from orchestrator.leaderboard import Leaderboard
from orchestrator.report.terminal import decimal


def write_csv(board: Leaderboard, path: Path) -> None:
    """One row a candidate with every figure and every knob; an empty field where there is none."""
    rows = board.to_rows()
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({k: "" if v is None or v != v else v for k, v in row.items()} for row in rows)
    write_bytes(path, text.getvalue().encode())


def write_markdown(board: Leaderboard, path: Path) -> None:
    """The ranked table, ready to be pasted."""
    folds = [f"fold {i}" for i in range(board.record.n_folds)]
    header = ["#", "candidate", "score", "sd", *folds, "Dice", "Hausdorff"]
    lines = [_line(header), _line(["---:", "---", *["---:"] * (len(header) - 2)])]
    for rank, c in enumerate(board.ranked, 1):
        figures = [c.mean(), c.sd(), *c.folds(), c.mean("dice"), c.mean("hausdorff")]
        lines.append(_line([str(rank), c.label, *map(decimal, figures)]))
    for c in board.unranked:
        done = f"{len(c.finished)}/{len(c.results)}, not ranked"
        figures = [float("nan"), *c.folds(), float("nan"), float("nan")]
        lines.append(_line(["-", c.label, done, *map(decimal, figures)]))
    write_bytes(path, ("\n".join(lines) + "\n").encode())


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
