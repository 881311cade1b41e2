"""Slots: how many trials run at once on a node, and the processors and GPUs of each."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from gitract_core.errors import GitractError, counted

_MEMORY_PER_TRIAL_BYTES = 8 * 2**30  # paper widths, batch 16, 128x128, and the cache's share
_MOST_TRIALS_PER_GPU = 8
MEMORY_SHARE = 0.9  # of a GPU that trials may fill; the rest is for what allocators lose


@dataclass(frozen=True, slots=True)
class Node:
    """What one machine has.

    Attributes:
        cpus: processors.
        gpus: number of GPUs.
        gpu_memory_bytes: of its smallest GPU; 0 if not known.
        name: by which a cluster knows it; empty for a machine alone.
    """

    cpus: int
    gpus: int = 0
    gpu_memory_bytes: int = 0
    name: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Slots:
    """How trials share machines.

    Attributes:
        count: trials at once over all nodes.
        cpus: processors a trial holds; also its threads.
        gpus: share of a GPU a trial holds, 0 without one.
        device: ``cpu`` or ``cuda``.
        avoid: names of machines that take no trials.
        whole: so many of the first trials get a GPU each, that no GPU is left idle where there are
            fewer trials than fill all of them; Ray would fill one GPU of a machine after the other.
    """

    count: int
    cpus: int = 1
    gpus: float = 0.0
    device: str = "cpu"
    avoid: tuple[str, ...] = field(default=(), repr=False)
    whole: int = field(default=0, repr=False)

    def __post_init__(self) -> None:
        if self.count < 1 or self.cpus < 1 or not 0 <= self.gpus <= 1:
            expected = "one trial or more at once, on one processor or more each"
            raise GitractError("slots", expected, self, "lower --cpus-per-trial")

    @property
    def per_gpu(self) -> int:
        """Trials that share a GPU; 0 without one.

        >>> Slots(8, gpus=0.3333).per_gpu, Slots(8, gpus=1.0).per_gpu, Slots(8).per_gpu
        (3, 1, 0)
        """
        return int(1 / self.gpus) if self.gpus else 0

    @property
    def shared(self) -> bool:
        """Whether a trial may have neighbors on its GPU."""
        return self.per_gpu > 1

    def alone(self) -> Slots:
        """The same, a whole GPU a trial."""
        return dataclasses.replace(self, gpus=1.0)


def choose_slots(
    nodes: Sequence[Node],
    n_trials: int,
    *,
    trials_per_gpu: int | None = None,
    cpus_per_trial: int | None = None,
    measured_packing: int | None = None,
    trial_bytes: int = 0,
) -> Slots:
    """The default packing, unless options say something else.

    With GPUs, several trials share each: as many as measuring found best (``measured_packing``) or,
    without one, as memory holds, eight at most; and no more than spread the trials over all GPUs
    and have a processor each, however many are asked for. Without, one trial a processor: on two
    cores two trials with a thread each are 1.1 to 1.5 times as fast as one with two threads;
    processors left over when there are few trials become threads.
    Where there are GPUs, machines without one take no trials, nor do those whose GPUs are smaller
    than the largest trial (``trial_bytes``) while others are not; see ``left_out``.

    >>> choose_slots([Node(cpus=8)], n_trials=50)
    Slots(count=8, cpus=1, gpus=0.0, device='cpu')
    >>> choose_slots([Node(cpus=32, gpus=4, gpu_memory_bytes=24 * 2**30)], n_trials=50)
    Slots(count=12, cpus=2, gpus=0.3333, device='cuda')

    Raises:
        GitractError: no node has a processor (those without one are left out), or none with GPUs
            as many as a trial is to have.
    """
    n_trials = max(n_trials, 1)
    nodes = [node for node in nodes if node.cpus]
    if not nodes:
        raise GitractError("slots", "a machine with a processor", "none", "add one to the cluster")
    if any(node.gpus for node in nodes):
        large = _large_enough(nodes, trial_bytes)
        asked = trials_per_gpu or _packing(large, measured_packing)
        share = min(asked, useful_packing(large, n_trials))
        slots = _on_gpus(large, n_trials, share, cpus_per_trial)
        avoid = tuple(n.name for n in nodes if n.gpus and n not in large and n.name)
        return dataclasses.replace(slots, avoid=avoid)
    cpus = cpus_per_trial or _threads(nodes, n_trials)
    return Slots(min(_room(nodes, cpus), n_trials), cpus)


def _threads(nodes: Sequence[Node], n_trials: int) -> int:
    """The most processors a trial with which as many run at once as with one each.

    >>> _threads([Node(4)] * 4, 5)  # with three each, only four would
    2
    """
    smallest, wanted = min(node.cpus for node in nodes), min(n_trials, _room(nodes, 1))
    return max(cpus for cpus in range(1, smallest + 1) if _room(nodes, cpus) >= wanted)


def _room(nodes: Sequence[Node], cpus: int) -> int:
    """Trials at once with so many processors each."""
    return sum(node.cpus // cpus for node in nodes)


def machine_to_measure(nodes: Sequence[Node], avoid: Sequence[str] = ()) -> Node:
    """One of the kind that most trials will run on; of two kinds, that with the larger GPUs.

    Args:
        nodes: one at least.
        avoid: names of machines that take no trials.

    >>> small, large, bare = Node(8, 1, 16 * 2**30), Node(8, 1, 80 * 2**30), Node(64)
    >>> machine_to_measure([bare, small, large]) == large
    True
    >>> machine_to_measure([bare, small, small, large]) == small
    True
    """
    taking = [node for node in nodes if node.name not in avoid] or nodes
    kinds: dict[tuple[int, int], list[Node]] = {}
    for node in taking:
        kind = (1, node.gpu_memory_bytes) if node.gpus else (0, -node.cpus)
        kinds.setdefault(kind, []).append(node)
    return max(
        kinds.items(), key=lambda k: (k[0][0], sum(n.gpus or n.cpus for n in k[1]), k[0][1])
    )[1][0]


def left_out(nodes: Sequence[Node], trial_bytes: int = 0) -> list[str]:
    """Lines about the machines that ``choose_slots`` leaves out.

    >>> left_out([Node(cpus=64), Node(cpus=8, gpus=1)])
    ['left out: 1 machine without a GPU (64 processors)']
    """
    lines = []
    bare = [node for node in nodes if not node.gpus]
    if bare and len(bare) < len(nodes):
        cpus = sum(node.cpus for node in bare)
        lines.append(f"left out: {_machines(bare)} without a GPU ({counted(cpus, 'processor')})")
    large = _large_enough(nodes, trial_bytes)
    small = [node for node in nodes if node.gpus and node not in large]
    if small:
        sizes = f"{_gib(smallest_gpu_bytes(small))} GiB, the largest trial {_gib(trial_bytes)}"
        lines.append(f"left out: {_machines(small)} with smaller GPUs than trials need ({sizes})")
    return lines


def _large_enough(nodes: Sequence[Node], trial_bytes: int) -> list[Node]:
    """Machines whose GPUs hold a trial; where none does, all that have GPUs."""
    with_gpus = [node for node in nodes if node.gpus]
    known = [n for n in with_gpus if not 0 < n.gpu_memory_bytes * MEMORY_SHARE < trial_bytes]
    return known or with_gpus


def _machines(nodes: Sequence[Node]) -> str:
    return counted(len(nodes), "machine")


def _gib(size_bytes: int) -> str:
    return f"{size_bytes / 2**30:.1f}"


def useful_packing(nodes: Sequence[Node], n_trials: int) -> int:
    """Trials a GPU beyond which another GPU would have less to do."""
    return math.ceil(max(n_trials, 1) / sum(node.gpus for node in nodes))


def smallest_gpu_bytes(nodes: Sequence[Node]) -> int:
    """Memory of the smallest GPU; 0 if none is known."""
    return min((n.gpu_memory_bytes for n in nodes if n.gpus and n.gpu_memory_bytes), default=0)


def _packing(nodes: Sequence[Node], measured: int | None) -> int:
    memory = smallest_gpu_bytes(nodes)
    fits = memory // _MEMORY_PER_TRIAL_BYTES if memory else 2
    return max(1, measured or min(fits, _MOST_TRIALS_PER_GPU))


def _on_gpus(nodes: Sequence[Node], n_trials: int, share: int, cpus_per_trial: int | None) -> Slots:
    gpus, cpus = sum(node.gpus for node in nodes), cpus_per_trial or 1
    if cpus > max(node.cpus for node in nodes):
        expected = f"at most {max(n.cpus for n in nodes)}, the processors of a machine with GPUs"
        raise GitractError("--cpus-per-trial", expected, cpus, "lower it")
    share = max(1, min(share, *(math.ceil(n.cpus / (n.gpus * cpus)) for n in nodes)))
    cpus = cpus_per_trial or max(1, min(n.cpus // (n.gpus * share) for n in nodes))
    fraction = math.floor(1e4 / share) / 1e4  # rounded up, shares would not fit a GPU
    empty = max(gpus * share - n_trials, 0)
    whole = empty // (share - 1) if share > 1 else 0  # each leaves share - 1 places of its GPU
    room = sum(min(n.gpus * share, n.cpus // cpus) for n in nodes)
    return Slots(min(room, n_trials), cpus, fraction, "cuda", whole=whole)
