"""Which knob matters: mean score of each level, averaged over all other knobs.

Additive least squares (one factor a knob, no interactions), so that grids with holes and random
searches are served too: "least-squares means" (Searle, Speed and Milliken, The American
Statistician 34, 1980). In a full grid they are plain means over the candidates with that level.

The best level of a knob, and the knob with the largest effect, are chosen on the data that they are
judged on. So the intervals of differences between levels hold for all pairs of levels of all knobs
at once: each reaches as many standard errors to both sides as the largest of all these differences
does in 95 % of the draws (max-T; Westfall and Young, Resampling-Based Multiple Testing, 1993).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gitract_core.errors import RunError, counted
from orchestrator.statistics.case_sums import Floats
from orchestrator.statistics.intervals.bootstrap import LEVEL, Bootstrap, within_scores

Factors = dict[str, tuple[list[str], np.ndarray]]  # knob -> levels, level of each candidate
_NOTHING = 1e-12  # a standard error that is rounding alone


@dataclass(frozen=True)
class Level:
    """One value of a knob.

    Attributes:
        value: as text.
        candidates: number with it.
        mean: score, averaged over all other knobs.
        effect: ``mean`` less the mean over all candidates.
        low, high: interval of ``effect``: paired, so that hard cases cancel.
        behind: mean of the best level less ``mean``.
        behind_low, behind_high: interval of ``behind``, corrected for the choice of levels and
            knobs (see the module); NaN for the best level itself.
        cost: as the candidates' costs, averaged over all other knobs; NaN where one is unknown.
    """

    value: str
    candidates: int
    mean: float
    effect: float
    low: float
    high: float
    behind: float = math.nan
    behind_low: float = math.nan
    behind_high: float = math.nan
    cost: float = math.nan


@dataclass(frozen=True)
class KnobEffect:
    """One knob, or several that always change together and cannot be told apart.

    Attributes:
        knob: its name, or the names joined by " + ".
        levels: best first; empty where other knobs together say all that it says, so that its own
            part cannot be told.
        span: mean of the best level less that of the worst; NaN without levels.
        low, high: interval of ``span``, corrected for the choice of levels and knobs.
        share: of the variance between candidates' scores, what is lost without this knob; the
            shares of a full grid and of its interactions add up to 1. NaN without levels.
    """

    knob: str
    levels: tuple[Level, ...]
    span: float
    low: float
    high: float
    share: float


def main_effects(
    knobs: Mapping[str, Sequence[Any]], drawn: Bootstrap, costs: Sequence[float] | None = None
) -> tuple[KnobEffect, ...]:
    """Effects of all knobs that take more than one value, the largest span first.

    Args:
        knobs: name -> its value in each candidate.
        drawn: ``bootstrap`` of the candidates' table.
        costs: of each candidate; NaN where unknown.

    Raises:
        RunError: a knob with more or fewer values than there are candidates.
    """
    n = len(drawn.estimate)
    cost = np.full(n, np.nan) if costs is None else np.asarray(costs, np.float64)
    factors = factors_of(knobs, n)
    weights = {name: level_weights(name, factors) for name in factors}
    reach = _reach([w for w in weights.values() if w is not None], drawn)
    effects = [_effect(name, factors, weights[name], drawn, reach, cost) for name in factors]
    return tuple(sorted(effects, key=lambda e: (not e.levels, -np.nan_to_num(e.span))))


def level_weights(name: str, factors: Factors) -> Floats | None:
    """Weights of the candidates' scores in each level's mean, (levels, candidates).

    None where other knobs together say all that this one says.
    """
    full, without = _design(factors), _design(factors, name)
    gained = np.linalg.matrix_rank(full) - np.linalg.matrix_rank(without)
    if gained < len(factors[name][0]) - 1:
        return None
    return _level_means(name, factors, np.asarray(np.linalg.pinv(full), np.float64))


def _reach(weights: Sequence[Floats], drawn: Bootstrap) -> float:
    """Standard errors that an interval reaches to both sides; NaN without a bootstrap."""
    pairs = [rows[i] - rows[:i] for rows in weights for i in range(1, len(rows))]
    return simultaneous_reach(np.concatenate(pairs), drawn) if pairs else math.nan


def simultaneous_reach(contrasts: Floats, drawn: Bootstrap, level: float = LEVEL) -> float:
    """How many standard errors hold the largest of some differences in 95 % of the draws.

    Args:
        contrasts: weights of the candidates' scores, (differences, candidates).
        drawn: of the candidates' table.
        level: nominal coverage of all intervals together.

    Returns:
        The half width of each interval in standard errors (``spread``); NaN without a bootstrap.
    """
    if not drawn.possible:
        return math.nan
    moved = (drawn.draws - drawn.draws.mean(axis=0)) @ contrasts.T
    error = moved.std(axis=0)
    ratios = np.abs(moved[:, error > _NOTHING]) / error[error > _NOTHING]
    return float(np.quantile(ratios.max(axis=1), level)) if ratios.shape[1] else 0.0


def spread(contrasts: Floats, drawn: Bootstrap) -> Floats:
    """Standard errors of differences over the draws, (differences,)."""
    return np.asarray((drawn.draws @ np.atleast_2d(contrasts).T).std(axis=0))


def factors_of(knobs: Mapping[str, Sequence[Any]], n_candidates: int) -> Factors:
    """Name -> levels and the level of each candidate; knobs that split alike are joined."""
    groups: dict[tuple[int, ...], list[str]] = {}
    for name, values in knobs.items():
        if len(values) != n_candidates:
            expected = f"{counted(n_candidates, 'value')}, one a candidate"
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


def _effect(
    name: str,
    factors: Factors,
    weights: Floats | None,
    drawn: Bootstrap,
    reach: float,
    costs: Floats,
) -> KnobEffect:
    if weights is None:
        return KnobEffect(name, (), np.nan, np.nan, np.nan, np.nan)
    levels, codes = factors[name]
    means = weights @ drawn.estimate
    order = np.argsort(-means, kind="stable")
    against_mean = weights - 1 / len(codes)
    ends = within_scores(drawn.intervals(against_mean), against_mean)
    against_best = weights[order[0]] - weights
    behind = against_best @ drawn.estimate
    half = reach * spread(against_best, drawn)
    half[order[0]] = math.nan
    reached = within_scores(np.stack([behind - half, behind + half], axis=1), against_best)
    seconds = weights @ costs
    lines = [
        Level(
            value=levels[i],
            candidates=int((codes == i).sum()),
            mean=float(means[i]),
            effect=float(means[i] - drawn.estimate.mean()),
            low=float(ends[i, 0]),
            high=float(ends[i, 1]),
            behind=float(behind[i]),
            behind_low=float(reached[i, 0]),
            behind_high=float(reached[i, 1]),
            cost=float(seconds[i]),
        )
        for i in order
    ]
    worst = lines[-1]
    share = _share(_design(factors), _design(factors, name), drawn.estimate)
    return KnobEffect(name, tuple(lines), worst.behind, worst.behind_low, worst.behind_high, share)


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
