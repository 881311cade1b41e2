"""All statistics of a leaderboard in one frozen value."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from orchestrator.statistics import plain_words
from orchestrator.statistics.bootstrap import DRAWS, Bootstrap, bootstrap
from orchestrator.statistics.case_sums import CaseSums, Floats
from orchestrator.statistics.comparisons import Comparisons, cheapest, compare_with_first
from orchestrator.statistics.components import (
    Components,
    Settling,
    merge_seeds,
    settle,
    variance_components,
)
from orchestrator.statistics.corrected_t import CorrectedT, corrected_t
from orchestrator.statistics.effects import KnobEffect, main_effects
from orchestrator.statistics.optimism import Optimism, bbc_cv

BEST = 3  # as many as `ensemble --top 3` takes
FAIR_CHANCE = 0.05  # of being the best, that the cheapest candidate named must have


@dataclass(frozen=True)
class CandidateStatistics:
    """One candidate; NaN where a figure cannot be said.

    Attributes:
        name: its label.
        rank: from 1, by score.
        score: mean over folds of the fold's pooled score.
        low, high: 95 % interval of ``score``, by the bootstrap.
        probability_first, probability_among_best: share of draws in which it is the best, and
            among the best ``BEST``.
        behind: the first's score less this one's.
        behind_low, behind_high: 95 % interval of ``behind``, by the bootstrap.
        corrected_t: Nadeau-Bengio test of ``behind`` over folds, with its own interval; of
            ``score`` itself (interval alone of interest) for the first.
        wilcoxon_p, holm_p, simultaneous_p, tied: see ``Comparisons``.
        cost: as given, NaN where none was.
    """

    name: str
    rank: int
    score: float
    low: float
    high: float
    probability_first: float
    probability_among_best: float
    behind: float
    behind_low: float
    behind_high: float
    corrected_t: CorrectedT
    wilcoxon_p: float
    holm_p: float
    simultaneous_p: float
    tied: bool
    cost: float


@dataclass(frozen=True)
class Statistics:
    """What a leaderboard's figures are worth.

    Attributes:
        candidates: best first.
        n_cases, n_folds, n_seeds: of the table; seeds are trainings of each (candidate, fold).
        n_plans: fold plans, in each of which all cases are parted into ``n_folds``.
        smallest_fold: cases of the smallest fold; with 1 there is no bootstrap.
        cheapest: name of the cheapest candidate of the tie group that has a fair chance of being
            the best (one that fails now and then can be too unsteady to be told from the first,
            and yet be far behind); None where no cost is known.
        winner: the first's score without the optimism of its choice.
        components: where the spread comes from.
        settling: what would tell the first from the second; None with one candidate.
        effects: of the knobs, the one with the largest span first; empty without knobs.
        draws: of every bootstrap.
    """

    candidates: tuple[CandidateStatistics, ...]
    n_cases: int
    n_folds: int
    n_seeds: int
    n_plans: int
    smallest_fold: int
    cheapest: str | None
    winner: Optimism
    components: Components
    settling: Settling | None
    effects: tuple[KnobEffect, ...]
    draws: int = DRAWS

    @property
    def tie_group(self) -> tuple[CandidateStatistics, ...]:
        """Every candidate that cannot be told from the first, itself included, best first."""
        return tuple(c for c in self.candidates if c.tied)

    @property
    def in_words(self) -> str:
        """One paragraph of plain English."""
        return plain_words.describe(self)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; what cannot be said, and what is infinite, is None."""
        values = {f.name: _plain(getattr(self, f.name)) for f in dataclasses.fields(self)}
        tied = [c.name for c in self.tie_group]
        return {**values, "tie_group": tied, "in_words": self.in_words}


def analyse(
    *seeds: CaseSums,
    costs: Sequence[float] | None = None,
    knobs: Mapping[str, Sequence[Any]] | None = None,
    draws: int = DRAWS,
    seed: int = 0,
) -> Statistics:
    """All statistics of a leaderboard.

    Args:
        seeds: the table of the complete candidates, in any order; several where every candidate
            was trained with several seeds on the same folds. Of several fold plans: one, made by
            ``repeated``.
        costs: of each candidate, for example seconds; NaN where unknown.
        knobs: name -> its value in each candidate.
        draws: of every bootstrap.
        seed: equal seeds give equal figures.

    Raises:
        RunError: tables of seeds that do not match.
    """
    sums = merge_seeds(seeds)
    repeats = len(seeds) * len(sums.tables)
    components = variance_components(*seeds)
    drawn = bootstrap(sums, components, draws, seed)
    comparisons = compare_with_first(sums, drawn)
    order = np.argsort(-drawn.estimate, kind="stable")
    cost = np.full(len(sums.names), np.nan) if costs is None else np.asarray(costs, np.float64)
    fair = drawn.probability_among_best(1) >= FAIR_CHANCE if drawn.possible else comparisons.tied
    fair[comparisons.first] = True
    best = cheapest(comparisons.tied & fair, cost)
    pair = (int(order[0]), int(order[1])) if len(order) > 1 else None
    return Statistics(
        candidates=_candidates(sums, drawn, comparisons, cost),
        n_cases=sums.n_cases,
        n_folds=len(sums.fold_labels),
        n_seeds=len(seeds),
        n_plans=len(sums.tables),
        smallest_fold=min(int(table.fold_sizes.min()) for table in sums.tables),
        cheapest=None if best is None else sums.names[best],
        winner=bbc_cv(sums, components, draws, seed),
        components=components,
        settling=settle(sums, components, pair, repeats) if pair else None,
        effects=main_effects(knobs, drawn) if knobs else (),
        draws=draws,
    )


def _candidates(
    sums: CaseSums, drawn: Bootstrap, comparisons: Comparisons, cost: Floats
) -> tuple[CandidateStatistics, ...]:
    """One line a candidate, best first."""
    first, folds = comparisons.first, sums.fold_scores()
    test_to_train = 1 / max(len(sums.fold_labels) - 1, 1)
    own = np.clip(drawn.intervals(), 0, 1)  # a score has these bounds, a stretched quantile not
    behind = drawn.differences(first)
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
            behind_low=float(behind[i, 0]),
            behind_high=float(behind[i, 1]),
            corrected_t=corrected_t(
                folds[i] if i == first else folds[first] - folds[i], test_to_train
            ),
            wilcoxon_p=float(comparisons.wilcoxon_p[i]),
            holm_p=float(comparisons.holm_p[i]),
            simultaneous_p=float(comparisons.simultaneous_p[i]),
            tied=bool(comparisons.tied[i]),
            cost=float(cost[i]),
        )
        lines.append(line)
    return tuple(lines)


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, tuple):
        return [_plain(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
