"""Whether what one knob gains depends on another: the two knobs with the largest effects, crossed.

Interaction of two knobs: what one level of a knob gains over another differs between levels of the
second knob. Its interval holds for all such differences of differences at once, since the largest
is the one that is told (max-T, as in ``effects``).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from orchestrator.statistics.case_sums import Floats
from orchestrator.statistics.effects import KnobEffect, factors_of, simultaneous_reach, spread
from orchestrator.statistics.intervals.bootstrap import Bootstrap, within_scores

MOST_LEVELS = 8
"""Of each knob; a table of more is none that a person reads."""


@dataclass(frozen=True)
class Change:
    """A difference of differences.

    Attributes:
        gained, over: two levels of the columns' knob.
        most, least: levels of the rows' knob at which the first gains most and least.
        size: what it gains at ``most`` less what it gains at ``least``.
        low, high: interval of ``size``, for all such changes at once; NaN without a bootstrap.
    """

    gained: str
    over: str
    most: str
    least: str
    size: float
    low: float
    high: float


@dataclass(frozen=True)
class Interaction:
    """Mean scores of the candidates by two knobs.

    Attributes:
        rows, columns: the knobs' names; the rows' has at least as many levels.
        row_levels, column_levels: their values, best first.
        means: plain mean over the candidates with both levels, (rows, columns); NaN where there
            are none.
        largest: the largest change; None where no four cells make one.
    """

    rows: str
    columns: str
    row_levels: tuple[str, ...]
    column_levels: tuple[str, ...]
    means: tuple[tuple[float, ...], ...]
    largest: Change | None


def interaction(
    knobs: Mapping[str, Sequence[Any]], effects: Sequence[KnobEffect], drawn: Bootstrap
) -> Interaction | None:
    """The two knobs with the largest effects, crossed; None with fewer, or with many levels.

    Args:
        knobs: name -> its value in each candidate.
        effects: of these knobs, the largest first.
        drawn: of the candidates' table.
    """
    told = [effect for effect in effects if effect.levels][:2]
    if len(told) < 2 or any(len(effect.levels) > MOST_LEVELS for effect in told):
        return None
    columns, rows = sorted(told, key=lambda effect: len(effect.levels))  # stable
    factors = factors_of(knobs, len(drawn.estimate))
    named = [[level.value for level in effect.levels] for effect in (rows, columns)]
    codes = []
    for effect, values in zip((rows, columns), named, strict=True):
        levels, of_candidate = factors[effect.knob]
        codes.append(np.array([values.index(levels[code]) for code in of_candidate]))
    cells = _cells(codes[0], codes[1], (len(named[0]), len(named[1])))
    means = cells @ drawn.estimate
    return Interaction(
        rows=rows.knob,
        columns=columns.knob,
        row_levels=tuple(named[0]),
        column_levels=tuple(named[1]),
        means=tuple(tuple(row) for row in means.tolist()),
        largest=_largest(cells, named, drawn),
    )


def _cells(rows: np.ndarray, columns: np.ndarray, shape: tuple[int, int]) -> Floats:
    """Weights of the candidates' scores in each cell's mean, (rows, columns, candidates)."""
    cells = np.zeros((*shape, len(rows)))
    cells[rows, columns, np.arange(len(rows))] = 1
    number = cells.sum(axis=-1, keepdims=True)
    missing = np.full(cells.shape, np.nan)
    return np.asarray(np.divide(cells, number, out=missing, where=number > 0))


def _largest(cells: Floats, named: Sequence[Sequence[str]], drawn: Bootstrap) -> Change | None:
    contrasts, places = [], []
    for first, second in combinations(range(cells.shape[1]), 2):
        gains = cells[:, first] - cells[:, second]  # (rows, candidates)
        there = [row for row, gain in enumerate(gains) if np.isfinite(gain).all()]
        for a, b in combinations(there, 2):
            contrasts.append(gains[a] - gains[b])
            places.append((first, second, a, b))
    if not contrasts:
        return None
    every = np.array(contrasts)
    sizes = every @ drawn.estimate
    chosen = int(np.argmax(np.abs(sizes)))
    half = simultaneous_reach(every, drawn) * spread(every[chosen], drawn)[0]
    first, second, a, b = places[chosen]
    size = float(sizes[chosen])
    if size < 0:
        a, b, size = b, a, -size
    low, high = (math.nan, math.nan) if math.isnan(half) else (size - half, size + half)
    low, high = within_scores(np.array([[low, high]]), every[chosen])[0]
    rows, columns = named
    return Change(columns[first], columns[second], rows[a], rows[b], size, float(low), float(high))
