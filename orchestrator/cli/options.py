"""Options that sweep and plan share, and the request that they make together."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.console import Console

    from gitract_core.data.slices import SliceIndex
    from gitract_core.spec import TrialSpec
    from orchestrator.capacity.measuring import Place
    from orchestrator.capacity.slots import Node, Slots
    from orchestrator.sweeps.preparation import SweepRequest

DEMO_DATA = Path("data/phantom-demo")
DEMO_CASES, DEMO_SLICES = 11, 16  # two cases in every fold, so that there are intervals

Data = Annotated[
    Path | None,
    typer.Option(help="Contest folder with train.csv and train/; the phantom if left out."),
]
Space = Annotated[
    str | None,
    typer.Option(help="Name of a search space or a YAML file; demo without --data, or paper."),
]
Out = Annotated[Path | None, typer.Option(help="Run directory or s3://BUCKET/FOLDER; runs/SPACE.")]
Repeats = Annotated[
    int | None, typer.Option(help="Fold plans: the whole cross-validation so many times.")
]
Folds = Annotated[int | None, typer.Option(help="Number of folds; the space's.")]
Exclude = Annotated[
    list[str] | None,
    typer.Option(help="Scan to leave out (repeatable); 'faulty' for the known faulty scans."),
]
SetKnob = Annotated[
    list[str] | None,
    typer.Option("--set", help="KNOB=VALUE for every candidate, e.g. training.epochs=10."),
]
Precision = Annotated[str | None, typer.Option(help="auto, bf16 or fp32.")]
Address = Annotated[
    str | None, typer.Option(help="Ray cluster to use; an own session if left out.")
]
Local = Annotated[bool, typer.Option("--local", help="Worker processes without Ray.")]
TrialsPerGpu = Annotated[
    str, typer.Option(help="A number, or auto: measured where this machine has a GPU.")
]
CpusPerTrial = Annotated[int | None, typer.Option(min=1, help="Also its threads.")]
Workers = Annotated[
    int | None,
    typer.Option(min=1, help="Scans predicted at once; by default one a GPU, or by their number."),
]
PredictOn = Annotated[
    str | None, typer.Option("--address", help="Predict on this Ray cluster: auto or host:port.")
]
Oof = Annotated[
    Literal["keep", "none"],
    typer.Option(help="Out-of-fold probabilities; without, predicted anew when needed."),
]
CheckpointMinutes = Annotated[
    float,
    typer.Option(min=0, help="Save inside an epoch after so long; 0: after epochs alone."),
]
KeepState = Annotated[
    bool,
    typer.Option(
        "--keep-state/--no-keep-state",
        help="Keep the last state of trials, so that more epochs go on from it; some 3 x weights.",
    ),
]
Race = Annotated[
    bool, typer.Option("--race/--no-race", help="Drop hopeless candidates between folds.")
]
RaceKeep = Annotated[int, typer.Option(min=1, help="How many the race shall find.")]
Retries = Annotated[int, typer.Option(min=0, help="Further attempts of a failed trial.")]
TensorBoard = Annotated[
    bool, typer.Option("--tensorboard/--no-tensorboard", help="Event files in RUN/tensorboard.")
]
Mlflow = Annotated[
    str | None,
    typer.Option(help="Log to this MLflow too: http://host:port, sqlite:///file or a folder."),
]
Json = Annotated[bool, typer.Option("--json", help="Machine-readable output on stdout alone.")]


def sweep_request(
    data: tuple[Path, bool],
    space_name: str | None,
    out: Path | None,
    folds: tuple[int | None, int | None],
    changes: tuple[list[str], list[str], str | None],
) -> SweepRequest:
    """What the options ask for.

    Args:
        data: the contest folder, and whether it is the phantom that stands in for one.
        space_name: ``--space``.
        out: ``--out``.
        folds: ``--folds`` and ``--repeats``.
        changes: ``--exclude``, ``--set`` and ``--precision``.

    Raises:
        SpaceError: no such space, or a bad ``--set``.
    """
    import dataclasses

    from gitract_core.data.folds import ORGANIZERS_BLACKLIST
    from orchestrator.sweeps.preparation import SweepRequest
    from search_spaces import load_space

    exclude, settings, precision = changes
    path, is_demo = data
    space = load_space(default_space(space_name, is_demo=is_demo))
    n_folds, repeats = folds
    if n_folds is not None:
        space = dataclasses.replace(space, folds=n_folds)
    overrides = [_override(text) for text in settings]
    if precision is not None:
        overrides.append(("training.precision", precision))
    names = [s for s in exclude if s != "faulty"]
    if "faulty" in exclude:
        names += [s for s in ORGANIZERS_BLACKLIST if any((path / "train").glob(f"*/{s}"))]
    return SweepRequest(
        data=path,
        space=space,
        out=out or Path("runs") / space.name,
        exclude=tuple(dict.fromkeys(names)),
        overrides=tuple(overrides),
        command=shlex.join(["gitract-cv", *sys.argv[1:]]),
        repeats=repeats,
    )


def measuring(*, local: bool, address: str | None) -> Callable[[Node], Place]:
    """Where a machine's costs are measured: on it, in a cluster; in this process without one."""
    from orchestrator.capacity.measuring import here

    if local or address is None:
        return lambda _: here
    from orchestrator.execution.ray.measuring import on_machine

    return on_machine


