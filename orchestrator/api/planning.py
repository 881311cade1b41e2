"""What a sweep will take: the plan of the same options, measured and not run."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from gitract_core.errors import SpaceError
from orchestrator.api.options import DEMO_CASES, DEMO_DATA, DEMO_SLICES, SweepOptions

if TYPE_CHECKING:
    from rich.console import Console

    from orchestrator.capacity.sweep_plan import Outlook, Plan
    from orchestrator.sweeps.preparation import PreparedSweep, SweepRequest

_RAY_START_SECONDS = 10.0  # import, an own session, its first workers and its end, on two cores
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

    with nodes_only(local=options.local, address=options.address) as nodes:
        slots = choose_trial_slots(options, nodes, sweep.pending, sweep.index, say)
        candidates = list(dict.fromkeys(spec.candidate for spec in sweep.specs))
        node = machine_to_measure(nodes, slots.avoid)
        with say.status("measuring a few steps of each network"):
            count = trials_side_by_side(node, slots)
            place = measuring_place(options)(node)
            measured = measure_costs(
                candidates, sweep.index, slots, side_by_side=count, place=place
            )
    extra_seconds += 0.0 if options.local else _RAY_START_SECONDS
    return Outlook(
        sweep,
        slots,
        measured,
        extra_seconds,
        keep_oof=options.oof == "keep",
        keep_state=options.keep_state,
    )
