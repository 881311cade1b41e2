"""Measures how many trials share a GPU best: ``--trials-per-gpu auto``.

A trial alone leaves a GPU idle between its small kernels; too many trials wait for each other or
for memory. Two things are measured on a GPU of the sweep, in processes as the trials' own: the
memory that each shape of the candidates takes, with the cache's copy and the CUDA context, as the
driver sees it from outside; and what 1, 2, 4 and 8 processes of the most common shape train
together in a second or two.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from gitract_core.device import Runtime, free_memory
from gitract_core.plugin import Plugin, executed
from gitract_core.plugins import execute_of
from gitract_core.spec import Candidate
from gitract_core.trial.cost import SampleScan, measure_rate, shape_of
from orchestrator.capacity.measuring import Place, here, middle_scans
from orchestrator.capacity.process_group import ProcessGroup, meet
from orchestrator.capacity.trial_slots import MEMORY_SHARE, Node, useful_packing

if TYPE_CHECKING:
    from gitract_core.data.slices import SliceIndex

TRIALS = (1, 2, 4, 8)  # side by side, whose speed is measured
NEAR_BEST = 0.95  # fewer trials that train nearly as fast are better: less to lose, more memory
_SECONDS = 1.5


@dataclass(frozen=True, slots=True)
class Packing:
    """How many trials share a GPU.

    Attributes:
        trials: best number; None where nothing was measured and memory has to decide.
        reason: a line for people.
        trial_bytes: what the largest trial takes of a GPU; 0 where nothing was measured.
    """

    trials: int | None
    reason: str
    trial_bytes: int = 0


class PackingMeter(Protocol):
    """Measures what a packing is chosen from."""

    def room_bytes(self) -> tuple[int, int]:
        """Free bytes and all bytes of the GPU, before any trial."""

    def memory_bytes(self, shape: Candidate) -> int:
        """What a trial's process takes of the GPU."""

    def rate(self, shape: Candidate, count: int) -> float:
        """Slices a second that so many processes train on together."""


def measure_packing(
    candidates: Sequence[Candidate],
    index: SliceIndex,
    nodes: Sequence[Node],
    *,
    n_trials: int,
    place: Place = here,
) -> Packing:
    """The best number of trials a GPU for a sweep.

    Args:
        candidates: of the trials, one for each trial or each candidate.
        index: the annotated data set.
        nodes: the sweep's machines. One GPU is measured; the smallest that holds the largest trial
            is the limit of memory.
        n_trials: how many are to run.
        place: the machine whose GPU is measured.

    Raises:
        DataError: a scan of the data set cannot be read.
    """
    if not any(node.gpus for node in nodes):
        return Packing(None, "no GPU")
    scan = middle_scans(index)[0]
    most, sizes = useful_packing(nodes, n_trials), [n.gpu_memory_bytes for n in nodes if n.gpus]
    try:
        meter = ProcessMeter(Runtime("cuda"), scan, len(index.table))
        return place(_measure_there, candidates, meter, most, sizes)
    except Exception as error:  # CUDA and dying processes raise many kinds; a guess is no loss
        first = (str(error).splitlines() or [""])[0]
        got = f"{type(error).__name__}: {first:.120}"
        return Packing(None, f"trials a GPU by memory alone: measuring failed ({got})")


def _measure_there(
    candidates: Sequence[Candidate],
    meter: ProcessMeter,
    most: int,
    sizes_bytes: Sequence[int],
) -> Packing:
    with meter:
        return find_packing(candidates, meter, most, sizes_bytes)


def find_packing(
    candidates: Sequence[Candidate], meter: PackingMeter, most: int, sizes_bytes: Sequence[int] = ()
) -> Packing:
    """Measure what is needed, no more, and choose.

    Args:
        candidates: the most common shape among them is the one whose speed is measured.
        meter: measures.
        most: larger numbers are of no use.
        sizes_bytes: memory of the sweep's GPUs; 0 for one that is not known.
    """
    shapes = Counter(shape_of(c) for c in candidates)
    free, total = meter.room_bytes()
    memory = max(meter.memory_bytes(shape) for shape in shapes)
    large = [size for size in sizes_bytes if MEMORY_SHARE * size >= memory]  # others get none
    room = int(min(free, MEMORY_SHARE * min([total, *large])))
    common = shapes.most_common(1)[0][0]
    useful = [n for n in TRIALS if n == 1 or (n <= most and n * memory <= room)]
    rates = {n: meter.rate(common, n) for n in useful}
    told = ", ".join(f"{n}: {rate:,.0f}" for n, rate in rates.items())
    each = f"{memory / 2**30:.1f} GiB each"
    best = best_packing(rates, memory, room)
    return Packing(best, f"trials a GPU: {best} ({each}; slices/s measured for {told})", memory)


def best_packing(rates: Mapping[int, float], memory_bytes: int, room_bytes: int) -> int:
    """The smallest number of trials within 5 % of the best rate among those that fit; 1 if none do.

    >>> best_packing({1: 100.0, 2: 180.0, 4: 250.0, 8: 255.0}, 10, 1000)
    4
    >>> best_packing({1: 100.0, 2: 180.0, 4: 250.0, 8: 255.0}, 10, 39)
    2
    """
    fitting = {n: rate for n, rate in rates.items() if n * memory_bytes <= room_bytes}
    best = max(fitting.values(), default=0.0)
    return min((n for n, rate in fitting.items() if rate >= NEAR_BEST * best), default=1)


class ProcessMeter:
    """Measures in processes of its own; one of them only watches the memory.

    Args:
        runtime: device and threads of a trial.
        scan: what is trained on.
        slices: of the whole cache, which each process holds.
        seconds: how long processes train side by side.
    """

    def __init__(
        self, runtime: Runtime, scan: SampleScan, slices: int, seconds: float = _SECONDS
    ) -> None:
        self._runtime, self._scan, self._slices = runtime, scan, slices
        self._seconds, self._before = seconds, (0, 0)
        self._plugins = executed()

    def __enter__(self) -> ProcessMeter:
        self._stack = ExitStack()
        self._watcher = self._stack.enter_context(ProcessGroup(1))
        self._before = self._free()
        self._single = self._stack.enter_context(ProcessGroup(1))
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def room_bytes(self) -> tuple[int, int]:
        """As before any process but the watcher used the device."""
        return self._before

    def memory_bytes(self, shape: Candidate) -> int:
        """What one process took away from what was free, context and all."""
        self._rates(self._single, shape, 0.0)
        return max(0, self._before[0] - self._free()[0])

    def rate(self, shape: Candidate, count: int) -> float:
        """Of all processes together."""
        self._single.end()  # its memory is needed, and it would be one too many
        with ProcessGroup(count) as group:
            return sum(self._rates(group, shape, self._seconds))

    def _free(self) -> tuple[int, int]:
        return self._watcher.run(_free, self._runtime)[0]

    def _rates(self, group: ProcessGroup, shape: Candidate, seconds: float) -> list[float]:
        return group.run(
            _measure_rate,
            self._plugins,
            shape,
            self._runtime,
            self._scan,
            cache_bytes=2 * self._slices * shape.input.size**2,
            seconds=seconds,
        )


def _measure_rate(
    plugins: Sequence[Plugin],
    shape: Candidate,
    runtime: Runtime,
    scan: SampleScan,
    *,
    cache_bytes: int,
    seconds: float,
) -> float:
    execute_of(shape.plugin, plugins)
    return measure_rate(shape, runtime, scan, cache_bytes=cache_bytes, meet=meet, seconds=seconds)


def _free(runtime: Runtime) -> tuple[int, int]:
    return free_memory(runtime.torch_device())
