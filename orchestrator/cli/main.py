"""The door of the command line: all commands, exit codes, errors on one line, ``--debug``."""

from __future__ import annotations

import sys

from orchestrator.cli import (  # noqa: F401 - each adds its commands to the app
    audit,
    compare,
    data,
    export,
    figures,
    plan,
    predict,
    remove,
    report,
    status,
    sweep,
)
from orchestrator.cli.app import app
from orchestrator.cli.screen import AT_END


def main() -> None:
    """Run the command line: exit 0 on success, 1 on a failed job, 2 on wrong use."""
    debug = "--debug" in sys.argv
    if debug:
        sys.argv.remove("--debug")
    if debug:
        with AT_END:
            app()
        return
    from gitract_core.errors import GitractError, TrialError

    try:
        with AT_END:
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
