"""The command that says what a sweep will take: plan."""

from __future__ import annotations

import shlex
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchestrator.cli import options
from orchestrator.cli.app import app, console, print_json

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orchestrator.capacity.plan import Outlook, Plan
    from orchestrator.capacity.slots import Node
    from orchestrator.sweeps.preparation import CheckedSweep, SweepRequest

Budget = Annotated[str | None, typer.Option(help="Time there is, 6h or 90m: plan what fits it.")]
WriteSpace = Annotated[
    Path | None, typer.Option(help="Write what is planned as a search space, a YAML file.")
]
_RAY_START_SECONDS = 10.0  # import, an own session, its first workers and its end, on two cores
_REPORT_SECONDS = 3.0  # ranking, statistics, tables and page of the demo, on two cores


@app.command(
    epilog="Example: gitract-cv plan --data uw-madison --space paper --exclude faulty --budget 6h"
)
def plan(
    data: options.Data = None,
    space: options.Space = None,
    out: options.Out = None,
    folds: options.Folds = None,
    repeats: options.Repeats = None,
    exclude: options.Exclude = None,
    set_knob: options.SetKnob = None,
    precision: options.Precision = None,
    address: options.Address = None,
    local: options.Local = False,
    trials_per_gpu: options.TrialsPerGpu = "auto",
    cpus_per_trial: options.CpusPerTrial = None,
    oof: options.Oof = "keep",
    checkpoint_minutes: options.CheckpointMinutes = 10.0,
    keep_state: options.KeepState = True,
    race: options.Race = False,
    race_keep: options.RaceKeep = 3,
    retries: options.Retries = 1,
    budget: Budget = None,
    write_space: WriteSpace = None,
    as_json: options.Json = False,
) -> None:
    """Say what a sweep with the same arguments will take: trials, slots, time, memory and disk.

    A few steps of each network are run on the data, as many at once as there will be trials, and
    nothing is written. With --budget, whole candidates are left out, those that train longest
    first, until the rest fits.
    """
    from orchestrator.capacity.budget import parse_budget
    from orchestrator.capacity.budget import write_space as write
    from orchestrator.capacity.plan import make_plan

    loading = time.process_time()  # a sweep loads the same
    budget_seconds = None if budget is None else parse_budget(budget)
    changes = (exclude or [], set_knob or [], precision)
    with _folder(data) as (path, extra_seconds):
        start = time.perf_counter()
        out, folder = _here(out), (path, data is None)
        request = options.sweep_request(folder, space, out, (folds, repeats), changes)
        checked = _checked(request, {"--budget": budget, "--write-space": write_space})
        extra_seconds += loading + time.perf_counter() - start + _REPORT_SECONDS
        flags = (trials_per_gpu, cpus_per_trial)
        kept = (oof == "keep", keep_state)
        outlook = _outlook(checked, (local, address), flags, extra_seconds, kept)
        made = make_plan(outlook, budget_seconds)
        if write_space is not None:
            write(write_space, request.space, outlook.named(made.candidates))
    if as_json:
        print_json(made.to_json())
        return
    _show(made, race=race)
    _say_next(made, write_space)


def _checked(request: SweepRequest, choices: dict[str, object]) -> CheckedSweep:
    """The sweep to plan; what will be proposed can be neither left out nor written down."""
    from gitract_core.errors import SpaceError
    from orchestrator.steering.search import foreseen
    from orchestrator.sweeps.preparation import check

    asked = [option for option, value in choices.items() if value]
    if request.search and asked:
        remedy = "lower the search's samples until the plan's time fits"
        raise SpaceError(asked[0], "a space whose candidates are known", "a search", remedy)
    return foreseen(check(request))


def _here(out: Path | None) -> Path | None:
    """The run directory on this machine, as its storage is now."""
    from orchestrator.storage.opening import storage_at

    return out and storage_at(out).pull(bulky=False)


