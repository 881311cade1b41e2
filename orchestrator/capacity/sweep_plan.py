"""The plan of a sweep: time, memory and disk from measured steps, and the part that fits a budget.

The time is that of the most epochs; early stopping may end trials sooner, at the earliest after
``patience`` epochs without a better value. Racing is not foreseen: it can only save.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from gitract_core.data.cache import cache_directory
from gitract_core.errors import GitractError
from gitract_core.processors import usable_processors
from gitract_core.spec import Candidate, TrialSpec
from gitract_core.training.epoch_scorer import SCORING_THREADS
from gitract_core.trial.deciding_cases import PARTS
from gitract_core.trial.reuse import epochs_ready
from gitract_core.view import View
from orchestrator.capacity.fold_sizes import FoldSize, fold_sizes
from orchestrator.capacity.trial_slots import Slots
from orchestrator.sweeps.labels import candidate_labels
from orchestrator.sweeps.preparation import PreparedSweep, reusing, start_order

if TYPE_CHECKING:
    from orchestrator.capacity.measuring import Measured

_SMALL_FILES_BYTES = 70_000  # result, history, scores and the sums of every epoch of a trial


@dataclass(frozen=True, slots=True)
class TrialCost:
    """What one trial takes on its slot.

    Attributes:
        seconds: with the most epochs.
        least_seconds: if no epoch but the first is a best one.
        trained: whether it trains, rather than reuse another trial's weights.
    """

    seconds: float
    least_seconds: float
    trained: bool = True


@dataclass(frozen=True, slots=True)
class Disk:
    """Bytes that a sweep will write.

    Attributes:
        cache_bytes: images and masks at network size; 0 if they are there.
        trials_bytes: weights, probabilities and tables that stay.
        checkpoints_bytes: most of what is there for a while only.
    """

    cache_bytes: int
    trials_bytes: int
    checkpoints_bytes: int


@dataclass(frozen=True)
class Plan:
    """The answer.

    Attributes:
        candidates: labels, in the order of the space; without what the budget leaves out.
        candidate_seconds: of each, all its pending trials one after the other.
        folds, repeats: folds of a plan, and plans.
        trials, finished: trials in all; those of them that have a result.
        shared: pending trials that reuse the weights of another one.
        slots: how trials share machines.
        seconds, least_seconds: from start to end, at most and at least.
        cache_seconds: the share of it that building caches takes.
        gpu_hours, cpu_hours: held by trials, with the most epochs.
        memory_bytes: of a trial, of the GPU or of its process.
        disk: what is written.
        budget_seconds: what was allowed, or None.
        left_out: labels of the candidates that do not fit it.
    """

    candidates: tuple[str, ...]
    candidate_seconds: tuple[float, ...]
    folds: int
    repeats: int
    trials: int
    finished: int
    shared: int
    slots: Slots
    seconds: float
    least_seconds: float
    cache_seconds: float
    gpu_hours: float
    cpu_hours: float
    memory_bytes: int
    disk: Disk
    budget_seconds: float | None = None
    left_out: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values by the names of the attributes, and ``hours``."""
        return {**asdict(self), "hours": self.seconds / 3600}


