"""The Typer app and its door: exit codes, errors on one line, ``--debug``."""

from __future__ import annotations

import json
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from rich.console import Console

    from orchestrator.capacity.slots import Node
    from orchestrator.execution.executor import Executor
    from orchestrator.storage.run_storage import RunStorage
    from orchestrator.sweeps.run_directory import SweepDirectory

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

_AT_END = ExitStack()  # what a command leaves to be done when it ends, however it ends


def fill() -> None:
    """Bring all commands into the app."""
    from orchestrator.cli import (  # noqa: F401
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


def main() -> None:
    """Run the command line: exit 0 on success, 1 on a failed job, 2 on wrong use."""
    debug = "--debug" in sys.argv
    if debug:
        sys.argv.remove("--debug")
    fill()
    if debug:
        with _AT_END:
            app()
        return
    from gitract_core.errors import GitractError, TrialError

    try:
        with _AT_END:
            app()
    except GitractError as error:
        _print_error(error)
        sys.exit(1 if isinstance(error, TrialError) else 2)
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output has gone; nothing is wrong
        sys.exit(0)
    except OSError as error:
        said = error.strerror or error
        _print_error(f"{error.filename or 'system'}: {said}; check disk and permissions")
        sys.exit(1)
    except KeyboardInterrupt:  # while a run was stored; commands handle theirs
        _print_error("interrupted; the same command goes on")
        sys.exit(130)


def _print_error(error: object) -> None:
    print(f"gitract-cv: {error}", file=sys.stderr)


def console(*, stderr: bool = False) -> Console:
    """Where people read; progress goes to stderr, so that stdout can be piped."""
    from rich.console import Console

    return Console(stderr=stderr, highlight=False, markup=False, emoji=False)


def reach(stack: ExitStack, *, local: bool, address: str | None) -> tuple[Executor, Sequence[Node]]:
    """Worker processes of this machine, or Ray; and what the machines have.

    Args:
        stack: leaves the cluster when it is closed.
        local: without Ray.
        address: of a running cluster; None for a session of our own.
    """
    if local:
        from orchestrator.execution.local.executor import LocalExecutor, this_machine

        return LocalExecutor(), [this_machine()]
    from orchestrator.execution.ray.executor import RayExecutor, connect, dashboard, disconnect

    stack.callback(disconnect)
    with console(stderr=True).status("starting Ray"):
        nodes = connect(address)
    tell_dashboard(dashboard())
    return RayExecutor(), nodes


def take_run(out: Path) -> RunStorage:
    """Hold a run for the rest of the command; what is new in it is stored when the command ends."""
    from orchestrator.storage.opening import storage_at

    def say_stored(name: str) -> None:
        print(f"stored in {name}", file=sys.stderr)

    storage = storage_at(out)
    _AT_END.enter_context(storage.held(say_stored))
    return storage


def open_run(run: Path | None, *, bulky: bool = True) -> SweepDirectory:
    """An existing run directory; what a command adds to one in an object store is stored there.

    Args:
        run: a directory or a URI; None for the newest directory under ``runs/``.
        bulky: whether weights and probabilities are needed.

    Raises:
        RunError: there is none.
    """
    from orchestrator.storage.opening import existing_run, storage_at
    from orchestrator.sweeps.run_directory import SweepDirectory

    if run is None:
        return SweepDirectory.existing(None)
    storage = storage_at(run)
    directory = existing_run(storage, bulky=bulky)

    def push() -> None:
        for name in ("report", "ensembles"):
            if (directory.path / name).is_dir():
                storage.push(name)

    _AT_END.callback(push)
    return directory


def print_json(value: object) -> None:
    """Machine-readable output, alone on stdout."""
    from gitract_core.files.atomic import finite_or_none

    print(json.dumps(finite_or_none(value), indent=1))


def progress_bar(what: str) -> tuple[Any, Callable[[int, int], None]]:
    """A bar on stderr for work counted as (done, total); silent without a terminal."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    out = console(stderr=True)
    columns = ("{task.description}", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    bar = Progress(*columns, console=out, transient=True, disable=not out.is_terminal)
    task = bar.add_task(what, total=None)
    return bar, lambda done, total: bar.update(task, completed=done, total=total)


def tell_dashboard(url: str) -> None:
    """Print where Ray's dashboard is, and a warning where others may reach it."""
    if not url:
        return
    err = console(stderr=True)
    err.print(f"Ray's dashboard: {url}", soft_wrap=True)
    host = url.partition("//")[2].rpartition(":")[0]
    if not (host in ("localhost", "[::1]") or host.startswith("127.")):
        told = "it is not on loopback, and whoever reaches it can run code on the cluster"
        remedy = "start the head without --dashboard-host and use a tunnel (docs/clusters.md)"
        err.print(f"warning: {told}; {remedy}", soft_wrap=True)
