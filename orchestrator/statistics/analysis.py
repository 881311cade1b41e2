"""All statistics of a leaderboard in one frozen value."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orchestrator.statistics import plain_words
from orchestrator.statistics.case_sums import CaseSums, Floats
from orchestrator.statistics.effects import main_effects
from orchestrator.statistics.findings import CandidateStatistics, Statistics
from orchestrator.statistics.intervals.bootstrap import DRAWS, Bootstrap, bootstrap
from orchestrator.statistics.intervals.comparisons import Comparisons, compare_with_first
from orchestrator.statistics.intervals.corrected_t import CorrectedT, corrected_t
from orchestrator.statistics.intervals.simultaneous import FEWEST_CASES
from orchestrator.statistics.optimism import winners_score
from orchestrator.statistics.questions.cheapest import chance_within, cheapest_within
from orchestrator.statistics.questions.drivers import drivers
from orchestrator.statistics.questions.interaction import interaction
from orchestrator.statistics.questions.margin import MARGIN, no_worse
from orchestrator.statistics.variance.components import settle, variance_components

Places = NDArray[np.int64]
BEST = 3  # as many as `ensemble --top 3` takes


def analyse(
    sums: CaseSums,
    *,
    costs: Sequence[float] | None = None,
    knobs: Mapping[str, Sequence[Any]] | None = None,
    margin: float = MARGIN,
    draws: int = DRAWS,
    seed: int = 0,
) -> Statistics:
    """All statistics of a leaderboard.

    Args:
        sums: the table of the complete candidates, in any order; of several fold plans one, made
            by ``repeated``.
        costs: of each candidate, for example seconds; NaN where unknown.
        knobs: name -> its value in each candidate, None where it is not known: of such a
            candidate no knob may be known, and it takes no part in what is said of knobs.
        margin: of score, by which the one named in the first's place may be worse.
        draws: of every bootstrap.
        seed: equal seeds give equal figures.
    """
    components = variance_components(sums)
    drawn = bootstrap(sums, components, draws, seed)
    comparisons = compare_with_first(sums, drawn)
    order = np.argsort(-drawn.estimate, kind="stable")
    cost = np.full(len(sums.names), np.nan) if costs is None else np.asarray(costs, np.float64)
    near = chance_within(drawn, comparisons.first, margin)
    best = cheapest_within(near, comparisons.tied, drawn.estimate, cost)
    plan = None
    if len(order) > 1:
        first, second = order[:2].tolist()
        repeats = len(sums.tables)
        plan = settle(sums, components, first=first, second=second, repeats=repeats)
    lines = _candidates(sums, drawn, comparisons, cost)
    enough = dataclasses.replace(drawn, possible=drawn.possible and sums.n_cases >= FEWEST_CASES)
    known = _with_knobs(knobs or {}, len(sums.names))
    settings = {n: [v for v in values if v is not None] for n, values in (knobs or {}).items()}
    if len(known) < len(sums.names):
        enough, cost = enough.only(known), cost[known]
    effects = main_effects(settings, enough, cost.tolist()) if settings else ()
    found = Statistics(
        candidates=_with_margin(lines, sums.names, drawn, near, margin),
        n_cases=sums.n_cases,
        n_folds=len(sums.fold_labels),
        n_plans=len(sums.tables),
        smallest_fold=min(int(table.fold_sizes.min()) for table in sums.tables),
        cheapest=None if best is None else sums.names[best],
        winner=winners_score(drawn, seed),
        components=components,
        settling=plan,
        effects=effects,
        interaction=interaction(settings, effects, enough) if settings else None,
        drivers=drivers(settings, effects, enough.estimate) if settings else (),
        draws=draws,
        margin=margin,
    )
    return dataclasses.replace(found, in_words=plain_words.describe(found))


def _with_knobs(knobs: Mapping[str, Sequence[Any]], candidates: int) -> Places:
    """Places of the candidates whose knobs are known, int (candidates,)."""
    known: NDArray[np.bool_] = np.ones(candidates, np.bool_)
    for values in knobs.values():
        known &= [value is not None for value in values]
    return np.flatnonzero(known)


def _with_margin(
    candidates: Sequence[CandidateStatistics],
    names: Sequence[str],
    drawn: Bootstrap,
    near: Floats,
    margin: float,
) -> tuple[CandidateStatistics, ...]:
    """The same candidates with what can be said of them and the margin."""
    chance = dict(zip(names, near.tolist(), strict=True))
    said = dict(zip(names, no_worse(drawn, margin), strict=True))
    return tuple(
        dataclasses.replace(one, chance_within_margin=chance[one.name], no_worse=said[one.name])
        for one in candidates
    )


def _candidates(
    sums: CaseSums, drawn: Bootstrap, comparisons: Comparisons, cost: Floats
) -> tuple[CandidateStatistics, ...]:
    """One line a candidate, best first."""
    first, folds = comparisons.first, sums.fold_scores()
    test_to_train = 1 / max(len(sums.fold_labels) - 1, 1)
    own = np.clip(drawn.intervals(), 0, 1)  # a score has these bounds, a stretched quantile not
    behind = comparisons.behind
    chances = [drawn.probability_among_best(count) for count in (1, BEST)]
    if not drawn.possible:
        chances = [np.full(len(own), np.nan)] * 2
    lines = []
    for rank, i in enumerate(np.argsort(-drawn.estimate, kind="stable"), 1):
        line = CandidateStatistics(
            name=sums.names[i],
            rank=rank,
            score=float(drawn.estimate[i]),
            low=float(own[i, 0]),
            high=float(own[i, 1]),
            probability_first=float(chances[0][i]),
            probability_among_best=float(chances[1][i]),
            behind=float(drawn.estimate[first] - drawn.estimate[i]),
            behind_low=float(behind.low[i]),
            behind_high=float(behind.high[i]),
            corrected_t=_within(
                corrected_t(folds[i] if i == first else folds[first] - folds[i], test_to_train), -1
            ),
            score_t=_within(corrected_t(folds[i], test_to_train), 0),
            wilcoxon_p=float(comparisons.wilcoxon_p[i]),
            holm_p=float(comparisons.holm_p[i]),
            simultaneous_p=float(behind.p[i]),
            tied=bool(comparisons.tied[i]),
            cost=float(cost[i]),
        )
        lines.append(line)
    return tuple(lines)


def _within(test: CorrectedT, least: float) -> CorrectedT:
    """The test with its interval cut to what scores (or, from -1, their differences) can be."""
    low, high = (float(np.clip(end, least, 1)) for end in (test.low, test.high))
    return dataclasses.replace(test, low=low, high=high)