@dataclass(frozen=True)
class Outlook:
    """What plans are made from: a checked request, its slots and what was measured.

    Attributes:
        checked: the request.
        slots: how trials share machines.
        measured: costs of all its shapes.
        extra_seconds: of the command before the workers start and after the last trial: its own
            start, data, Ray, the report.
        keep_oof, keep_state: whether trials leave their probabilities, and the last state of those
            that run out of epochs.
    """

    checked: PreparedSweep
    slots: Slots
    measured: Measured
    extra_seconds: float = 0.0
    keep_oof: bool = True
    keep_state: bool = True

    @property
    def candidates(self) -> tuple[Candidate, ...]:
        """Of the request, in the order of the space."""
        asked = {spec.candidate for spec in self.checked.specs}
        return tuple(c for c in self.checked.record.candidates if c in asked)

    def named(self, labels: Collection[str]) -> tuple[Candidate, ...]:
        """Candidates by their labels, in the order of the space."""
        return tuple(c for c, name in candidate_labels(self.candidates).items() if name in labels)

    def cost(self, spec: TrialSpec, *, trains: bool) -> TrialCost:
        """What one trial takes; epochs that a finished trial trained for it take nothing."""
        size = self._size(spec)
        candidate, step = spec.candidate, self.measured.step(spec.candidate)
        scoring = size.validation_pixels * self.measured.scoring(candidate).once
        knobs, ready = candidate.training, self._ready.get(spec.key, 0)
        if not trains or ready == knobs.epochs:
            return TrialCost(scoring, scoring, trained=False)
        slices = (size.training_slices, size.validation_slices)
        if knobs.keep == "inner":
            deciding = size.training_slices // PARTS
            slices = (size.training_slices - deciding, deciding)
        epoch = step.epoch_seconds(*slices, candidate.optimizer.batch_size)
        epoch = self._with_scoring(epoch, candidate, size)
        ending = size.validation_slices * (step.predict_seconds + step.oof_seconds)
        once = step.setup_seconds + ending + scoring
        least = max(knobs.fewest_epochs - ready, 1)
        return TrialCost(once + (knobs.epochs - ready) * epoch, once + least * epoch)

    def _with_scoring(self, epoch_seconds: float, candidate: Candidate, size: FoldSize) -> float:
        """An epoch, with its score at native size where the scored fold chooses the epoch.

        It is counted in the background, on the trial's processors: they are free while a GPU
        trains, and the next epoch waits for it.
        """
        if candidate.training.keep != "held_out":
            return epoch_seconds
        each = self.measured.scoring(candidate).score_seconds
        seconds = size.validation_pixels * each / min(self.slots.cpus, SCORING_THREADS)
        return max(epoch_seconds, seconds) if self.slots.gpus else epoch_seconds + seconds

    def validation_slices(self, spec: TrialSpec) -> int:
        """Slices of a trial's fold."""
        return self._size(spec).validation_slices

    @cached_property
    def _ready(self) -> dict[str, int]:
        """Epochs that others have trained, by the trial's key."""
        trial = self.checked.directory.trial
        return {spec.key: epochs_ready(spec, trial(spec)) for spec in self.checked.pending}

    @cached_property
    def _sizes(self) -> list[FoldSize]:
        checked = self.checked
        return [size for plan in checked.plans for size in fold_sizes(checked.index, plan)]

    def _size(self, spec: TrialSpec) -> FoldSize:
        return self._sizes[self.checked.record.fold_number(spec)]


def make_plan(outlook: Outlook, budget_seconds: float | None = None) -> Plan:
    """What a sweep takes; with a budget, of the candidates that fit it.

    Whole candidates are left out, those that train longest first, until the rest fits.

    Raises:
        GitractError: not one candidate fits.
    """
    kept = outlook.candidates
    if budget_seconds is not None:
        kept = fitting(outlook, budget_seconds)
    labels = candidate_labels(outlook.candidates)
    pending = _pending(outlook, kept)
    total = sum(cost.seconds for cost in pending.costs)
    slots = outlook.slots
    caches = _missing_caches(outlook, kept)
    wanted = set(kept)
    seconds = dict.fromkeys(kept, 0.0)
    for spec, cost in pending:
        seconds[spec.candidate] += cost.seconds
    return Plan(
        candidates=tuple(labels[c] for c in kept),
        candidate_seconds=tuple(seconds.values()),
        folds=outlook.checked.record.n_folds,
        repeats=len(outlook.checked.plans),
        trials=len(kept) * outlook.checked.record.total_folds,
        finished=len(kept) * outlook.checked.record.total_folds - len(pending.specs),
        shared=sum(not cost.trained for cost in pending.costs),
        slots=slots,
        seconds=_seconds(outlook, kept),
        least_seconds=_seconds(outlook, kept, least=True),
        cache_seconds=_cache_seconds(outlook, caches),
        gpu_hours=total * slots.gpus / 3600,
        cpu_hours=total * slots.cpus / 3600,
        memory_bytes=max((outlook.measured.step(c).peak_memory_bytes for c in kept), default=0),
        disk=_disk(outlook, pending, caches),
        budget_seconds=budget_seconds,
        left_out=tuple(labels[c] for c in outlook.candidates if c not in wanted),
    )


def makespan(seconds: Sequence[float], slots: int) -> float:
    """When the last trial ends, if each in turn starts on the slot that is free first.

    >>> makespan([3, 3, 2, 2, 2], slots=2), makespan([2, 2, 2, 3, 3], slots=2)
    (7.0, 7.0)
    >>> makespan([4, 1, 1, 1, 1], slots=2), makespan([1, 1, 1, 1, 4], slots=2)
    (4.0, 6.0)
    """
    free = [0.0] * slots
    for duration in seconds:
        heapq.heapreplace(free, free[0] + duration)
    return max(free)


