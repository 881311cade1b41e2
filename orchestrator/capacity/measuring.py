"""Measures what trials cost on the machine where they will run, side by side as in the sweep.

As many processes as trials will share a machine measure the same shapes at the same time, with
the threads that a trial will have: caches, memory and a GPU are then shared as they will be.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from statistics import mean
from threading import BrokenBarrierError
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, TypeVar

import numpy as np

from gitract_core.data.cache import mask_bits, scan_images
from gitract_core.device import Runtime
from gitract_core.errors import GitractError, TrialError
from gitract_core.knobs import PostprocessKnobs
from gitract_core.metrics.score import CONTEST_SCORE
from gitract_core.plugin import Plugin, executed
from gitract_core.plugins import execute_of
from gitract_core.spec import Candidate
from gitract_core.trial.cost import (
    SampleScan,
    StepCost,
    begin_process,
    measure_step,
    shape_of,
)
from gitract_core.trial.scoring_cost import ScoringCost, measure_scoring
from gitract_core.view import View
from orchestrator.capacity.process_group import ProcessGroup, meet
from orchestrator.capacity.trial_slots import Node, Slots

if TYPE_CHECKING:
    import pandas as pd

    from gitract_core.data.slices import SliceIndex

_SCORED_SCANS = 2

ScoringRule = tuple[int, PostprocessKnobs]
"""Network size and post-processing: what the time of scoring depends on."""

P = ParamSpec("P")
T = TypeVar("T")


class Place(Protocol):
    """A machine on which something is measured."""

    def __call__(self, work: Callable[P, T], /, *arguments: P.args, **named: P.kwargs) -> T:
        """What ``work`` returns or raises there.

        An argument named ``watch`` is called here, with what the work calls it with there.
        """


def here(work: Callable[P, T], /, *arguments: P.args, **named: P.kwargs) -> T:
    """On this machine, in this process."""
    return work(*arguments, **named)


@dataclass(frozen=True)
class Measured:
    """What was measured.

    Attributes:
        steps: shape -> its cost.
        scorings: by size and post-processing, the cost of scoring.
        cache_seconds: decoding a slice into the cache, on one processor.
        start_seconds: from starting a worker process to its first training step, with what only the
            first trial of a process waits for.
    """

    steps: Mapping[Candidate, StepCost]
    scorings: Mapping[ScoringRule, ScoringCost]
    cache_seconds: float
    start_seconds: float

    def step(self, candidate: Candidate) -> StepCost:
        """The cost of a candidate's shape."""
        return self.steps[shape_of(candidate)]

    def scoring(self, candidate: Candidate) -> ScoringCost:
        """The cost of scoring a candidate's predictions."""
        return self.scorings[candidate.input.size, candidate.postprocess]


Watch = Callable[[Measured], None]
"""Told what is measured so far; ``steps`` has one shape more each time."""


def unwatched(so_far: Measured) -> None:
    """For measurements that nobody watches."""


@dataclass(frozen=True)
class _Task:
    """What every measuring process does."""

    shapes: tuple[Candidate, ...]
    rules: tuple[ScoringRule, ...]
    runtime: Runtime
    scans: tuple[SampleScan, ...]
    score: str = CONTEST_SCORE
    plugins: tuple[Plugin, ...] = ()


def measure_costs(
    candidates: Sequence[Candidate],
    index: SliceIndex,
    slots: Slots,
    *,
    side_by_side: int,
    score: str = CONTEST_SCORE,
    place: Place = here,
    watch: Watch = unwatched,
) -> Measured:
    """Measure all shapes of some candidates.

    Args:
        candidates: what is to be trained.
        index: the annotated data set; a few scans of middle length are read.
        slots: device and threads of a trial.
        side_by_side: trials that will run on a machine, or on one GPU of it, at once; see
            ``trials_side_by_side``.
        score: by which trials are scored beside the contest's.
        place: where trials will run. Caches are built here, and timed here.
        watch: called after every shape with what is measured so far.

    Raises:
        DataError: a scan cannot be read.
        TrialError: a measuring process died.
        GitractError: what a measurement raised, a missing GPU for example.
    """
    largest = max((c.input.view for c in candidates), default=View(128))
    cache, scans = _seconds_to_cache(index, largest), middle_scans(index)
    shapes = tuple(dict.fromkeys(shape_of(c) for c in candidates))
    rules = tuple(dict.fromkeys((c.input.size, c.postprocess) for c in candidates))
    task = _Task(shapes, rules, Runtime(slots.device, slots.cpus), scans, score, executed())

    def told(so_far: Measured) -> None:
        watch(replace(so_far, cache_seconds=cache))

    found = place(_measure_side_by_side, task, side_by_side, watch=told)
    return replace(_measured(task, found), cache_seconds=cache)


