"""The command that trains: sweep."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import typer

from orchestrator.cli import options
from orchestrator.cli.app import app, console, print_json, progress_bar, reach, take_run

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from gitract_core.spec import TrialSpec
    from orchestrator.capacity.slots import Slots
    from orchestrator.execution.executor import Executor
    from orchestrator.report.progress import SweepProgress
    from orchestrator.results.leaderboard import Leaderboard
    from orchestrator.results.verdict import Verdict
    from orchestrator.steering.race import Race
    from orchestrator.storage.run_storage import RunStorage
    from orchestrator.sweeps.preparation import PreparedSweep, SweepRequest
    from orchestrator.sweeps.run_directory import SweepDirectory
    from orchestrator.tracking import Trackers


@app.command(epilog="Example: gitract-cv sweep --data uw-madison --space paper --exclude faulty")
def sweep(
    context: typer.Context,
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
    tensorboard: options.TensorBoard = True,
    mlflow: options.Mlflow = None,
    as_json: options.Json = False,
) -> None:
    """Train every candidate of a space on every fold, and rank them.

    Run the same command again to resume: finished trials are kept, interrupted ones go on from
    where their state was last saved. More epochs, more candidates: what is there is reused.
    """
    from orchestrator.sweeps.run_lock import sole_sweep
    from orchestrator.tracking import check_trackers

    changes = (exclude or [], set_knob or [], precision)
    folder = (options.DEMO_DATA if data is None else data, data is None)
    request = options.sweep_request(folder, space, out, (folds, repeats), changes)
    storage = take_run(request.out)
    request = replace(request, out=storage.directory)
    context.with_resource(sole_sweep(request.out))
    check_trackers(mlflow)
    prepared = _prepared(request, is_demo=data is None)
    how = _How(
        (local, address),
        (trials_per_gpu, cpus_per_trial),
        (retries, oof == "keep", checkpoint_minutes, keep_state),
        storage,
        (tensorboard, mlflow),
        race_keep if race else None,
    )
    failed = _train(prepared, how, console(stderr=as_json))
    _end(prepared, failed, as_json=as_json)


@dataclass(frozen=True)
class _How:
    """How a sweep is to run.

    Attributes:
        where: ``--local`` and ``--address``.
        packing: ``--trials-per-gpu`` and ``--cpus-per-trial``.
        jobs: the last fields of ``Jobs``: attempts, what is kept and how often.
        storage: where the run lives.
        trackers: ``--tensorboard`` and ``--mlflow``.
        race_keep: how many a race shall find; None: no race.
    """

    where: tuple[bool, str | None]
    packing: tuple[str, int | None]
    jobs: tuple[int, bool, float, bool]
    storage: RunStorage
    trackers: tuple[bool, str | None]
    race_keep: int | None


def _prepared(request: SweepRequest, *, is_demo: bool) -> PreparedSweep:
    from orchestrator.sweeps.preparation import prepare

    if is_demo:
        _make_demo_data()
    bar, progress = progress_bar("cache")
    with bar:
        return prepare(request, progress)


def _train(prepared: PreparedSweep, how: _How, say: Console) -> int:
    """Run what is pending, under trackers; returns how many trials failed for good."""
    from orchestrator.steering.search import stand_ins
    from orchestrator.tracking import TrackedRun, begin_tracking

    _say_what_is_asked(prepared, say)
    (local, address), (tensorboard, mlflow) = how.where, how.trackers
    with ExitStack() as stack:
        run = TrackedRun(prepared.directory, prepared.specs)
        trackers = begin_tracking(stack, run, tensorboard=tensorboard, mlflow=mlflow)
        if not prepared.pending and not prepared.record.to_come:
            return 0
        say.print(_watch_line(prepared, tensorboard=tensorboard), soft_wrap=True)
        executor, nodes = reach(stack, local=local, address=address)
        trials = [*prepared.pending, *stand_ins(prepared.search, prepared.record)]
        place = options.measuring(local=local, address=address)
        slots = options.choose_packing(nodes, trials, prepared.index, how.packing, say, place)
        say.print(_slots_line(slots, local=local))
        return _run(executor, prepared, (slots, trackers), how)


def _end(prepared: PreparedSweep, failed: int, *, as_json: bool) -> None:
    """Show the outcome; exit with 1 if it is not whole."""
    written = _show_outcome(prepared, as_json=as_json)
    if failed:
        print(
            f"gitract-cv: {failed} trials failed for good; the reasons stand above and in "
            f"{prepared.directory.trials}/*/failure.json; the same command tries them again",
            file=sys.stderr,
        )
    if failed or not written:
        raise typer.Exit(1)


def _say_what_is_asked(prepared: PreparedSweep, say: Console) -> None:
    to_come = prepared.record.to_come
    n_candidates = len(prepared.specs) // prepared.record.total_folds + to_come
    say.print(
        f"Fitting {prepared.record.folds_in_words} for each of {n_candidates} candidates, "
        f"totalling {len(prepared.specs) + prepared.trials_to_come} trials"
    )
    if to_come:
        say.print(f"candidates yet to be proposed, by the scores of the others: {to_come}")
    done = len(prepared.specs) - len(prepared.pending)
    if done:
        say.print(f"{done} of them are finished already")


def _make_demo_data() -> None:
    from gitract_core.phantom import write_phantom

    bar, progress = progress_bar(f"phantom data set in {options.DEMO_DATA}")
    with bar:
        cases, slices = options.DEMO_CASES, options.DEMO_SLICES
        write_phantom(options.DEMO_DATA, cases=cases, slices_per_scan=slices, progress=progress)


def _slots_line(slots: Slots, *, local: bool) -> str:
    where = "this machine" if local else "Ray"
    share = f"{slots.gpus:.2g} GPU and " if slots.gpus else ""
    return f"{slots.count} trials at a time on {where}, each with {share}{slots.cpus} CPU"


def _watch_line(prepared: PreparedSweep, *, tensorboard: bool) -> str:
    run = prepared.directory.path
    board = f"; tensorboard --logdir {run / 'tensorboard'}" if tensorboard else ""
    return f"watch it from another terminal: gitract-cv status {run}{board}"


def _run(
    executor: Executor,
    prepared: PreparedSweep,
    begun: tuple[Slots, Trackers],
    how: _How,
) -> int:
    """Run what is pending under a live table; returns how many trials failed for good."""
    from orchestrator.execution.executor import Everything, Jobs, TrialEvent
    from orchestrator.report.progress import SweepProgress
    from orchestrator.steering.search import Searching

    failed: set[str] = set()
    (slots, trackers), storage = begun, how.storage
    shown = (prepared.directory, prepared.specs, prepared.trials_to_come)
    with SweepProgress(console(stderr=True), *shown) as progress:
        race = _race(prepared, how.race_keep, progress)
        pending = race.order(prepared.pending) if race else prepared.pending

        def on_propose(specs: Sequence[TrialSpec]) -> None:
            progress.add(specs)
            trackers.add(specs)
            storage.collect_file("sweep.json")  # to which the search has added

        course = Searching(prepared, race, on_propose) if prepared.search else race

        def on_event(event: TrialEvent) -> None:
            progress(event)
            trackers(event)
            if event.kind == "failed":
                failed.add(event.key)
            if event.kind in ("finished", "failed"):
                storage.collect(event.key)
            if course:
                course(event)
            if race and event.kind in ("finished", "failed"):
                storage.collect_file("racing.json")

        storage.push_rest()
        jobs = Jobs(pending, prepared.data, storage, slots, *how.jobs)
        try:
            executor.run(jobs, on_event, course or Everything())
        except KeyboardInterrupt:
            raise typer.Exit(_interrupted()) from None
    return len(failed)


def _race(prepared: PreparedSweep, keep: int | None, progress: SweepProgress) -> Race | None:
    """The race of a sweep; without one, what others dropped is to run."""
    from orchestrator.steering.race import Race
    from orchestrator.steering.race_rule import RacingRule, revive
    from orchestrator.steering.search import starters

    if keep is None:
        revive(prepared.directory, {spec.candidate for spec in prepared.pending})
        return None
    rule, first = RacingRule(keep), starters(prepared)
    race = Race(prepared.directory, first, rule, progress.labels, progress.drop)
    race.add([spec for spec in prepared.specs if spec not in first])
    return race


def _interrupted() -> int:
    """Say what to do next; the exit code of a command ended by Ctrl-C."""
    print(
        "gitract-cv: interrupted; what is finished is kept, the same command goes on from here",
        file=sys.stderr,
    )
    return 130


def _show_outcome(prepared: PreparedSweep, *, as_json: bool) -> bool:
    """The ranking, on stdout and in files; whether the files could be written."""
    from orchestrator.report import leaderboard_view, table_rows
    from orchestrator.results.leaderboard import build_leaderboard
    from orchestrator.results.verdict import judge

    board = build_leaderboard(prepared.directory)
    verdict = judge(board)
    report = prepared.directory.path / "report"
    written = _write_report(prepared.directory, board, verdict)
    if as_json:
        rows, statistics = table_rows(board, verdict), verdict and verdict.to_json()
        run = str(prepared.directory.path)
        print_json({"run": run, "leaderboard": rows, "statistics": statistics})
        return written
    out = console()
    out.print()
    out.print(leaderboard_view(board, verdict))
    out.print(f"\nrun directory  {prepared.directory.path}")
    out.print(f"page, tables   {report}")
    out.print("next           gitract-cv ensemble --top 3", style="dim")
    return written


def _write_report(run: SweepDirectory, board: Leaderboard, verdict: Verdict | None) -> bool:
    """Write page and tables; a disk without room for them does not hide how the sweep ended."""
    from orchestrator.report import write_csv, write_markdown
    from orchestrator.report.page import write_page

    report = run.path / "report"
    try:
        write_csv(board, report / "leaderboard.csv", verdict)
        write_markdown(board, report / "leaderboard.md", verdict)
        with console(stderr=True).status("writing the page"):
            write_page(run, board, verdict, report / "report.html")
    except OSError as error:
        print(
            f"gitract-cv: {report}: expected room to write the page and tables, "
            f"got {error.strerror}; free some space, then run the same command again",
            file=sys.stderr,
        )
        return False
    return True