def fitting(outlook: Outlook, budget_seconds: float) -> tuple[Candidate, ...]:
    """The candidates that fit a budget, in the order of the space.

    Raises:
        GitractError: not one does.
    """
    everything = outlook.candidates
    first = {spec.candidate: spec for spec in reversed(outlook.checked.specs)}
    alone = {c: outlook.cost(first[c], trains=True).seconds for c in everything}
    cheapest = sorted(everything, key=lambda c: alone[c])  # stable: of equals, the earlier stay
    low, high = 0, len(cheapest)  # as many as ``low`` fit, more than ``high`` do not
    while low < high:
        middle = (low + high + 1) // 2
        if _seconds(outlook, _in_order(outlook, cheapest[:middle])) <= budget_seconds:
            low = middle
        else:
            high = middle - 1
    if not low:
        needed = _seconds(outlook, cheapest[:1])
        expected = f"at least {needed:.0f}s, which the cheapest candidate takes"
        raise GitractError("--budget", expected, f"{budget_seconds:.0f}s", "allow more time")
    return _in_order(outlook, cheapest[:low])


def _in_order(outlook: Outlook, chosen: Collection[Candidate]) -> tuple[Candidate, ...]:
    wanted = set(chosen)
    return tuple(c for c in outlook.candidates if c in wanted)


@dataclass(frozen=True)
class _Pending:
    """What is left to run, in the order of starting, and what each trial takes."""

    specs: Sequence[TrialSpec]
    costs: Sequence[TrialCost]

    def __iter__(self) -> Iterator[tuple[TrialSpec, TrialCost]]:
        return zip(self.specs, self.costs, strict=True)


def _pending(outlook: Outlook, kept: Collection[Candidate]) -> _Pending:
    """What is left to run of some candidates."""
    checked, wanted = outlook.checked, set(kept)
    specs = [s for s in checked.specs if s.candidate in wanted]
    left = set(checked.pending)
    pending = start_order(specs, {s for s in specs if s not in left})
    again = reusing(specs)
    return _Pending(pending, [outlook.cost(s, trains=s not in again) for s in pending])


def _seconds(outlook: Outlook, kept: Collection[Candidate], *, least: bool = False) -> float:
    """From start to end: the command itself, caches, start of the workers, trials."""
    costs = _pending(outlook, kept).costs
    if not costs:
        return 0.0
    slots = min(outlook.slots.count, len(costs))
    before = outlook.extra_seconds + outlook.measured.start_seconds
    before += _cache_seconds(outlook, _missing_caches(outlook, kept))
    return before + makespan([c.least_seconds if least else c.seconds for c in costs], slots)


def _missing_caches(outlook: Outlook, kept: Collection[Candidate]) -> list[View]:
    """Of which views caches must be built on this machine."""
    index = outlook.checked.index
    views = sorted({candidate.input.view for candidate in kept})
    return [v for v in views if not cache_directory(index.fingerprint, v, gray=index.gray).is_dir()]


def _cache_seconds(outlook: Outlook, caches: Sequence[View]) -> float:
    slices = len(outlook.checked.index.table) * len(caches)
    return slices * outlook.measured.cache_seconds / usable_processors()


def _disk(outlook: Outlook, pending: _Pending, caches: Sequence[View]) -> Disk:
    """Weights and probabilities of trials that share a training are the same file.

    With the last states, as if every trial that can leave one did: patience may end some before.
    """
    n_slices, kept = len(outlook.checked.index.table), 0.0
    checkpoints: list[int] = []
    for spec, cost in pending:
        kept += _SMALL_FILES_BYTES
        if cost.trained:
            step = outlook.measured.step(spec.candidate)
            oof = step.oof_bytes * outlook.validation_slices(spec) * outlook.keep_oof
            kept += step.weights_bytes + oof
            if outlook.keep_state and spec.candidate.optimizer.schedule == "constant":
                kept += step.checkpoint_bytes
            checkpoints.append(step.checkpoint_bytes)
    running = sorted(checkpoints, reverse=True)[: outlook.slots.count]
    cache = sum(2 * n_slices * view.size**2 for view in caches)
    return Disk(cache, int(kept), sum(running))
