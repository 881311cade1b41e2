"""What commands print on: consoles, JSON and progress bars; and a run that they open."""

from __future__ import annotations

from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console

    from orchestrator.api.run import Run

AT_END = ExitStack()  # what a command leaves to be done when it ends, however it ends


def console(*, stderr: bool = False) -> Console:
    """Where people read; progress goes to stderr, so that stdout can be piped."""
    from rich.console import Console

    return Console(stderr=stderr, highlight=False, markup=False, emoji=False)


def print_json(value: object) -> None:
    """Machine-readable output, alone on stdout."""
    from gitract_core.files.atomic import json_text

    print(json_text(value))


def progress_bar(what: str) -> AbstractContextManager[Callable[[int, int], None]]:
    """A bar on stderr for work counted as (done, total); silent without a terminal."""
    from orchestrator.api.progress_bar import progress_bar as bar

    return bar(console(stderr=True), what)


def open_run(
    path: Path | None,
    *,
    bulky: bool = True,
    margin: float | None = None,
    score: str | None = None,
) -> Run:
    """A run; what a command adds to one in an object store is stored when the command ends.

    Args:
        path: a directory or a URI; None for the newest directory under ``runs/``.
        bulky: whether weights and probabilities are needed.
        margin: of score, of a report.
        score: by which candidates are ranked; the run's if None.

    Raises:
        RunError: there is none.
    """
    from orchestrator.api.run import open_run as opened

    run = opened(path, bulky=bulky, margin=margin, score=score)
    AT_END.callback(run.store)
    return run
