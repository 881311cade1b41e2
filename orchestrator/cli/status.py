"""The command that watches: status."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gitract_core.errors import counted
from orchestrator.cli.app import app
from orchestrator.cli.terminal.screen import console, open_run, print_json

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

    from orchestrator.results.status import RunStatus, TrialStatus

_STYLES = {
    "finished": "green",
    "running": "yellow",
    "failed": "bold red",
    "diverged": "bold red",
    "damaged": "bold red",
}


@app.command(epilog="Example: gitract-cv status runs/paper; or every 5 s: watch gitract-cv status")
def status(
    run: Annotated[
        Path | None, typer.Argument(help="Run directory; the newest under runs/ if left out.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Machine-readable output on stdout alone.")
    ] = False,
) -> None:
    """How far a sweep is, from another terminal: every trial, what failed, the time left.

    Reads files alone and disturbs nobody. A cell is the fold's score, or epoch/epochs with the
    Dice and the age of the last epoch; "stopped": begun, and no process is at it.
    """
    from rich.measure import Measurement

    from orchestrator.results.steadiness import nothing_in_words

    found = open_run(run, bulky=False).status()
    if as_json:
        print_json(found.to_json())
        return
    out, table = console(), _table(found)
    whole = Measurement.get(out, out.options.update(max_width=2000), table).maximum
    out.width = max(out.width, whole)  # rather than scores and names cut short
    nothing = nothing_in_words(found.segment_nothing, len(found.labels))
    if nothing:
        out.print(f"{nothing}\n", style="bold", soft_wrap=True)
    out.print(table)
    out.print()
    for line in _summary(found):
        out.print(line, soft_wrap=True)
    for trial in found.trials:
        if trial.reason and trial.state != "dropped":
            name = f"{found.labels[trial.spec.candidate]}, fold {found.folds[trial.spec.key]}"
            out.print(f"\n{name}: {trial.reason}", style="red", soft_wrap=True)
            for line in trial.detail:
                out.print(f"    {line}", style="dim", soft_wrap=True)
            if trial.log:
                out.print(f"    log: {trial.log}", style="dim", soft_wrap=True)


def _table(found: RunStatus) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("candidate")
    rows: dict[str, list[Text]] = {}
    for trial in found.trials:
        rows.setdefault(found.labels[trial.spec.candidate], []).append(_cell(trial))
    for fold in range(max(map(len, rows.values()), default=0)):
        table.add_column(f"fold {fold}", justify="right")
    for label, cells in rows.items():
        table.add_row(Text(label), *cells)
    return table


def _cell(trial: TrialStatus) -> Text:
    from rich.text import Text

    from orchestrator.report.progress_table import format_seconds

    text: str = trial.state
    if trial.state == "finished":
        steps = ["alone"] * trial.alone
        steps += [f"parts of {trial.micro_batch}"] * (trial.micro_batch > 0)
        steps += [f"validated by {trial.validation_parts}"] * (trial.validation_parts > 0)
        score = f"{trial.score:.4f}" if trial.score == trial.score else "nothing to score"
        text = score + f" ({', '.join(steps)})" * bool(steps)
    elif trial.state == "running":
        text = f"{'alone, ' * trial.alone}epoch {trial.epoch}/{trial.epochs}"
        if trial.epoch:
            text += f" {trial.dice:.2f}, {format_seconds(trial.age_seconds)} ago"
    elif trial.state == "stopped":
        text = f"stopped {trial.epoch}/{trial.epochs}"
    return Text(text, style=_STYLES.get(trial.state, "dim"))


def _summary(found: RunStatus) -> list[str]:
    from orchestrator.report.progress_table import time_left

    counts = ", ".join(f"{number} {state}" for state, number in found.counts.items())
    lines = [f"{counted(len(found.trials), 'trial')}: {counts}"]
    if found.to_come:
        lines.append(f"candidates yet to be proposed: {found.to_come}")
    if found.alive:
        lines.append(f"a sweep is running; {time_left(found.seconds_left)}")
    elif found.is_done:
        lines.append("all is done")
    elif found.left_out and not found.command:
        lines.append("no trial is running; the last sweep's command would train what was removed")
    else:
        which = "this command" if found.left_out else "the same sweep command"
        same = f": {found.command}" if found.command else ""
        lines.append(f"no trial is running; {which} goes on from here{same}")
    for one in found.added:
        text = f"added: {one.name}, {one.scored} of {counted(one.folds, 'fold')} scored"
        lines.append(text + f" ({one.fault or one.origin})")
    alone = sum(trial.alone for trial in found.trials)
    if alone:
        lines.append(
            f"memory ran out beside others in {counted(alone, 'trial')}; each gets a GPU alone"
        )
    split = sum(trial.micro_batch > 0 for trial in found.trials)
    if split:
        lines.append(f"memory ran out in {counted(split, 'trial')}; batches went in smaller parts")
    validation = sum(trial.validation_parts > 0 for trial in found.trials)
    if validation:
        lines.append(
            f"memory ran out in validation in {counted(validation, 'trial')}; it went in parts"
        )
    return lines
