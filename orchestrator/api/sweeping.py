"""The main job from Python: a search space on a data set, every candidate on every fold."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gitract_core.errors import RunError
from gitract_core.results.trial_result import TrialResult
from orchestrator.api.options import DEMO_CASES, DEMO_DATA, DEMO_SLICES, SweepOptions
from orchestrator.api.progress_bar import progress_bar
from orchestrator.api.sweep_lines import asked_lines, slots_line, watch_line
from orchestrator.report.progress_table import SweepProgress
from orchestrator.results.scored_trials import ScoredTrials
from orchestrator.sweeps.events import Listener, SweepEvent

if TYPE_CHECKING:
    from rich.console import Console

    from gitract_core.spec import TrialSpec
    from orchestrator.api.run import Run
    from orchestrator.execution.executor import Course, TrialEvent
    from orchestrator.steering.race import Race
    from orchestrator.storage.run_storage import RunStorage
    from orchestrator.sweeps.preparation import PreparedSweep
    from orchestrator.tracking.start import Trackers


@dataclass(frozen=True)
class SweepOutcome:
    """How a sweep ended.

    Attributes:
        run: what it left.
        failed: keys of the trials that failed for good.
        unwritten: why the report's files could not be written; None if they were.
        lacks_event_files: whether the run's disk refused files of TensorBoard.
    """

    run: Run
    failed: tuple[str, ...]
    unwritten: OSError | None = None
    lacks_event_files: bool = False


@dataclass
class Failures:
    """Listens for trials that fail for good."""

    trials: list[str] = field(default_factory=list)
    trackers: Trackers | None = None

    def __call__(self, event: SweepEvent) -> None:
        """Take in one event."""
        if event.kind == "failed":
            self.trials.append(event.trial)


@dataclass(frozen=True)
class StoreKeeper:
    """Listens for files that must be made safe where the run lives."""

    storage: RunStorage

    def __call__(self, event: SweepEvent) -> None:
        """Take in one event; raises nothing."""
        if event.kind == "failed":
            self.storage.collect(event.trial)
        elif event.kind == "proposed":
            self.storage.collect_file("sweep.json")

    def after_race(self, event: SweepEvent) -> None:
        """Take in an event that a race has seen, and may have decided after."""
        if event.kind in ("finished", "failed"):
            self.storage.collect_file("racing.json")


def sweep(
    data: str | Path | None = None,
    space: str | Path | Mapping[str, Any] | None = None,
    out: str | Path | None = None,
    *,
    exclude: Sequence[str] = (),
    race: bool = False,
    on_event: Listener | None = None,
    progress: bool = True,
    **options: Any,
) -> Run:
    """Train every candidate of a space on every fold, and rank them. Blocks until it is done.

    The same call again resumes: finished trials are kept, interrupted ones go on from their last
    saved state.

    >>> run = sweep("uw-madison", space="paper", exclude=["faulty"], race=True)  # doctest: +SKIP

    Args:
        data: the contest folder; None for the demo's phantom, which is written first.
        space: name of a search space, a YAML file, or what such a file holds as a dictionary;
            by default ``paper``, and ``demo`` without ``data``.
        out: run directory or ``s3://BUCKET/FOLDER``; ``runs/SPACE`` if left out.
        exclude: scans to leave out; ``faulty`` for the contest's known faulty scans.
        race: drop candidates between folds that have no chance of being among the best.
        on_event: called with every ``SweepEvent``, in this process.
        progress: show a live table, in a terminal or a notebook.
        **options: further fields of ``SweepOptions``, such as ``local=True`` or ``folds=3``.

    Returns:
        The run, whole or with failed trials; ``Run.failures`` says why they failed.

    Raises:
        GitractError: the space, the data set or the run directory is not as it should be.
        TypeError: an option that does not exist.
    """
    asked = SweepOptions(
        data=None if data is None else Path(data),
        space=space,
        out=None if out is None else Path(out),
        exclude=tuple([exclude] if isinstance(exclude, str) else exclude),
        race=race,
        **options,
    )
    listeners = [on_event] if on_event else []
    outcome = run_sweep(asked, say=_console(quiet=not progress), listeners=listeners)
    if outcome.unwritten:
        text = f"no report was written: {outcome.unwritten}; free some space"
        warnings.warn(text, stacklevel=2)
    return outcome.run


def run_sweep(
    options: SweepOptions,
    *,
    say: Console,
    shown: Console | None = None,
    listeners: Sequence[Listener] = (),
    command: str = "orchestrator.sweep(...)",
) -> SweepOutcome:
    """Prepare a sweep and train what is pending; what ``sweep`` and the command have in common.

    Args:
        options: what is asked for.
        say: takes lines about the sweep.
        shown: where progress is drawn; ``say`` if left out.
        listeners: told every event, after progress.
        command: how the sweep was asked for, for the run's record.

    Raises:
        GitractError: as ``sweep``.
        Terminated: after SIGTERM; the same call goes on.
    """
    from orchestrator.api.registering import register_sweep
    from orchestrator.api.run import Run
    from orchestrator.api.scoring import score_before
    from orchestrator.execution.termination import termination
    from orchestrator.storage.opening import storage_at
    from orchestrator.sweeps.preparation import prepare
    from orchestrator.sweeps.run_lock import sole_sweep
    from orchestrator.tracking import check_trackers

    shown = shown or say
    request = options.request(command)
    storage = storage_at(request.out)
    with ExitStack() as stack:
        stack.enter_context(termination())
        stack.enter_context(storage.held(lambda name: shown.print(f"stored in {name}")))
        request = replace(request, out=storage.directory)
        stack.enter_context(sole_sweep(request.out))
        check_trackers(options.mlflow)
        if options.is_demo:
            make_demo_data(shown)
        with progress_bar(shown, "cache") as progress:
            prepared = prepare(request, progress)
        if options.register:
            register_sweep(prepared, options.margin)
        for line in asked_lines(prepared):
            say.print(line, soft_wrap=True)
        score_before(prepared, say=say, shown=shown)
        failed = _train(prepared, storage, options, _Consoles(say, shown), listeners)
        run = Run(prepared.directory, storage, options.margin)
        lacking = failed.trackers is not None and failed.trackers.lacks_files()
        return SweepOutcome(run, tuple(failed.trials), _report_fault(run, shown), lacking)


def _report_fault(run: Run, shown: Console) -> OSError | None:
    """Write page and tables; a disk without room for them does not hide how the sweep ended."""
    try:
        with shown.status("writing the page"):
            run.write_report()
    except OSError as error:
        return error
    return None


@dataclass(frozen=True)
class _Consoles:
    say: Console
    shown: Console


def _train(
    prepared: PreparedSweep,
    storage: RunStorage,
    options: SweepOptions,
    consoles: _Consoles,
    listeners: Sequence[Listener],
) -> Failures:
    """Train what is pending, under trackers; what failed for good."""
    from orchestrator.api.machines import choose_trial_slots, machines
    from orchestrator.execution.executor import Jobs
    from orchestrator.steering.search import stand_ins
    from orchestrator.tracking import TrackedRun, begin_tracking

    say, failures = consoles.say, Failures()
    with ExitStack() as stack:
        tracked = TrackedRun(prepared.directory, prepared.specs)
        trackers = begin_tracking(
            stack, tracked, tensorboard=options.tensorboard, mlflow=options.mlflow
        )
        failures.trackers = trackers
        if not prepared.pending and not prepared.record.to_come:
            return failures
        say.print(watch_line(storage.name, prepared, options), soft_wrap=True)
        where = machines(local=options.local, address=options.address, say=consoles.shown)
        found = stack.enter_context(where)
        trials = [*prepared.pending, *stand_ins(prepared.search, prepared.record)]
        slots = choose_trial_slots(options, found.nodes, trials, prepared.index, say)
        say.print(slots_line(slots, options))
        progress = SweepProgress(
            consoles.shown,
            prepared.directory,
            prepared.specs,
            prepared.trials_to_come,
            at_once=slots.count,
        )
        stack.enter_context(progress)
        keeper = StoreKeeper(storage)
        told: list[Listener] = [progress, trackers, failures, keeper, *listeners]
        steering = _steering(prepared, options, told)
        if steering.race:
            told.append(keeper.after_race)
        jobs = Jobs(
            specs=steering.pending,
            data=prepared.data,
            storage=storage,
            slots=slots,
            retries=options.retries,
            keep_oof=options.oof == "keep",
            checkpoint_minutes=options.checkpoint_minutes,
            keep_state=options.keep_state,
            grace_seconds=options.grace_seconds,
        )
        storage.push_rest()
        found.executor.run(
            jobs, lambda event: tell(told, _with_scores(event, prepared, storage)), steering.course
        )
    return failures


@dataclass(frozen=True)
class _Steering:
    """What decides which trials run.

    Attributes:
        course: asked by the executor.
        race: drops candidates, or None.
        pending: trials in the order in which they should start.
    """

    course: Course
    race: Race | None
    pending: Sequence[TrialSpec]


def _with_scores(event: TrialEvent, prepared: PreparedSweep, storage: RunStorage) -> SweepEvent:
    """An executor's event for those who listen; of a finished trial with its scores."""
    told = event.for_listeners()
    if told.kind != "finished":
        return told
    storage.collect(told.trial)
    scored = ScoredTrials(prepared.directory, prepared.record.measure)
    file = prepared.directory.trials / told.trial / "result.json"
    try:
        result = scored.under(TrialResult.load(file))
    except RunError:
        return told  # a damaged result is the report's to complain about
    names = ("score", *(mean.key for mean in scored.score.means))
    scores = {name: result.scores[name] for name in names}
    return replace(told, metrics={n: float(v) for n, v in scores.items() if v is not None})


