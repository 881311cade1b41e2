"""The events of a sweep, for progress, trackers, storage, the race, the search and notebooks.

A listener is any callable that takes a ``SweepEvent``. All of them are called in the process that
started the sweep, one after another, in the order of the events.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from gitract_core.spec import TrialSpec

EventKind = Literal["epoch", "finished", "error", "failed", "stopped", "proposed", "dropped"]


@dataclass(frozen=True, slots=True)
class SweepEvent:
    """Something that happened in a sweep.

    Attributes:
        kind: ``epoch``: a trial ended an epoch; ``finished``: it has its result; ``error``: an
            attempt ended, another may follow; ``failed``: no attempt is left; ``stopped``: it is
            no longer wanted, its checkpoint stays; ``proposed``: a search added a candidate;
            ``dropped``: a race takes a candidate out.
        trial: key of the trial; empty for ``proposed`` and ``dropped``.
        epoch: number of the epoch that ended, from 1; None for other kinds.
        metrics: of that epoch by name (``dice``, ``val_loss``, ...); of a finished trial its
            ``score``, ``dice`` and ``hausdorff``.
        reason: one line on an error, on what a finished trial had to do without, or on why a
            candidate is dropped.
        fault: kind of an error for programs: ``diverged``, ``refused``, ``memory``,
            ``memory_shared`` (the GPU was shared: runs again alone), ``disk``, ``lost``, ``error``.
        candidate: label of the candidate that is proposed or dropped.
        specs: the trials of that candidate.
    """

    kind: EventKind
    trial: str = ""
    epoch: int | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    reason: str = ""
    fault: str = ""
    candidate: str = ""
    specs: tuple[TrialSpec, ...] = ()


Listener = Callable[[SweepEvent], object]
