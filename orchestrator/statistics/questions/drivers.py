"""Effects that come from failing levels, and not from the knob.

"Depth 5 gains .05 over depth 4" may be .25 with one loss that fails at depth 4, and nothing with
the four others. A level *fails* if its mean is under half of the best level's. An effect is said to
come from failing levels if without their candidates less than ``LEFT`` of it is left: from one of
them, if that is enough, or else from all that fail of one knob. These may be levels of the knob
itself, where two or more are left to compare, or of another knob.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from orchestrator.statistics.case_sums import Floats
from orchestrator.statistics.effects import KnobEffect, factors_of, level_weights

LEFT = 0.4
"""Share of an effect under which it is said to come from the level that was left out."""
_FAILING = 0.5  # of the best level's mean
_LEAST_SPAN = 0.01  # of score; smaller effects are not worth a sentence


@dataclass(frozen=True)
class Driver:
    """An effect that one level makes.

    Attributes:
        knob: whose effect it is.
        best, worst: its levels, with all candidates.
        span: mean of ``best`` less that of ``worst``.
        of_knob, failing: the levels that were left out, of ``knob`` itself or of another.
        left: without them, the mean of ``best`` less that of ``worst``; where they were of the
            knob itself, of the best less the worst that remains.
    """

    knob: str
    best: str
    worst: str
    span: float
    of_knob: str
    failing: tuple[str, ...]
    left: float


def drivers(
    knobs: Mapping[str, Sequence[Any]], effects: Sequence[KnobEffect], scores: Floats
) -> tuple[Driver, ...]:
    """The effects that come from failing levels, at most one sentence an effect.

    Args:
        knobs: name -> its value in each candidate.
        effects: of these knobs.
        scores: of the candidates.
    """
    told = [effect for effect in effects if effect.levels]
    found = []
    for effect in told:
        if effect.span < _LEAST_SPAN:
            continue
        each = [
            _without(knobs, effect, other, failing, scores)
            for other in told
            for failing in _failing(other)
        ]
        strong = [one for one in each if one and one.left < LEFT * effect.span]
        if strong:
            found.append(min(strong, key=lambda one: (len(one.failing), one.left)))
    return tuple(found)


def _failing(effect: KnobEffect) -> list[tuple[str, ...]]:
    """Each failing level of a knob by itself, and all of them together."""
    best = effect.levels[0].mean
    failing = tuple(level.value for level in effect.levels if level.mean < _FAILING * best)
    each: list[tuple[str, ...]] = [(value,) for value in failing]
    return [*each, failing] if len(failing) > 1 else each


def _without(
    knobs: Mapping[str, Sequence[Any]],
    effect: KnobEffect,
    other: KnobEffect,
    failing: tuple[str, ...],
    scores: Floats,
) -> Driver | None:
    """The effect without some levels of a knob; None where it cannot be told."""
    levels, codes = factors_of(knobs, len(scores))[other.knob]
    gone = [levels.index(value) for value in failing]
    kept = np.flatnonzero(~np.isin(codes, gone)).tolist()
    rest = {name: [values[place] for place in kept] for name, values in knobs.items()}
    factors = factors_of(rest, len(kept))
    weights = level_weights(effect.knob, factors) if effect.knob in factors else None
    if weights is None:
        return None
    means = dict(zip(factors[effect.knob][0], weights @ scores[kept], strict=True))
    best, worst = effect.levels[0].value, effect.levels[-1].value
    if best not in means or (worst not in means and other is not effect):
        return None
    left = means[best] - (min(means.values()) if other is effect else means[worst])
    return Driver(effect.knob, best, worst, effect.span, other.knob, failing, float(left))
