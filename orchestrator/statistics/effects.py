"""Which knob matters: mean score of each level, averaged over all other knobs.

Additive least squares (one factor a knob, no interactions), so that grids with holes and random
searches are served too: "least-squares means" (Searle, Speed and Milliken, The American
Statistician 34, 1980). In a full grid they are plain means over the candidates with that level.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gitract_core.errors import RunError
from orchestrator.statistics.bootstrap import Bootstrap
from orchestrator.statistics.case_sums import Floats

Factors = dict[str, tuple[list[str], np.ndarray]]  # knob -> levels, level of each candidate


@dataclass(frozen=True)
class Level:
    """One value of a knob.

    Attributes:
        value: as text.
        candidates: number with it.
        mean: score, averaged over all other knobs.
        effect: ``mean`` less the mean over all candidates.
        low, high: interval of ``effect``: paired, so that hard cases cancel.
    """

    value: str
    candidates: int
    mean: float
    effect: float
    low: float
    high: float


@dataclass(frozen=True)
class KnobEffect:
    """One knob, or several that always change together and cannot be told apart.

    Attributes:
        knob: its name, or the names joined by " + ".
        levels: best first; empty where other knobs together say all that it says, so that its own
            part cannot be told.
        span: mean of the best level less that of the worst; NaN without levels.
        low, high: interval of ``span``.
        share: of the variance between candidates' scores, what is lost without this knob; the
            shares of a full grid and of its interactions add up to 1. NaN without levels.
    """

    knob: str
    levels: tuple[Level, ...]
    span: float
    low: float
    high: float
    share: float


def main_effects(knobs: Mapping[str, Sequence[Any]], drawn: Bootstrap) -> tuple[KnobEffect, ...]:
    """Effects of all knobs that take more than one value, the largest span first.

    Args:
        knobs: name -> its value in each candidate.
        drawn: ``bootstrap`` of the candidates' table.

    Raises:
        RunError: a knob with more or fewer values than there are candidates.
    """
    factors = _factors(knobs, len(drawn.estimate))
    effects = [_effect(name, factors, drawn) for name in factors]
    return tuple(sorted(effects, key=lambda e: (not e.levels, -np.nan_to_num(e.span))))


def _factors(knobs: Mapping[str, Sequence[Any]], n_candidates: int) -> Factors:
    """Name -> levels and the level of each candidate; knobs that split alike are joined."""
    groups: dict[tuple[int, ...], list[str]] = {}
    for name, values in knobs.items():
        if len(values) != n_candidates:
            expected = f"{n_candidates} values, one a candidate"
            raise RunError(f"knob {name}", expected, len(values), "give every candidate's value")
        texts = [str(v) for v in values]
        first_seen = {text: place for place, text in enumerate(dict.fromkeys(texts))}
        if len(first_seen) > 1:
            groups.setdefault(tuple(first_seen[text] for text in texts), []).append(name)
    factors: Factors = {}
    for codes, names in groups.items():
        places = [codes.index(code) for code in range(max(codes) + 1)]
        levels = [" + ".join(str(knobs[name][p]) for name in names) for p in places]
        factors[" + ".join(names)] = (levels, np.array(codes))
    return factors


def _design(factors: Factors, left_out: str = "") -> Floats:
    """Intercept and one column a level but the first of every factor, (candidates, columns)."""
    n = len(next(iter(factors.values()))[1])
    blocks = [
        np.eye(len(levels))[codes][:, 1:]
        for name, (levels, codes) in factors.items()
        if name != left_out
    ]
    return np.concatenate([np.ones((n, 1)), *blocks], axis=1)


def _effect(name: str, factors: Factors, drawn: Bootstrap) -> KnobEffect:
    levels, codes = factors[name]
    full, without = _design(factors), _design(factors, name)
    gained = np.linalg.matrix_rank(full) - np.linalg.matrix_rank(without)
    if gained < len(levels) - 1:
        return KnobEffect(name, (), np.nan, np.nan, np.nan, np.nan)
    operator = _level_means(name, factors, np.asarray(np.linalg.pinv(full), np.float64))
    means = operator @ drawn.estimate
    order = np.argsort(-means, kind="stable")
    ends = drawn.intervals(operator - 1 / len(codes))  # against the mean over all candidates
    low, high = drawn.intervals(operator[order[:1]] - operator[order[-1:]])[0]
    effects = means - drawn.estimate.mean()
    lines = [
        Level(
            value=levels[i],
            candidates=int((codes == i).sum()),
            mean=float(means[i]),
            effect=float(effects[i]),
            low=float(ends[i, 0]),
            high=float(ends[i, 1]),
        )
        for i in order
    ]
    share = _share(full, without, drawn.estimate)
    return KnobEffect(name, tuple(lines), float(np.ptp(means)), float(low), float(high), share)


def _level_means(name: str, factors: Factors, fit: Floats) -> Floats:
    """Weights of the candidates' scores in each level's mean, (levels, candidates).

    Set every candidate to the level, predict, average; ``fit`` is (columns, candidates).
    """
    levels, codes = factors[name]
    rows = []
    for code in range(len(levels)):
        moved = factors | {name: (levels, np.full_like(codes, code))}  # same order of knobs
        rows.append(_design(moved).mean(axis=0) @ fit)
    return np.array(rows)


def _share(full: Floats, without: Floats, scores: Floats) -> float:
    total = float(np.square(scores - scores.mean()).sum())
    lost = _residual(without, scores) - _residual(full, scores)
    return lost / total if total > 1e-18 else 0.0


def _residual(design: Floats, scores: Floats) -> float:
    return float(np.square(scores - design @ (np.linalg.pinv(design) @ scores)).sum())
