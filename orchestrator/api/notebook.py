"""A run in a notebook: the ranked table, and each score with its interval as a drawing."""

from __future__ import annotations

from html import escape
from math import isfinite
from typing import TYPE_CHECKING

from gitract_core.errors import counted
from orchestrator.sweeps.labels import candidate_letters

if TYPE_CHECKING:
    from pathlib import Path

    from orchestrator.results.candidate_scores import CandidateScores
    from orchestrator.results.leaderboard import Leaderboard
    from orchestrator.results.verdict import Verdict

MOST_ROWS = 20
_WIDTH, _ROW_HEIGHT, _MARGIN = 320, 26, 6


def run_html(path: Path, board: Leaderboard, verdict: Verdict | None) -> str:
    """A self-contained fragment of HTML: no script, nothing fetched."""
    letters = candidate_letters(board.record.candidates, board.record.removed)
    lines = board.ranked[:MOST_ROWS]
    head = "".join(f"<th>{name}</th>" for name in ("#", "", "candidate", "score", "95 % interval"))
    rows = [
        _row(verdict, rank, line, letters.get(line.candidate, ""))
        for rank, line in enumerate(lines, 1)
    ]
    more = len(board.ranked) - len(lines)
    words = verdict.in_words if verdict else "No candidate has a result of every fold."
    notes = [f"{counted(more, 'more ranked candidate')} not shown."] if more else []
    notes += [
        f"Not ranked: {line.label} ({'; '.join(line.reasons)})"
        for line in board.unranked[:MOST_ROWS]
    ]
    drawing = f'<div style="padding-top:{_ROW_HEIGHT}px">{interval_plot(board, verdict)}</div>'
    return (
        f"<p><b>{escape(str(path))}</b>. {escape(words)}</p>"
        '<div style="display:flex;align-items:flex-start">'
        f'<table><tr style="height:{_ROW_HEIGHT}px">{head}</tr>'
        f"{''.join(rows)}</table>{drawing}</div>"
        + "".join(f"<p>{escape(note)}</p>" for note in notes)
    )


def interval_plot(board: Leaderboard, verdict: Verdict | None) -> str:
    """Scores and their 95 % intervals of the first rows as inline SVG, one line each."""
    figures = []
    for line in board.ranked[:MOST_ROWS]:
        one = verdict.of(line) if verdict else None
        low, high = (one.low, one.high) if one else (float("nan"), float("nan"))
        figures.append((line.mean(), low, high))
    values = [value for row in figures for value in row if isfinite(value)]
    if not values:
        return ""
    least, span = min(values), (max(values) - min(values)) or 1.0

    def x(value: float) -> float:
        return round(_MARGIN + (value - least) / span * (_WIDTH - 2 * _MARGIN), 1)

    parts = []
    for place, (score, low, high) in enumerate(figures):
        y = place * _ROW_HEIGHT + _ROW_HEIGHT // 2
        if isfinite(low):
            ends = f'x1="{x(low)}" x2="{x(high)}" y1="{y}" y2="{y}"'
            parts.append(f'<line {ends} stroke="#0072B2" stroke-width="3"/>')
        parts.append(f'<circle cx="{x(score)}" cy="{y}" r="5" fill="#0072B2"/>')
    height = len(figures) * _ROW_HEIGHT
    title = f"<title>Scores from {least:.4f} to {least + span:.4f} with 95 % intervals</title>"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}" role="img">'
        f"{title}{''.join(parts)}</svg>"
    )


def _row(verdict: Verdict | None, rank: int, line: CandidateScores, name: str) -> str:
    one = verdict.of(line) if verdict else None
    interval = f"{one.low:.4f} to {one.high:.4f}" if one and isfinite(one.low) else "-"
    cells = (str(rank), name, line.label, f"{line.mean():.4f} ± {line.sd():.4f}", interval)
    inside = "".join(f"<td>{escape(cell)}</td>" for cell in cells)
    return f'<tr style="height:{_ROW_HEIGHT}px">{inside}</tr>'
