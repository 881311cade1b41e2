"""The command that says what a sweep will take: plan."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gitract_core.errors import counted
from orchestrator.api.options import SweepOptions
from orchestrator.cli import options
from orchestrator.cli.app import app
from orchestrator.cli.terminal.screen import console, open_run, print_json

if TYPE_CHECKING:
    from orchestrator.capacity.sweep_plan import Plan
    from orchestrator.statistics.questions.power import Detection

BudgetText = Annotated[
    str | None, typer.Option("--budget", help="Time there is, 6h or 90m: plan what fits it.")
]
Detect = Annotated[
    float | None,
    typer.Option(help="Plan patients and repeats that find this difference of score instead."),
]
NoisyRun = Annotated[
    Path | None, typer.Argument(help="With --detect: a finished run to take the noise from.")
]
WriteSpace = Annotated[
    Path | None, typer.Option(help="Write what is planned as a search space, a YAML file.")
]


@app.command(
    epilog="Example: gitract-cv plan --data uw-madison --space paper --exclude faulty --budget 6h"
)
@partial(options.sweep_options, hidden=options.OF_A_RUN_ALONE)
def plan(
    asked: SweepOptions,
    run: NoisyRun = None,
    detect: Detect = None,
    budget: BudgetText = None,
    write_space: WriteSpace = None,
    as_json: options.Json = False,
) -> None:
    """Say what a sweep with the same arguments will take: trials, slots, time, memory and disk.

    A few steps of each network are run on the data, as many at once as there will be trials, and
    nothing is written. With --budget, whole candidates are left out, those that train longest
    first, until the rest fits. Options of sweep that change nothing of it (retries, trackers) are
    taken, and left out of this page.

    With --detect nothing is run: it says how many patients and repeats find a difference between
    two candidates, from the noise of RUN, or from what is typical.
    """
    from orchestrator.api.planning import Budget, plan_sweep

    if detect is not None or run is not None:
        _plan_detection(detect, run, as_json=as_json)
        return
    limits, command = Budget(budget, write_space), options.command_line()
    made = plan_sweep(asked, limits, say=console(stderr=True), command=command)
    if as_json:
        print_json(made.to_json())
        return
    _show(made, race=asked.race)
    _say_next(made, write_space)


def _plan_detection(difference: float | None, run: Path | None, *, as_json: bool) -> None:
    from gitract_core.errors import GitractError
    from orchestrator.api.detecting import detect, detection_to_json

    if difference is None:
        remedy = f"add --detect .01, or leave {run} out to plan a sweep"
        raise GitractError("plan RUN", "--detect", "none", remedy)
    found = detect(difference, open_run(run, bulky=False).board if run else None)
    if as_json:
        print_json(detection_to_json(found))
    else:
        _show_detection(found)


def _show_detection(found: Detection) -> None:
    from orchestrator.report.table import Column, Table, to_terminal

    noise, out = found.noise, console()
    rows = tuple(
        (repeats, "no number" if cases is None else cases, repeats * noise.folds)
        for repeats, cases in found.cases_needed
    )
    out.print(
        f"To find a difference of {found.difference:g} between two candidates in 4 of 5 tries "
        "(two-sided test at 5 %, one pair chosen beforehand), it takes"
    )
    columns = Column("repeats"), Column("patients"), Column("trainings a candidate")
    out.print(to_terminal(Table("", columns, rows)))
    present = f"{counted(noise.cases, 'patient')} and {counted(noise.repeats, 'repeat')}"
    least = "none" if found.detectable == float("inf") else f"{found.detectable:.4f} and larger"
    out.print(f"Differences that {present} find: {least}.")
    if found.repeats_needed is None:
        out.print(f"With {counted(noise.cases, 'patient')} no number of repeats finds it.")
    else:
        repeats = counted(found.repeats_needed, "repeat")
        out.print(f"With {counted(noise.cases, 'patient')} it takes {repeats}.")
    luck, case = noise.training**0.5, noise.interaction**0.5
    out.print(
        f"noise {noise.source}: sd {case:.4f} of a candidate on one case, {luck:.4f} of the luck "
        "of one training",
        style="dim",
    )


def _show(plan: Plan, *, race: bool) -> None:
    from rich.table import Table

    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="dim")
    table.add_column()
    for name, value in _lines(plan, race=race):
        table.add_row(name, value)
    console().print(table)


def _lines(plan: Plan, *, race: bool) -> Iterator[tuple[str, str]]:
    from orchestrator.api.sweep_lines import each_of
    from orchestrator.report.progress_table import format_seconds

    times = f"{plan.repeats} x " if plan.repeats > 1 else ""
    work = f"{times}{plan.folds} folds for {each_of(len(plan.candidates))}"
    finished = f", {plan.finished} of them finished already" if plan.finished else ""
    yield "trials", f"{plan.trials}: {work}{finished}"
    if plan.shared:
        reuse = "reuses" if plan.shared == 1 else "reuse"
        yield "", f"{plan.shared} of them {reuse} the weights of another one"
    slots = plan.slots
    share = f"{slots.gpus:.2g} GPU and " if slots.gpus else ""
    yield "slots", f"{counted(slots.count, 'trial')} at a time, each with {share}{slots.cpus} CPU"
    up_to = "at most " if plan.least_seconds < 0.99 * plan.seconds else "about "
    yield "time", up_to + format_seconds(plan.seconds) + ("; racing saves some" if race else "")
    if up_to == "at most ":
        yield "", f"{format_seconds(plan.least_seconds)} if patience ends trials at once"
    if plan.cache_seconds:
        yield "", f"{format_seconds(plan.cache_seconds)} of it to build the cache"
    if slots.gpus:
        yield "GPU-hours", f"{plan.gpu_hours:.2f}"
    yield "CPU-hours", f"{plan.cpu_hours:.2f}"
    kind = "GPU memory" if slots.gpus else "memory"
    each = _bytes(plan.memory_bytes)
    yield kind, f"{each} a trial, {_bytes(plan.memory_bytes * slots.count)} in all"
    disk = plan.disk
    yield "disk", f"{_bytes(disk.trials_bytes)} in the run directory"
    yield "", f"{_bytes(disk.checkpoints_bytes)} more while trials run"
    if disk.cache_bytes:
        yield "", f"{_bytes(disk.cache_bytes)} for the cache"


def _say_next(plan: Plan, space_file: Path | None) -> None:
    """What the budget leaves out, and the command that runs the rest."""
    from rich.text import Text

    from orchestrator.sweeps.going_on import sweep_of_space

    out = console()
    if plan.left_out:
        left = counted(len(plan.left_out), "candidate")
        out.print(f"\nThe budget leaves out {left}, those that train longest first:")
        for label in plan.left_out:
            out.print(Text(f"  {label}"), soft_wrap=True)
    if space_file is not None:
        command = sweep_of_space(sys.argv[2:], space_file)
        out.print(Text(f"\nnext  {command}"), soft_wrap=True)
    elif plan.left_out:
        out.print("\n--write-space FILE.yaml writes the rest as a space for sweep", style="dim")


def _bytes(count: float) -> str:
    """A size as a person says it.

    >>> _bytes(999), _bytes(2_500_000), _bytes(3e9)
    ('1 kB', '2.5 MB', '3.0 GB')
    """
    value: Any = count
    for unit in ("kB", "MB", "GB"):
        value = value / 1000
        if value < 999.5 or unit == "GB":
            return f"{value:.0f} {unit}" if unit == "kB" or value >= 99.5 else f"{value:.1f} {unit}"
    raise AssertionError