def tell(listeners: Sequence[Listener], event: SweepEvent) -> None:
    """Tell all listeners an event, one after another."""
    for listener in listeners:
        listener(event)


def _steering(prepared: PreparedSweep, options: SweepOptions, told: list[Listener]) -> _Steering:
    """The race and the search of a sweep; they are added to those that listen, at the end.

    Without a race, candidates that an earlier one dropped are to run.
    """
    from orchestrator.execution.executor import Everything
    from orchestrator.results.epoch_choice import refuse_unlike
    from orchestrator.steering.race import Race
    from orchestrator.steering.race_rule import RacingRule, revive
    from orchestrator.steering.search import Searching, starters
    from orchestrator.sweeps.labels import candidate_labels

    def tell_all(event: SweepEvent) -> None:
        tell(told, event)

    race, pending = None, prepared.pending
    asked = tuple(dict.fromkeys(spec.candidate for spec in prepared.specs))
    if options.race:
        refuse_unlike(asked, "--race")
        first = starters(prepared)
        labels = candidate_labels(tuple(dict.fromkeys(s.candidate for s in prepared.specs)))
        rule = RacingRule(options.race_keep, levels=options.race_levels)
        race = Race(prepared.directory, first, rule, labels, tell_all)
        at_start = {spec.key for spec in first}
        race.add([spec for spec in prepared.specs if spec.key not in at_start])
        pending = race.order(pending)
    else:
        revive(prepared.directory, {spec.candidate for spec in pending})
    if prepared.search:
        search = Searching(prepared, race, tell_all)
        told.append(search)
        return _Steering(search, race, pending)
    if race:
        told.append(race)
    return _Steering(race or Everything(), race, pending)


def make_demo_data(shown: Console) -> None:
    """Write the demo's phantom data set, or what is missing of it."""
    from gitract_core.phantom import write_phantom

    with progress_bar(shown, f"phantom data set in {DEMO_DATA}") as progress:
        write_phantom(DEMO_DATA, cases=DEMO_CASES, slices_per_scan=DEMO_SLICES, progress=progress)


def _console(*, quiet: bool = False) -> Console:
    from rich.console import Console

    return Console(stderr=True, quiet=quiet, highlight=False, markup=False, emoji=False)