@contextmanager
def _folder(data: Path | None) -> Iterator[tuple[Path, float]]:
    """The data set, and the seconds that making it took: without one, a phantom for the while."""
    if data is not None or options.DEMO_DATA.is_dir():
        yield data or options.DEMO_DATA, 0.0
        return
    from tempfile import TemporaryDirectory

    from gitract_core.phantom import write_phantom

    with TemporaryDirectory(prefix="gitract-cv-plan-") as scratch:
        start = time.perf_counter()
        cases, slices = options.DEMO_CASES, options.DEMO_SLICES
        write_phantom(Path(scratch) / "phantom", cases=cases, slices_per_scan=slices)
        yield Path(scratch) / "phantom", time.perf_counter() - start


def _outlook(
    checked: CheckedSweep,
    where: tuple[bool, str | None],
    flags: tuple[str, int | None],
    extra_seconds: float,
    kept: tuple[bool, bool],
) -> Outlook:
    """Slots as the sweep will have them, and every shape measured."""
    from orchestrator.capacity.measuring import measure_costs, trials_side_by_side
    from orchestrator.capacity.plan import Outlook
    from orchestrator.capacity.slots import machine_to_measure

    local, address = where
    say, place = console(stderr=True), options.measuring(local=local, address=address)
    with _machines(local=local, address=address) as nodes:
        specs = checked.pending
        slots = options.choose_packing(nodes, specs, lambda: checked.index, flags, say, place)
        candidates = list(dict.fromkeys(spec.candidate for spec in checked.specs))
        node = machine_to_measure(nodes, slots.avoid)
        with say.status("measuring a few steps of each network"):
            count = trials_side_by_side(node, slots)
            measured = measure_costs(
                candidates, checked.index, slots, side_by_side=count, place=place(node)
            )
    extra_seconds += 0.0 if local else _RAY_START_SECONDS
    return Outlook(checked, slots, measured, extra_seconds, *kept)


@contextmanager
def _machines(*, local: bool, address: str | None) -> Iterator[list[Node]]:
    """The machines of the sweep; Ray is asked only about a cluster that is there."""
    from orchestrator.execution.local.executor import this_machine

    if local or address is None:
        yield [this_machine()]
        return
    from orchestrator.execution.ray.executor import connect, disconnect

    try:
        yield connect(address)
    finally:
        disconnect()


def _show(plan: Plan, *, race: bool) -> None:
    from rich.table import Table

    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="dim")
    table.add_column()
    for name, value in _lines(plan, race=race):
        table.add_row(name, value)
    console().print(table)


def _lines(plan: Plan, *, race: bool) -> Iterator[tuple[str, str]]:
    from orchestrator.report.progress import format_seconds

    times = f"{plan.repeats} x " if plan.repeats > 1 else ""
    work = f"{times}{plan.folds} folds for each of {len(plan.candidates)} candidates"
    finished = f", {plan.finished} of them finished already" if plan.finished else ""
    yield "trials", f"{plan.trials}: {work}{finished}"
    if plan.shared:
        yield "", f"{plan.shared} of them reuse the weights of another one"
    slots = plan.slots
    share = f"{slots.gpus:.2g} GPU and " if slots.gpus else ""
    yield "slots", f"{slots.count} trials at a time, each with {share}{slots.cpus} CPU"
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

    out = console()
    if plan.left_out:
        out.print(f"\nThe budget leaves out {len(plan.left_out)} candidates, the longest ones:")
        for label in plan.left_out:
            out.print(Text(f"  {label}"), soft_wrap=True)
    if space_file is not None:
        out.print(Text(f"\nnext  {_sweep_command(space_file)}"), soft_wrap=True)
    elif plan.left_out:
        out.print("\n--write-space FILE.yaml writes the rest as a space for sweep", style="dim")


def _sweep_command(space_file: Path) -> str:
    """This command line as a sweep of the space that was written."""
    words: list[str] = []
    given = iter(sys.argv[1:])
    gone = ("--budget", "--write-space", "--space", "--set", "--precision", "--folds")
    for word in given:
        name = word.partition("=")[0]
        if name in gone:
            if name == word:
                next(given, None)
            continue
        words.append(word)
    return shlex.join(["gitract-cv", "sweep", *words[1:], "--space", str(space_file)])


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
