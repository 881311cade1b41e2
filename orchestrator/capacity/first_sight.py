"""A first answer while shapes are still being measured: others are taken to cost by operations."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from gitract_core.spec import Candidate
from gitract_core.trial.cost import StepCost, shape_of
from gitract_core.trial.relative_cost import relative_cost
from orchestrator.capacity.measuring import Measured


def at_first_sight(so_far: Measured, candidates: Iterable[Candidate]) -> Measured:
    """Costs of all candidates from those of the shapes that are measured.

    A shape that is not measured yet is taken to cost what the last measured one does, its steps by
    the operations of its network (``relative_cost``). On a processor that is right within a factor
    of about two: small networks do fewer operations in a second.

    Args:
        so_far: of at least one shape.
        candidates: of the plan.
    """
    known, last = list(so_far.steps)[-1], list(so_far.steps.values())[-1]
    shapes = dict.fromkeys(shape_of(candidate) for candidate in candidates)
    others = (shape for shape in shapes if shape not in so_far.steps)
    steps = {s: _scaled(last, relative_cost(s) / relative_cost(known)) for s in others}
    return replace(so_far, steps={**so_far.steps, **steps})


def _scaled(cost: StepCost, factor: float) -> StepCost:
    return replace(
        cost,
        step_seconds=cost.step_seconds * factor,
        validation_seconds=cost.validation_seconds * factor,
        predict_seconds=cost.predict_seconds * factor,
    )