def trials_side_by_side(node: Node, slots: Slots) -> int:
    """How many trials will share a machine's processors, or one of its GPUs.

    >>> [trials_side_by_side(Node(8), Slots(count, cpus=2)) for count in (20, 3)]
    [4, 3]
    >>> trials_side_by_side(Node(8, gpus=2), Slots(20, cpus=1, gpus=0.25))
    4
    """
    return max(1, min(slots.count, slots.per_gpu or node.cpus // slots.cpus))


@dataclass(frozen=True)
class _Found:
    """What one process measured: costs of the shapes, scoring by the rules, and its start."""

    steps: list[StepCost]
    scoring: list[ScoringCost]
    start_seconds: float


def _measure_side_by_side(task: _Task, count: int, watch: Watch = unwatched) -> list[_Found]:
    found: list[_Found] = []
    try:
        with ProcessGroup(count) as group:
            begun = group.run(_begin, task, time.time())
            found = [_Found([], scoring, start) for start, scoring in begun]
            for place in range(len(task.shapes)):
                for one, cost in zip(found, group.run(_measure_shape, place), strict=True):
                    one.steps.append(cost)
                watch(_measured(task, found))
    except (BrokenProcessPool, BrokenBarrierError):
        remedy = "lower --trials-per-gpu, optimizer.batch_size or input.size"
        got = "a process that died, for lack of memory perhaps"
        raise TrialError("measuring", "one step of each network", got, remedy) from None
    return found


_task: _Task | None = None  # of this process


def _begin(task: _Task, asked: float) -> tuple[float, list[ScoringCost]]:
    """In a process of its own: the seconds of its start, and the costs of scoring."""
    global _task
    _task = task
    for shape in task.shapes:
        execute_of(shape.plugin, task.plugins)
    begin_process(task.shapes[0], task.runtime, task.scans[0])
    started = time.time() - asked
    meet()
    seconds = [measure_scoring(rule, size, task.scans, task.score) for size, rule in task.rules]
    return started, seconds


def _measured(task: _Task, found: Sequence[_Found]) -> Measured:
    """What is known so far, without the time of caches."""
    done = task.shapes[: len(found[0].steps)]
    return Measured(
        steps={s: _together([f.steps[i] for f in found]) for i, s in enumerate(done)},
        scorings={r: _mean([f.scoring[i] for f in found]) for i, r in enumerate(task.rules)},
        cache_seconds=0.0,
        start_seconds=mean(f.start_seconds for f in found),
    )


def _measure_shape(place: int) -> StepCost:
    """One shape, beside all other processes.

    Raises:
        TrialError: networks and their libraries raise many kinds of errors.
    """
    assert _task
    shape = _task.shapes[place]
    meet()
    try:
        return measure_step(shape, _task.runtime, _task.scans[0])
    except GitractError:
        raise
    except Exception as error:
        net, batch = shape.network, shape.optimizer.batch_size
        where = f"measuring {net.family} {net.widths} of depth {net.depth}, batches of {batch}"
        got = f"{type(error).__name__}: {error}"
        remedy = "change the candidate, or lower optimizer.batch_size if memory ran out"
        raise TrialError(where, "a training step", got, remedy) from None


def _mean(costs: Sequence[ScoringCost]) -> ScoringCost:
    return ScoringCost(
        truth_seconds=mean(cost.truth_seconds for cost in costs),
        score_seconds=mean(cost.score_seconds for cost in costs),
    )


def _together(costs: Sequence[StepCost]) -> StepCost:
    """The mean over processes; sizes are the largest."""
    names = StepCost.__dataclass_fields__
    sizes = {n for n in names if n.endswith("_bytes") and n != "oof_bytes"}
    values: dict[str, Any] = {
        n: (max if n in sizes else mean)(getattr(c, n) for c in costs) for n in names
    }
    return StepCost(**values)


def middle_scans(index: SliceIndex) -> tuple[SampleScan, ...]:
    """Scans of middle length with masks on a middle share of their slices.

    Raises:
        GitractError: the data set is not annotated.
        DataError: a scan cannot be read.
    """
    rows = _middle_rows(index)
    return tuple(SampleScan.read(index.root, some, organs=index.organs) for some in rows)


def _middle_rows(index: SliceIndex) -> list[pd.DataFrame]:
    if not index.annotated:
        expected = "an annotated data set (with train.csv)"
        raise GitractError(index.root, expected, "none", "pass a contest folder")
    rows = [index.rows_of_scan(scan) for scan in index.scans]
    filled = [np.count_nonzero(r[list(index.organs)] != "") for r in rows]
    order = sorted(range(len(rows)), key=lambda i: (len(rows[i]), filled[i]))
    middle = len(order) // 2
    chosen = order[max(0, middle - _SCORED_SCANS // 2) :][:_SCORED_SCANS]
    return [rows[i] for i in reversed(chosen)]


def _seconds_to_cache(index: SliceIndex, view: View) -> float:
    """Seconds that a slice takes: reading, shrinking, and its masks."""
    scans, start = _middle_rows(index), time.perf_counter()
    for rows in scans:
        scan_images(index.root, rows, view)
        mask_bits(rows, view, organs=index.organs)
    return (time.perf_counter() - start) / sum(len(rows) for rows in scans)
