"""The door of the command line: all commands, exit codes, errors on one line, ``--debug``."""

from __future__ import annotations

import sys
from contextlib import nullcontext

from orchestrator.cli import (  # noqa: F401 - each adds its commands to the app
    add,
    audit,
    compare,
    data,
    export,
    figures,
    folds,
    plan,
    predict,
    remove,
    report,
    status,
    sweep,
)
from orchestrator.cli.app import app
from orchestrator.cli.terminal.interrupts import interrupted_once, terminated_in_a_line
from orchestrator.cli.terminal.screen import AT_END
from orchestrator.cli.terminal.streams import settle_width, tolerant_streams


def main() -> None:
    """Run the command line: exit 0 on success, 1 on a failed job, 2 on wrong use."""
    sweeps = next((word for word in sys.argv[1:] if not word.startswith("-")), "") == "sweep"
    with terminated_in_a_line() if sweeps else nullcontext():
        settle_width()
        with tolerant_streams() as outlets:
            code = _run()
    lost = any(outlet.fault for outlet in outlets)
    sys.exit(code or int(lost))


def _run() -> int:
    """Run a command, and say what went wrong; its exit code."""
    debug = "--debug" in sys.argv
    if debug:
        sys.argv.remove("--debug")
    from gitract_core.errors import GitractError, TrialError

    try:
        with interrupted_once(), AT_END:
            app()
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except KeyboardInterrupt:  # while a run was stored; commands handle theirs
        if debug:
            raise
        _print_error("interrupted; the same command goes on")
        return 130
    except (GitractError, OSError) as error:
        if debug:
            raise
        if isinstance(error, GitractError):
            _print_error(error)
            return 1 if isinstance(error, TrialError) else 2
        said = error.strerror or error
        _print_error(f"{error.filename or 'system'}: {said}; check disk and permissions")
        return 1
    except UnicodeEncodeError as error:  # a name whose bytes are not UTF-8, in a file's text
        if debug:
            raise
        got = repr(error.object[max(error.start - 20, 0) : error.end])
        _print_error(f"names: expected names in UTF-8, got {got}; rename the file or folder")
        return 2
    return 0


def _print_error(error: object) -> None:
    print(f"gitract-cv: {error}", file=sys.stderr)
