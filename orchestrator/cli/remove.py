"""The command that takes a candidate out of a run: remove."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from orchestrator.cli.app import app
from orchestrator.cli.terminal.screen import console


@app.command(epilog="Example: gitract-cv remove runs/paper C --yes")
def remove(
    run: Annotated[Path, typer.Argument(help="Run directory.")],
    candidate: Annotated[str, typer.Argument(help="A letter, a label, an added name or a rank.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Remove a candidate and its trials from a run. Its letter is not given again.

    Trainings that other candidates share stay. A sweep that asks for the candidate again trains it
    again, as another one.
    """
    from gitract_core.errors import RunError, counted
    from orchestrator.api.removal import plan_removal
    from orchestrator.api.removal import remove as take_out
    from orchestrator.storage.local_folder import LocalRun
    from orchestrator.storage.opening import existing_run, storage_at

    storage = storage_at(run)
    if not isinstance(storage, LocalRun):
        remedy = "remove the candidate's folders there by hand"
        raise RunError(storage.name, "a run in a folder of this machine", "a store", remedy)
    directory = existing_run(storage)
    planned = plan_removal(directory, candidate)
    what = f"{planned.label} (added), {planned.size_bytes / 1e6:.1f} MB"
    if planned.letter:
        what = f"{planned.letter} ({planned.label}), {counted(len(planned.trials), 'trial')}"
        what += f", {planned.finished} of them finished, {planned.size_bytes / 1e6:.1f} MB"
    if not yes:
        if not sys.stdin.isatty():
            raise RunError("remove", "--yes, where nobody can be asked", "none", "pass --yes")
        if not typer.confirm(f"Remove {what}?"):
            raise typer.Exit(1)
    take_out(directory, planned)
    console().print(f"removed {what}", soft_wrap=True)
