"""Options that sweep and plan share, and the request that they make together."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import shlex
import sys
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import typer

from orchestrator.api.options import SweepOptions, knobs_of_texts

Data = Annotated[
    Path | None,
    typer.Option(help="Folder of a data set, see docs/data.md; the phantom if left out."),
]
Patients = Annotated[
    str | None,
    typer.Option(
        help="Which patient a scan is of: one-a-file, a pattern whose first group is the patient, "
        "or a table scan,patient. The contest's names say it.",
    ),
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
RaceLevels = Annotated[
    list[str] | None,
    typer.Option(
        help="Keep one candidate of each level of this knob in the race (repeatable); 'all' for "
        "every knob that varies."
    ),
]
Retries = Annotated[int, typer.Option(min=0, help="Further attempts of a failed trial.")]
Grace = Annotated[
    str, typer.Option(help="After SIGTERM, time for running trials to save their state; 0: none.")
]
TensorBoard = Annotated[
    bool, typer.Option("--tensorboard/--no-tensorboard", help="Event files in RUN/tensorboard.")
]
Mlflow = Annotated[
    str | None,
    typer.Option(help="Log to this MLflow too: http://host:port, sqlite:///file or a folder."),
]
Register = Annotated[
    bool,
    typer.Option(
        "--register", help="Write down score, margin, candidates and exclusions before training."
    ),
]
Margin = Annotated[
    float | None,
    typer.Option(
        help='Of score, for "no worse than the best by more than"; what is registered, or .005.'
    ),
]
Score = Annotated[
    str | None,
    typer.Option(
        help="Rank by contest, or a sum such as '0.4*dice + 0.6*hd95_mm' (also surface_dice@2mm, "
        "dice[stomach=2]); the run's, or contest."
    ),
]
Plugins = Annotated[
    list[Path] | None,
    typer.Option(
        "--plugin",
        metavar="FILE.py",
        help="Execute this file of your own, which adds networks or losses (repeatable); see "
        "docs/plugins.md.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Machine-readable output on stdout alone.")]


_ANNOTATIONS: dict[str, Any] = {
    "data": Data,
    "patients": Patients,
    "space": Space,
    "out": Out,
    "folds": Folds,
    "repeats": Repeats,
    "exclude": Exclude,
    "knobs": SetKnob,
    "precision": Precision,
    "address": Address,
    "local": Local,
    "trials_per_gpu": TrialsPerGpu,
    "cpus_per_trial": CpusPerTrial,
    "oof": Oof,
    "checkpoint_minutes": CheckpointMinutes,
    "keep_state": KeepState,
    "race": Race,
    "race_keep": RaceKeep,
    "race_levels": RaceLevels,
    "retries": Retries,
    "grace": Grace,
    "tensorboard": TensorBoard,
    "mlflow": Mlflow,
    "register": Register,
    "margin": Margin,
    "score": Score,
    "plugins": Plugins,
}
"""How the command line declares each field of ``SweepOptions``."""


_MANY = ("exclude", "knobs", "race_levels", "plugins")  # repeatable
OF_A_RUN_ALONE = frozenset(
    [
        "checkpoint_minutes",
        "race_keep",
        "race_levels",
        "retries",
        "grace",
        "tensorboard",
        "mlflow",
        "register",
        "margin",
    ]
)
"""Fields of ``SweepOptions`` that change nothing of what a sweep will take."""


def sweep_options(
    command: Callable[..., None], hidden: Collection[str] = ()
) -> Callable[..., None]:
    """A command whose first parameter takes ``SweepOptions``, with one option a field.

    Its other parameters follow as they are declared.

    Args:
        command: to be called with the options.
        hidden: fields whose options are taken, but not shown: they are of no use to this command,
            which may be given the arguments of another.
    """
    _, *own = inspect.signature(command, eval_str=True).parameters.values()
    fields = dataclasses.fields(SweepOptions)
    shared = [
        inspect.Parameter(
            field.name,
            inspect.Parameter.POSITIONAL_OR_KEYWORD,
            default=None if field.name in _MANY else field.default,
            annotation=_ANNOTATIONS[field.name]
            if field.name not in hidden
            else _hidden(_ANNOTATIONS[field.name]),
        )
        for field in fields
    ]

    def with_options(**given: Any) -> None:
        values = {field.name: given.pop(field.name) for field in fields}
        for name in ("exclude", "race_levels", "plugins"):
            values[name] = tuple(values[name] or ())
        values["knobs"] = knobs_of_texts(values["knobs"] or [])
        command(SweepOptions(**values), **given)

    with_options.__name__, with_options.__doc__ = command.__name__, command.__doc__
    parameters = [*shared, *own]
    with_options.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    with_options.__annotations__ = {p.name: p.annotation for p in parameters}
    return with_options


def use_plugins(files: Collection[Path] | None) -> None:
    """Execute the plugins that a command was given.

    Raises:
        GitractError: a file that is no plugin.
    """
    if files:
        from gitract_core.plugins import load_plugins

        load_plugins(tuple(files))


def _hidden(declared: Any) -> Any:
    """The same option, which ``--help`` does not show."""
    kind, option = get_args(declared)
    option = copy.copy(option)
    option.hidden = True
    return Annotated[kind, option]


def command_line() -> str:
    """The command as it was typed, for a run's record."""
    return shlex.join(["gitract-cv", *sys.argv[1:]])
