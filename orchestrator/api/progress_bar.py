"""A bar for work that is counted; loads Rich alone, as a bundle has little else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn


@contextmanager
def progress_bar(console: Console, what: str) -> Iterator[Callable[[int, int], None]]:
    """A bar for work counted as (done, total); without a terminal it draws nothing."""
    columns = ("{task.description}", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    widgets = console.is_jupyter and find_spec("ipywidgets") is not None
    drawn = widgets or (console.is_terminal and not console.is_jupyter)
    with Progress(*columns, console=console, transient=True, disable=not drawn) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
