"""The command that trains: sweep."""

from __future__ import annotations

import sys

import typer

from gitract_core.errors import counted
from orchestrator.api.options import SweepOptions
from orchestrator.cli import options
from orchestrator.cli.app import app
from orchestrator.cli.terminal.interrupts import ignore_further_terms
from orchestrator.cli.terminal.next_steps import after_sweep
from orchestrator.cli.terminal.screen import console, print_json
from orchestrator.execution.termination import EXIT_CODE, Terminated


@app.command(epilog="Example: gitract-cv sweep --data uw-madison --space paper --exclude faulty")
@options.sweep_options
def sweep(asked: SweepOptions, as_json: options.Json = False) -> None:
    """Train every candidate of a space on every fold, and rank them.

    Run the same command again to resume: finished trials are kept, interrupted ones go on from
    where their state was last saved. More epochs, more candidates: what is there is reused.
    """
    from orchestrator.api.sweeping import run_sweep

    say, shown = console(stderr=as_json), console(stderr=True)
    try:
        outcome = run_sweep(asked, say=say, shown=shown, command=options.command_line())
    except Terminated as ended:
        ignore_further_terms()
        print(f"gitract-cv: {ended}", file=sys.stderr)
        raise typer.Exit(EXIT_CODE) from None
    except KeyboardInterrupt:
        text = "interrupted; what is finished is kept, the same command goes on from here"
        print(f"gitract-cv: {text}", file=sys.stderr)
        raise typer.Exit(130) from None
    run = outcome.run
    report = run.path / "report"
    if outcome.unwritten:
        print(
            f"gitract-cv: {report}: expected room to write the page and tables, "
            f"got {outcome.unwritten.strerror}; free some space, then run the same command again",
            file=sys.stderr,
        )
    if as_json:
        print_json(run.to_json())
    else:
        from orchestrator.report import leaderboard_view

        out = console()
        out.print()
        out.print(leaderboard_view(run.board, run.verdict))
        out.print(f"\nrun directory  {run.path}")
        out.print(f"page, tables   {report}")
        if following := after_sweep(run, options.command_line()):
            out.print(f"next           {following}", style="dim", soft_wrap=True)
    if outcome.failed:
        failed = counted(len(outcome.failed), "trial")
        print(
            f"gitract-cv: {failed} failed for good; the reasons stand above "
            f"and in {run.directory.trials}/*/failure.json; the same command tries them again",
            file=sys.stderr,
        )
    if outcome.failed or outcome.unwritten or outcome.lacks_event_files:
        raise typer.Exit(1)
