"""Results of made-up quality, written as a trial would, and an executor that makes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from gitract_core.results.trial_result import TrialFiles, TrialResult
from gitract_core.spec import Candidate, TrialSpec
from orchestrator.execution.executor import Course, Fault, Waiting
from orchestrator.sweeps.events import Listener, SweepEvent
from orchestrator.sweeps.preparation import PreparedSweep

Quality = Callable[[Candidate], float]


def write_result(
    sweep: PreparedSweep,
    spec: TrialSpec,
    value: float,
    *,
    known: Mapping[str, float] | None = None,
) -> None:
    """A result whose score is ``value``, the same for every case but for a little noise.

    Organs are those of the run; the first is a little better than the last.
    """
    organs = sweep.record.organs
    random = np.random.default_rng([spec.fold, int(spec.candidate.key, 16) % 2**32])
    plans = (sweep.data.plan, *sweep.data.repeats)
    (plan,) = (p for p in plans if p.fingerprint == spec.folds_fingerprint)
    cases = plan.cases(spec.fold)
    per_case = {}
    for case in cases:
        one = value + random.normal(0, 0.002)
        sums = {"dice_sum": 30 * one, "dice_rows": 30.0}
        sums |= {"hausdorff_sum": 2 * one, "hausdorff_volumes": 2.0}
        per_case[str(case)] = {name: [total] * len(organs) for name, total in sums.items()}
    of_organ = (value - 0.002 * place for place in range(len(organs)))
    per_class = {o: {"dice": v, "hausdorff": v} for o, v in zip(organs, of_organ, strict=True)}
    scores = {"score": value, "dice": value, "hausdorff": value, "per_class": per_class}
    history = {"best_epoch": 1, "epochs": 1, "at_best": {}, "best": {}}
    cost = {"seconds": 1.0, "peak_memory_bytes": 1}
    files = TrialFiles(sweep.directory.trials / spec.key)
    result = TrialResult(
        spec, scores, per_case, history, cost, {"parameters": 1}, organs=organs, known=known or {}
    )
    result.save(files.result)


class StubExecutor:
    """Runs trials in no time, in the order in which they start.

    Args:
        sweep: whose results are written.
        quality: of a candidate; NaN is a trial that fails for good.
        slots: trials at once.
        most: trials that it finishes before it is interrupted.
        fault: how trials fail.
    """

    def __init__(
        self,
        sweep: PreparedSweep,
        quality: Quality,
        *,
        slots: int = 1,
        most: int = 10_000,
        fault: Fault = "error",
    ) -> None:
        self.sweep, self.quality, self.slots, self.left = sweep, quality, slots, most
        self.fault: Fault = fault
        self.started: list[TrialSpec] = []

    def run(self, pending: Sequence[TrialSpec], course: Course, on_event: Listener) -> None:
        """Until nothing is wanted any more.

        Raises:
            KeyboardInterrupt: after ``most`` trials.
        """
        waiting, running = Waiting(pending, course), list[TrialSpec]()
        while True:
            while len(running) < self.slots and (spec := waiting.next()):
                running.append(spec)
                self.started.append(spec)
            if not running:
                return
            if not self.left:
                raise KeyboardInterrupt
            self.left -= 1
            spec = running.pop(0)
            value = self.quality(spec.candidate)
            if not course.wanted(spec.key):
                on_event(SweepEvent("stopped", spec.key))
            elif value != value:
                on_event(SweepEvent("failed", spec.key, fault=self.fault))
            else:
                write_result(self.sweep, spec, value)
                on_event(SweepEvent("finished", spec.key))
