"""What a sweep will take: the plan of the same options, measured and not run."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from gitract_core.errors import SpaceError, counted
from orchestrator.api.options import DEMO_CASES, DEMO_DATA, DEMO_SLICES, SweepOptions

if TYPE_CHECKING:
    from rich.console import Console

    from gitract_core.spec import Candidate
    from orchestrator.capacity.measuring import Measured
    from orchestrator.capacity.sweep_plan import Outlook, Plan
    from orchestrator.sweeps.preparation import PreparedSweep, SweepRequest

_RAY_START_SECONDS = 10.0  # import, an own session, its first workers and its end, on two cores
_LONG_SECONDS = 10.0  # of measuring: then there is a first answer, and a line so often
_REPORT_SECONDS = 3.0  # ranking, statistics, tables and page of the demo, on two cores


@dataclass(frozen=True)
class Budget:
    """What limits a plan.

    Attributes:
        text: time there is, for example ``6h`` or ``90m``; None: no limit.
        write_space: file for a search space of what is planned; None: none is written.
    """

    text: str | None = None
    write_space: Path | None = None


def plan_sweep(
    options: SweepOptions,
    budget: Budget = Budget(),
    *,
    say: Console,
    command: str = "",
) -> Plan:
    """Trials, slots, time, memory and disk of a sweep with these options.

    A few steps of each network are run on the data, as many at once as there will be trials.
    Nothing is written but ``budget.write_space``. Tracking and the limits of a race do not count.

    Args:
        options: of the sweep.
        budget: whole candidates are left out, those that train longest first, until it fits.
        say: takes lines about what is measured.
        command: for the record.

    Raises:
        GitractError: the space, the data set or the run directory is not as it should be.
    """
    from orchestrator.api.sweep_lines import unseen_lines
    from orchestrator.capacity.sweep_plan import make_plan
    from orchestrator.capacity.time_budget import parse_budget, write_space
    from orchestrator.storage.opening import storage_at

    loading = time.process_time()  # a sweep loads the same
    budget_seconds = None if budget.text is None else parse_budget(budget.text)
    with _data(options) as (path, extra_seconds):
        start = time.perf_counter()
        request = options.on(path).request(command)
        if options.out:
            request = replace(request, out=storage_at(options.out).pull(bulky=False))
        sweep = _checked(request, budget)
        for line in unseen_lines(sweep):
            say.print(line, soft_wrap=True)
        extra_seconds += loading + time.perf_counter() - start + _REPORT_SECONDS
        outlook = _outlook(sweep, options, extra_seconds, say)
        plan = make_plan(outlook, budget_seconds)
        if budget.write_space is not None:
            write_space(budget.write_space, request.space, outlook.named(plan.candidates))
    return plan


def _checked(request: SweepRequest, budget: Budget) -> PreparedSweep:
    """The sweep to plan; what will be proposed can be neither left out nor written down."""
    from orchestrator.steering.search import foreseen
    from orchestrator.sweeps.preparation import check

    asked = {"--budget": budget.text, "--write-space": budget.write_space}
    if request.search:
        for option, value in asked.items():
            if value:
                remedy = "lower the search's samples until the plan's time fits"
                expected = "a space whose candidates are known"
                raise SpaceError(option, expected, "a search", remedy)
    return foreseen(check(request))


@contextmanager
def _data(options: SweepOptions) -> Iterator[tuple[Path, float]]:
    """The data set, and the seconds that making it took: without one, a phantom for the while."""
    if options.data is not None or DEMO_DATA.is_dir():
        yield options.data or DEMO_DATA, 0.0
        return
    from tempfile import TemporaryDirectory

    from gitract_core.phantom import write_phantom

    with TemporaryDirectory(prefix="gitract-cv-plan-") as scratch:
        start = time.perf_counter()
        phantom = Path(scratch) / "phantom"
        write_phantom(phantom, cases=DEMO_CASES, slices_per_scan=DEMO_SLICES)
        yield phantom, time.perf_counter() - start


def _outlook(
    sweep: PreparedSweep, options: SweepOptions, extra_seconds: float, say: Console
) -> Outlook:
    """Slots as the sweep will have them, and every shape measured."""
    from orchestrator.api.machines import choose_trial_slots, measuring_place, nodes_only
    from orchestrator.capacity.measuring import measure_costs, trials_side_by_side
    from orchestrator.capacity.sweep_plan import Outlook
    from orchestrator.capacity.trial_slots import machine_to_measure

    extra_seconds += 0.0 if options.local else _RAY_START_SECONDS
    with nodes_only(local=options.local, address=options.address) as nodes:
        slots = choose_trial_slots(options, nodes, sweep.pending, sweep.index, say)
        candidates = list(dict.fromkeys(spec.candidate for spec in sweep.specs))
        node = machine_to_measure(nodes, slots.avoid)

        def outlook(measured: Measured) -> Outlook:
            keeps_oof, keeps_state = options.oof == "keep", options.keep_state
            return Outlook(sweep, slots, measured, extra_seconds, keeps_oof, keeps_state)

        count = trials_side_by_side(node, slots)
        place = measuring_place(options)(node)
        with _Watching(say, candidates, outlook) as watch:
            measured = measure_costs(
                candidates,
                sweep.index,
                slots,
                side_by_side=count,
                score=sweep.record.score,
                place=place,
                watch=watch,
            )
    return outlook(measured)


class _Watching:
    """Says how far measuring is, and gives a first answer where the rest takes long.

    Args:
        say: takes lines, and draws on one in a terminal.
        candidates: of the plan.
        outlook: what plans are made from, of what is measured.
    """

    def __init__(
        self,
        say: Console,
        candidates: Sequence[Candidate],
        outlook: Callable[[Measured], Outlook],
    ) -> None:
        from gitract_core.trial.cost import shape_of

        self.say, self.candidates, self.outlook = say, candidates, outlook
        self.shapes = len({shape_of(candidate) for candidate in candidates})
        self.status = say.status(f"measuring a few steps of {counted(self.shapes, 'network')}")
        self.start = self.spoke = 0.0

    def __enter__(self) -> _Watching:
        self.start = self.spoke = time.monotonic()
        self.status.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.status.stop()

    def __call__(self, so_far: Measured) -> None:
        """Take in what is measured so far."""
        done, now = len(so_far.steps), time.monotonic()
        left = (now - self.start - so_far.start_seconds) / done * (self.shapes - done)
        progress = f"{done} of {counted(self.shapes, 'network')} measured, about {left:.0f} s to go"
        self.status.update(progress)
        if done == 1 and left > _LONG_SECONDS:
            self._answer(so_far)
        if done < self.shapes and not self.say.is_terminal and now - self.spoke > _LONG_SECONDS:
            self.say.print(progress)
            self.spoke = now

    def _answer(self, so_far: Measured) -> None:
        from orchestrator.capacity.first_sight import at_first_sight
        from orchestrator.capacity.sweep_plan import make_plan
        from orchestrator.report.progress_table import format_seconds

        plan = make_plan(self.outlook(at_first_sight(so_far, self.candidates)))
        take = "takes" if plan.trials == 1 else "take"
        took = f"{counted(plan.trials, 'trial')} {take} about {format_seconds(plan.seconds)}"
        at_once = f"on {counted(plan.slots.count, 'slot')}"
        self.say.print(f"at first sight, from one network: {took} {at_once}", soft_wrap=True)