def choose_packing(
    nodes: Sequence[Node],
    specs: Sequence[TrialSpec],
    index: Callable[[], SliceIndex],
    flags: tuple[str, int | None],
    say: Console,
    place: Callable[[Node], Place],
) -> Slots:
    """Slots by the flags ``--trials-per-gpu`` and ``--cpus-per-trial``; ``auto`` is measured.

    Args:
        nodes: the sweep's machines.
        specs: what is to run.
        index: reads the data set, if something is measured.
        flags: their values.
        say: where lines about the choice are written.
        place: see ``measuring``.

    Raises:
        GitractError: neither ``auto`` nor a number above 0.
    """
    from gitract_core.errors import GitractError
    from orchestrator.capacity.slots import choose_slots, left_out, machine_to_measure

    per_gpu, cpus = flags
    if per_gpu != "auto":
        if not per_gpu.isdecimal() or int(per_gpu) == 0:
            expected = "auto or a number above 0"
            raise GitractError("--trials-per-gpu", expected, repr(per_gpu), "leave it out")
        _say_all(say, left_out(nodes))
        return choose_slots(nodes, len(specs), trials_per_gpu=int(per_gpu), cpus_per_trial=cpus)
    found = None
    if specs and any(node.gpus for node in nodes):
        from orchestrator.capacity.gpu_packing import measure_packing

        with say.status("measuring how many trials a GPU does best with"):
            asked, there = [spec.candidate for spec in specs], place(machine_to_measure(nodes))
            found = measure_packing(asked, index(), nodes, n_trials=len(specs), place=there)
        _say_all(say, [found.reason])
    share, size = (found.trials, found.trial_bytes) if found else (None, 0)
    _say_all(say, left_out(nodes, size))
    return choose_slots(
        nodes, len(specs), cpus_per_trial=cpus, measured_packing=share, trial_bytes=size
    )


def _say_all(say: Console, lines: Sequence[str]) -> None:
    for line in lines:
        say.print(line, soft_wrap=True)


def default_space(name: str | None, *, is_demo: bool) -> str:
    """The space asked for; ``demo`` for the phantom and ``paper`` for other data if none is."""
    return name or ("demo" if is_demo else "paper")


def _override(text: str) -> tuple[str, Any]:
    from gitract_core.errors import SpaceError
    from search_spaces.loader import plain_value

    name, equals, value = text.partition("=")
    if not equals:
        raise SpaceError("--set", "KNOB=VALUE", repr(text), "write training.epochs=10, for example")
    return name.strip(), plain_value(value)
