"""Commands that train and predict: sweep, ensemble, predict."""

from __future__ import annotations

import shlex
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchestrator.cli.app import app, console, print_json, progress_bar

if TYPE_CHECKING:
    from gitract_core.members import Members
    from gitract_core.submission import Fault
    from orchestrator.ensemble import Ensemble
    from orchestrator.executor import Executor, Jobs
    from orchestrator.slots import Slots
    from orchestrator.sweep import PreparedSweep, SweepRequest

DEMO_DATA = Path("data/phantom-demo")
Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
Json = Annotated[bool, typer.Option("--json", help="Machine-readable output on stdout alone.")]


@app.command(epilog="Example: gitract-cv sweep --data uw-madison --space paper --out runs/paper")
def sweep(
    data: Annotated[
        Path | None,
        typer.Option(help="Contest folder with train.csv and train/; the phantom if left out."),
    ] = None,
    space: Annotated[
        str | None,
        typer.Option(help="Name of a search space or a YAML file; demo without --data, or paper."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Run directory; runs/SPACE if left out.")] = None,
    folds: Annotated[int | None, typer.Option(help="Number of folds; the space's.")] = None,
    exclude: Annotated[
        list[str] | None,
        typer.Option(help="Scan to leave out (repeatable); 'faulty' for the known faulty scans."),
    ] = None,
    set_knob: Annotated[
        list[str] | None,
        typer.Option("--set", help="KNOB=VALUE for every candidate, e.g. training.epochs=10."),
    ] = None,
    precision: Annotated[str | None, typer.Option(help="auto, bf16 or fp32.")] = None,
    address: Annotated[
        str | None, typer.Option(help="Ray cluster to use; an own session if left out.")
    ] = None,
    local: Annotated[bool, typer.Option("--local", help="Worker processes without Ray.")] = False,
    trials_per_gpu: Annotated[int | None, typer.Option(min=1, help="By default by memory.")] = None,
    cpus_per_trial: Annotated[int | None, typer.Option(min=1, help="Also its threads.")] = None,
    retries: Annotated[int, typer.Option(min=0, help="Further attempts of a failed trial.")] = 1,
    as_json: Json = False,
) -> None:
    """Train every candidate of a space on every fold, and rank them.

    Run the same command again to resume: finished trials are kept, interrupted ones go on from
    their last epoch.
    """
    from orchestrator.sweep import prepare

    request = _request(data, space, out, folds, (exclude or [], set_knob or [], precision))
    bar, progress = progress_bar("cache")
    with bar:
        prepared = prepare(request, progress)
    say = console(stderr=as_json)
    n_candidates, n_folds = len(prepared.specs) // prepared.record.n_folds, prepared.record.n_folds
    say.print(
        f"Fitting {n_folds} folds for each of {n_candidates} candidates, "
        f"totalling {len(prepared.specs)} trials"
    )
    done = len(prepared.specs) - len(prepared.pending)
    if done:
        say.print(f"{done} of them are finished already")
    failed = 0
    if prepared.pending:
        with ExitStack() as stack:
            executor, slots = _executor(
                stack, (local, address), len(prepared.pending), (trials_per_gpu, cpus_per_trial)
            )
            say.print(_slots_line(slots, local=local))
            failed = _run(executor, prepared, slots, retries)
    _show_outcome(prepared, as_json=as_json)
    if failed:
        print(
            f"gitract-cv: {failed} trials failed for good; the reasons stand above and in "
            f"{prepared.directory.trials}/*/failure.json; the same command tries them again",
            file=sys.stderr,
        )
        raise typer.Exit(1)


def _request(
    data: Path | None,
    space_name: str | None,
    out: Path | None,
    folds: int | None,
    changes: tuple[list[str], list[str], str | None],
) -> SweepRequest:
    import dataclasses

    from gitract_core.folds import ORGANIZERS_BLACKLIST
    from orchestrator.sweep import SweepRequest
    from search_spaces import load_space

    exclude, settings, precision = changes
    space = load_space(space_name or ("demo" if data is None else "paper"))
    if folds is not None:
        space = dataclasses.replace(space, folds=folds)
    overrides = [_override(text) for text in settings]
    if precision is not None:
        overrides.append(("training.precision", precision))
    if data is None:
        _make_demo_data()
    path = DEMO_DATA if data is None else data
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
    )


def _override(text: str) -> tuple[str, Any]:
    import yaml

    from gitract_core.errors import SpaceError

    name, equals, value = text.partition("=")
    if not equals:
        raise SpaceError("--set", "KNOB=VALUE", repr(text), "write training.epochs=10, for example")
    try:
        return name.strip(), yaml.safe_load(value)
    except yaml.YAMLError:
        raise SpaceError("--set", "KNOB=VALUE", repr(text), "write a plain value") from None


def _make_demo_data() -> None:
    from gitract_core.phantom import write_phantom

    bar, progress = progress_bar(f"phantom data set in {DEMO_DATA}")
    with bar:
        write_phantom(DEMO_DATA, cases=10, slices_per_scan=16, progress=progress)


def _executor(
    stack: ExitStack,
    where: tuple[bool, str | None],
    n_trials: int,
    flags: tuple[int | None, int | None],
) -> tuple[Executor, Slots]:
    """The executor asked for, and how trials share what it has."""
    from orchestrator.slots import choose_slots

    local, address = where
    if local:
        from orchestrator.local_executor import LocalExecutor, this_machine

        nodes: list[Any] = [this_machine()]
        executor: Executor = LocalExecutor()
    else:
        from orchestrator.ray_executor import RayExecutor, connect, disconnect

        stack.callback(disconnect)
        with console(stderr=True).status("starting Ray"):
            nodes = connect(address)
        executor = RayExecutor()
    per_gpu, cpus = flags
    return executor, choose_slots(nodes, n_trials, trials_per_gpu=per_gpu, cpus_per_trial=cpus)


def _slots_line(slots: Slots, *, local: bool) -> str:
    where = "this machine" if local else "Ray"
    share = f"{slots.gpus:.2g} GPU and " if slots.gpus else ""
    return f"{slots.count} trials at a time on {where}, each with {share}{slots.cpus} CPU"


def _run(executor: Executor, prepared: PreparedSweep, slots: Slots, retries: int) -> int:
    """Run what is pending under a live table; returns how many trials failed for good."""
    from orchestrator.executor import Jobs, TrialEvent
    from orchestrator.progress import SweepProgress

    failed: set[str] = set()
    trials = prepared.directory.trials.resolve()  # workers have other working directories
    jobs: Jobs = Jobs(prepared.pending, prepared.data, trials, slots, retries=retries)
    with SweepProgress(console(stderr=True), prepared.directory, prepared.specs) as progress:

        def on_event(event: TrialEvent) -> None:
            progress(event)
            if event.kind == "failed":
                failed.add(event.key)

        try:
            executor.run(jobs, on_event)
        except KeyboardInterrupt:
            raise typer.Exit(_interrupted()) from None
    return len(failed)


def _interrupted() -> int:
    """Say what to do next; the exit code of a command ended by Ctrl-C."""
    print(
        "gitract-cv: interrupted; what is finished is kept, the same command goes on from here",
        file=sys.stderr,
    )
    return 130


def _show_outcome(prepared: PreparedSweep, *, as_json: bool) -> None:
    from orchestrator.leaderboard import build_leaderboard
    from orchestrator.report import leaderboard_view, write_csv, write_markdown

    board = build_leaderboard(prepared.directory)
    report = prepared.directory.path / "report"
    write_csv(board, report / "leaderboard.csv")
    write_markdown(board, report / "leaderboard.md")
    if as_json:
        print_json({"run": str(prepared.directory.path), "leaderboard": board.to_rows()})
        return
    out = console()
    out.print()
    out.print(leaderboard_view(board))
    out.print(f"\nrun directory  {prepared.directory.path}\ntables         {report}")
    out.print("next           gitract-cv ensemble --top 3", style="dim")


@app.command(epilog="Example: gitract-cv ensemble runs/paper --top 3 --images uw-madison/test")
def ensemble(
    run: Annotated[
        Path | None, typer.Argument(help="Run directory; the newest under runs/ if left out.")
    ] = None,
    top: Annotated[int, typer.Option(min=1, help="How many candidates to average.")] = 3,
    images: Annotated[
        Path | None, typer.Option(help="Scans to predict; DATA/test if left out.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Submission; RUN/ensembles/NAME/submission.csv.")
    ] = None,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Average the best candidates, measure the average out of fold, and write a submission."""
    from gitract_core.device import Runtime
    from gitract_core.errors import RunError
    from gitract_core.slices import SliceIndex
    from orchestrator.ensemble import make_ensemble
    from orchestrator.leaderboard import build_leaderboard
    from orchestrator.sweep_directory import SweepDirectory

    directory = SweepDirectory.existing(run)
    board = build_leaderboard(directory)
    board.top(top)
    folder = images or board.record.data_directory / "test"
    if images is None and not folder.is_dir():
        raise RunError(folder, "scans to predict", "nothing there", "pass --images DIR")
    index = SliceIndex.from_directory(folder)
    bar, progress = progress_bar("out-of-fold score")
    with bar:
        made = make_ensemble(directory, board, top, progress)
    submission = out or made.directory / "submission.csv"
    faults = _predict((made.members, made.directory), index, submission, Runtime(device, _cores()))
    if as_json:
        _print_ensemble_json(made, submission, faults)
    else:
        _print_ensemble(made, submission, index, faults)
    if faults:
        raise typer.Exit(1)


@app.command(epilog="Example: gitract-cv predict runs/paper/ensembles/top3-equal --images scans")
def predict(
    members: Annotated[
        Path, typer.Argument(help="members.json, its directory, or one trial's directory.")
    ],
    images: Annotated[Path, typer.Option(help="Folder of scans.")],
    out: Annotated[Path, typer.Option(help="Submission to write.")] = Path("submission.csv"),
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Segment new scans with an ensemble or a single trial; needs no Ray."""
    from gitract_core.device import Runtime
    from gitract_core.members import Members
    from gitract_core.slices import SliceIndex

    manifest = Members.load(members)
    directory = members if members.is_dir() else members.parent
    index = SliceIndex.from_directory(images)
    faults = _predict((manifest, directory), index, out, Runtime(device, _cores()))
    if as_json:
        print_json({"submission": str(out), "faults": [str(f) for f in faults]})
    else:
        _print_submission(out, index, faults)
    if faults:
        raise typer.Exit(1)


def _predict(manifest: tuple[Members, Path], index: Any, out: Path, runtime: Any) -> list[Fault]:
    from orchestrator.ensemble import write_predictions

    bar, progress = progress_bar("prediction")
    with bar:
        return write_predictions(*manifest, index, out, runtime, progress)


def _print_ensemble(made: Ensemble, submission: Path, index: Any, faults: list[Fault]) -> None:
    out = console()
    best = made.chosen[0]
    models = len(made.members.members)
    out.print(f"{len(made.chosen)} candidates, {models} models, equal weights:")
    for line in made.chosen:
        out.print(f"  {line.mean():.4f} ± {line.sd():.4f}  {line.label}", markup=False)
    score = made.score
    out.print(f"out-of-fold score of the ensemble: [bold]{score.mean:.4f}[/] ± {score.sd:.4f}")
    out.print(
        f"  ({score.mean - best.mean():+.4f} against the best single candidate; "
        f"pooled over all scans {score.pooled.score:.4f})"
    )
    out.print(f"members     {made.directory / 'members.json'}")
    out.print(f"OOF score   {made.directory / 'oof_score.json'}")
    _print_submission(submission, index, faults)


def _print_submission(path: Path, index: Any, faults: list[Fault]) -> None:
    out = console()
    if not faults:
        n = len(index.table)
        out.print(f"submission  {path} ({n} slices, {3 * n} rows, checked: in order)")
        return
    out.print(f"submission  {path} has {len(faults)} faults:", style="bold red")
    for fault in faults[:20]:
        out.print(f"  {fault}", markup=False)


def _print_ensemble_json(made: Ensemble, submission: Path, faults: list[Fault]) -> None:
    print_json(
        {
            "members": str(made.directory / "members.json"),
            "submission": str(submission),
            "score": made.score.mean,
            "score_sd": made.score.sd,
            "pooled": made.score.pooled.to_json(),
            "candidates": [{"candidate": c.label, "score": c.mean()} for c in made.chosen],
            "faults": [str(fault) for fault in faults],
        }
    )


def _cores() -> int:
    import os

    return len(os.sched_getaffinity(0))
