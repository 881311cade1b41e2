"""All values of a page; it names the sections that cannot be made and why."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from gitract_core.errors import GitractError, in_utf8
from gitract_core.files.atomic import write_bytes
from gitract_core.metrics.score import CONTEST_SCORE
from gitract_core.prediction.announced_scores import read_announced
from gitract_core.progress import Progress, silent
from orchestrator.report.organ_names import known_in_words, organ_name
from orchestrator.report.page.cases import case_values, pair_values
from orchestrator.report.page.curves import curve_values
from orchestrator.report.page.document import BUDGET_BYTES, render_page
from orchestrator.report.page.gallery import gallery_values
from orchestrator.report.page.provenance import fold_values, origin_values
from orchestrator.report.page.ranking import cost_values, ranking_values
from orchestrator.report.page.slice_positions import place_values, score_tables
from orchestrator.report.page.statistics_section import statistics_section
from orchestrator.results.board_words import added_in_words, fold_notes, others_in_words
from orchestrator.results.candidate_scores import CandidateScores
from orchestrator.results.leaderboard import Leaderboard
from orchestrator.results.steadiness import Trainings
from orchestrator.results.verdict import Verdict
from orchestrator.sweeps.run_directory import SweepDirectory

MOST_DRAWN = 8
"""Organs that charts draw and the leaderboard lists at first; tables have all of them."""
MOST_SHOWN = 10
"""Candidates that get more than a line of the leaderboard."""


def write_page(
    directory: SweepDirectory,
    board: Leaderboard,
    verdict: Verdict | None,
    path: Path,
    progress: Progress = silent,
) -> Path:
    """Write a run's page atomically.

    Args:
        directory: the run.
        board: its leaderboard.
        verdict: what the ranking is worth.
        path: of the page.
        progress: called with (sections done, all sections).

    Returns:
        The path.
    """
    values = page_values(directory, board, verdict, progress)
    write_bytes(path, page_within_budget(values).encode())
    return path


def page_within_budget(values: dict[str, Any], most_bytes: int = BUDGET_BYTES) -> str:
    """The page, with as many scans of the gallery as fit; it says how many are left out."""
    page = render_page(values)
    gallery = values["gallery"]
    while len(page.encode()) > most_bytes and gallery and gallery["scans"]:
        scan = gallery["scans"].pop()["scan"]
        values["left_out"].append(f"{scan}: no room on a page of {most_bytes / 1e6:.0f} MB")
        page = render_page(values)
    return page


def page_values(
    directory: SweepDirectory,
    board: Leaderboard,
    verdict: Verdict | None,
    progress: Progress = silent,
) -> dict[str, Any]:
    """The values of all sections; one that cannot be made is None, and ``left_out`` says why.

    Returns:
        JSON values by section, and ``left_out``: what is missing and why, one line each.
    """
    shown = shown_candidates(board)
    left_out: list[str] = []
    tables = score_tables(directory, shown, board.organs, left_out)
    sections: dict[str, Callable[[], Any]] = {
        "run": lambda: _run(directory, board),
        "statistics": lambda: statistics_section(board, verdict),
        "leaderboard": lambda: ranking_values(board, board.telling_organs(MOST_DRAWN)),
        "cost": lambda: cost_values(board),
        "curves": lambda: curve_values(directory, shown, left_out),
        "cases": lambda: case_values(directory.plans(board.record)[0], shown, board.organs),
        "pairs": lambda: pair_values(board.ranked[:MOST_SHOWN], board.organs),
        "ensembles": lambda: ensemble_values(directory, board.score.text),
        "places": lambda: place_values(board, tables, left_out),
        "gallery": lambda: gallery_values(directory, board, tables),
        "folds": lambda: fold_values(directory, board.record),
        "origins": lambda: origin_values(board),
    }
    values: dict[str, Any] = {"left_out": left_out}
    for done, (name, gather) in enumerate(sections.items(), 1):
        try:
            values[name] = gather()
        except GitractError as error:
            values[name] = None
            left_out.append(str(error))
        progress(done, len(sections))
    left_out[:] = dict.fromkeys(left_out)
    return values


def shown_candidates(board: Leaderboard, most: int = MOST_SHOWN) -> tuple[CandidateScores, ...]:
    """The best ranked candidates, then the unranked ones with most finished folds."""
    begun = [line for line in board.unranked if line.finished]
    begun.sort(key=lambda line: -len(line.finished))
    return (*board.ranked, *begun)[:most]


def ensemble_values(directory: SweepDirectory, score: str = CONTEST_SCORE) -> list[dict[str, Any]]:
    """Announced and in-sample score of each ensemble of the run by one score, best first.

    Raises:
        RunError: one of their ``oof_score.json`` is damaged.
    """
    files = sorted((directory.path / "ensembles").glob("*/oof_score.json"))
    announced: list[dict[str, Any]] = [{"name": f.parent.name, **read_announced(f)} for f in files]
    announced = [one for one in announced if one.get("measure", CONTEST_SCORE) == score]
    return sorted(announced, key=lambda one: -(one["score"] or 0.0))


def _run(directory: SweepDirectory, board: Leaderboard) -> dict[str, Any]:
    record = board.record
    lines = (*board.ranked, *board.unranked)
    others = others_in_words(board)
    trained = [line for line in lines if not line.added]
    return {
        "name": in_utf8(directory.path.resolve().name),
        "n_folds": record.total_folds,
        "candidates": len(lines),
        "ranked": len(board.ranked),
        "trials": len(trained) * record.total_folds,
        "finished": int(np.sum([len(line.finished) for line in trained])),
        "seconds": float(np.sum([line.seconds for line in trained])),
        "organs": [{"key": organ, "name": organ_name(organ)} for organ in board.organs],
        "telling": [board.organs.place(organ) for organ in board.telling_organs(MOST_DRAWN)],
        "nothing": Trainings.of(lines).nothing_in_words,
        "known": known_in_words(board.known, len(board.organs)),
        "notes": [*fold_notes(board), *added_in_words(board), *filter(None, [others])],
    }
