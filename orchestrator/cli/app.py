"""The Typer app and its door: exit codes, errors on one line, ``--debug``."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import ExitStack

    from rich.console import Console

    from orchestrator.executor import Executor
    from orchestrator.slots import Node

app = typer.Typer(
    name="gitract-cv",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Which of these segmentation settings is really better, and what do I submit?\n\n"
    "Sweep candidates over folds, rank them, ensemble the best and write a submission.",
    epilog="--debug after any command shows tracebacks. Start with: gitract-cv sweep",
)


def main() -> None:
    """Run the command line: exit 0 on success, 1 on a failed job, 2 on wrong use."""
    debug = "--debug" in sys.argv
    if debug:
        sys.argv.remove("--debug")
    from orchestrator.cli import (  # noqa: F401 (fill the app)
        auditing,
        data,
        exploring,
        handing_over,
        judging,
        picturing,
        planning,
        predicting,
        running,
        watching,
    )

    if debug:
        app()
        return
    from gitract_core.errors import GitractError, TrialError

    try:
        app()
    except GitractError as error:
        _print_error(error)
        sys.exit(1 if isinstance(error, TrialError) else 2)
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output has gone; nothing is wrong
        sys.exit(0)
    except OSError as error:
        _print_error(f"{error.filename or 'system'}: {error.strerror}; check disk and permissions")
        sys.exit(1)


def _print_error(error: object) -> None:
    print(f"gitract-cv: {error}", file=sys.stderr)


def console(*, stderr: bool = False) -> Console:
    """Where people read; progress goes to stderr, so that stdout can be piped."""
    from rich.console import Console

    return Console(stderr=stderr, highlight=False)


def reach(stack: ExitStack, *, local: bool, address: str | None) -> tuple[Executor, Sequence[Node]]:
    """Worker processes of this machine, or Ray; and what the machines have.

    Args:
        stack: leaves the cluster when it is closed.
        local: without Ray.
        address: of a running cluster; None for a session of our own.
    """
    if local:
        from orchestrator.local_executor import LocalExecutor, this_machine

        return LocalExecutor(), [this_machine()]
    from orchestrator.ray_executor import RayExecutor, connect, dashboard, disconnect

    stack.callback(disconnect)
    with console(stderr=True).status("starting Ray"):
        nodes = connect(address)
    if dashboard():
        console(stderr=True).print(f"Ray's dashboard: {dashboard()}", soft_wrap=True)
    return RayExecutor(), nodes


def print_json(value: object) -> None:
    """Machine-readable output, alone on stdout."""
    from gitract_core.files import finite_or_none

    print(json.dumps(finite_or_none(value), indent=1))


def progress_bar(what: str) -> tuple[Any, Callable[[int, int], None]]:
    """A bar on stderr for work counted as (done, total); silent without a terminal."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    out = console(stderr=True)
    columns = ("{task.description}", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    bar = Progress(*columns, console=out, transient=True, disable=not out.is_terminal)
    task = bar.add_task(what, total=None)
    return bar, lambda done, total: bar.update(task, completed=done, total=total)
