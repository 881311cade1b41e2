"""Where a sweep runs: worker processes of this machine, or Ray; and how many trials at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gitract_core.errors import GitractError

if TYPE_CHECKING:
    from rich.console import Console

    from gitract_core.data.slices import SliceIndex
    from gitract_core.spec import TrialSpec
    from orchestrator.api.options import SweepOptions
    from orchestrator.capacity.measuring import Place
    from orchestrator.capacity.trial_slots import Node, Slots
    from orchestrator.execution.executor import Executor


@dataclass(frozen=True)
class Machines:
    """What runs trials.

    Attributes:
        executor: runs them.
        nodes: what each machine has.
    """

    executor: Executor
    nodes: Sequence[Node]


@contextmanager
def machines(*, local: bool, address: str | None, say: Console) -> Iterator[Machines]:
    """Worker processes of this machine, or a Ray session that is left at the end.

    Args:
        local: without Ray.
        address: of a running cluster; None for a session of its own.
        say: where lines about the session are written.
    """
    if local:
        from orchestrator.execution.local.executor import LocalExecutor, this_machine

        yield Machines(LocalExecutor(), [this_machine()])
        return
    from orchestrator.execution.ray.executor import RayExecutor, connect, dashboard, disconnect

    try:
        with say.status("starting Ray"):
            nodes = connect(address)
        for line in dashboard_lines(dashboard()):
            say.print(line, soft_wrap=True)
        yield Machines(RayExecutor(), nodes)
    finally:
        disconnect()


@contextmanager
def nodes_only(*, local: bool, address: str | None) -> Iterator[Sequence[Node]]:
    """The machines of a sweep to be planned; Ray is started for a cluster that is there alone."""
    from orchestrator.execution.local.executor import this_machine

    if local or address is None:
        yield [this_machine()]
        return
    from orchestrator.execution.ray.executor import connect, disconnect

    try:
        yield connect(address)
    finally:
        disconnect()


def dashboard_lines(url: str) -> list[str]:
    """Where Ray's dashboard is, and a warning where others may reach it."""
    if not url:
        return []
    lines = [f"Ray's dashboard: {url}"]
    host = url.partition("//")[2].rpartition(":")[0]
    if not (host in ("localhost", "[::1]") or host.startswith("127.")):
        told = "it is not on loopback, and whoever reaches it can run code on the cluster"
        remedy = "start the head without --dashboard-host and use a tunnel (docs/clusters.md)"
        lines.append(f"warning: {told}; {remedy}")
    return lines


def measuring_place(options: SweepOptions) -> Callable[[Node], Place]:
    """Where a machine's costs are measured: on it in a cluster, else in this process."""
    from orchestrator.capacity.measuring import here

    if options.local or options.address is None:
        return lambda _: here
    from orchestrator.execution.ray.measuring import on_machine

    return on_machine


def choose_trial_slots(
    options: SweepOptions,
    nodes: Sequence[Node],
    specs: Sequence[TrialSpec],
    index: SliceIndex,
    say: Console,
) -> Slots:
    """How many trials run at once; ``trials_per_gpu="auto"`` is measured on the data.

    Args:
        options: of the sweep.
        nodes: its machines.
        specs: what is to run.
        index: the data set, for measuring.
        say: where lines about the choice are written.

    Raises:
        GitractError: ``trials_per_gpu`` is neither ``auto`` nor a number above 0.
    """
    from orchestrator.capacity.trial_slots import choose_slots, left_out, machine_to_measure

    per_gpu, cpus = str(options.trials_per_gpu), options.cpus_per_trial
    if per_gpu != "auto":
        if not per_gpu.isdecimal() or int(per_gpu) == 0:
            expected = "auto or a number above 0"
            raise GitractError("--trials-per-gpu", expected, repr(per_gpu), "leave it out")
        _say_all(say, left_out(nodes))
        return choose_slots(nodes, len(specs), trials_per_gpu=int(per_gpu), cpus_per_trial=cpus)
    trials, trial_bytes = None, 0
    if specs and any(node.gpus for node in nodes):
        from orchestrator.capacity.gpu_packing import measure_packing

        place = measuring_place(options)(machine_to_measure(nodes))
        with say.status("measuring how many trials a GPU does best with"):
            candidates = [spec.candidate for spec in specs]
            packing = measure_packing(candidates, index, nodes, n_trials=len(specs), place=place)
        _say_all(say, [packing.reason])
        trials, trial_bytes = packing.trials, packing.trial_bytes
    _say_all(say, left_out(nodes, trial_bytes))
    return choose_slots(
        nodes, len(specs), cpus_per_trial=cpus, measured_packing=trials, trial_bytes=trial_bytes
    )


def _say_all(say: Console, lines: Sequence[str]) -> None:
    for line in lines:
        say.print(line, soft_wrap=True)
