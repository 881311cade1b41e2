"""What a leaderboard's figures are worth, as frozen values; ``analysis`` makes them."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

from orchestrator.statistics.effects import KnobEffect
from orchestrator.statistics.intervals.corrected_t import CorrectedT
from orchestrator.statistics.intervals.simultaneous import FEWEST_CASES
from orchestrator.statistics.optimism import Optimism
from orchestrator.statistics.questions.drivers import Driver
from orchestrator.statistics.questions.interaction import Interaction
from orchestrator.statistics.questions.margin import MARGIN, NoWorse
from orchestrator.statistics.variance.components import Components, Settling


@dataclass(frozen=True)
class CandidateStatistics:
    """One candidate; NaN where a figure cannot be said.

    Attributes:
        name: its label.
        rank: from 1, by score.
        score: mean over folds of the fold's pooled score.
        low, high: 95 % interval of ``score``, by the bootstrap, 0 to 1.
        probability_first, probability_among_best: share of draws in which it is the best, and
            among the best three.
        behind: the first's score less this one's.
        behind_low, behind_high: interval of the first's true score less this one's; those of all
            candidates hold together in 95 % of sweeps, whichever is first (``simultaneous``).
            NaN with too few cases.
        corrected_t: Nadeau-Bengio test of ``behind`` over folds, with its own interval, which does
            not know that the first was chosen; of ``score`` itself for the first.
        score_t: the same of ``score``; its interval alone is of interest.
        wilcoxon_p, holm_p, simultaneous_p, tied: see ``Comparisons``.
        cost: as given, NaN where none was.
        chance_within_margin: probability of being no worse than the first by more than the margin.
        no_worse: whether it is no worse than the truly best one by more than the margin, for all
            candidates at once (``questions.margin``).
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
    score_t: CorrectedT
    wilcoxon_p: float
    holm_p: float
    simultaneous_p: float
    tied: bool
    cost: float
    chance_within_margin: float = math.nan
    no_worse: NoWorse = "cannot say"


@dataclass(frozen=True)
class Statistics:
    """What a leaderboard's figures are worth.

    Attributes:
        candidates: best first.
        n_cases, n_folds: of the table.
        n_plans: fold plans, in each of which all cases are parted into ``n_folds``.
        smallest_fold: cases of the smallest fold; with 1 there is no bootstrap.
        cheapest: name of the cheapest candidate of the tie group that is shown to be no worse than
            the first by more than ``margin`` (see ``questions.cheapest``); None where no cost is
            known, or nothing can be shown.
        winner: the first's score without the optimism of its choice.
        components: where the spread comes from.
        settling: what would tell the first from the second; None with one candidate.
        effects: of the knobs, the one with the largest span first; empty without knobs.
        interaction: the two knobs with the largest effects, crossed; None with fewer.
        drivers: effects that come from one failing level.
        draws: of every bootstrap.
        margin: of score, for ``cheapest`` and ``no_worse``.
        in_words: one paragraph of plain English.
    """

    candidates: tuple[CandidateStatistics, ...]
    n_cases: int
    n_folds: int
    n_plans: int
    smallest_fold: int
    cheapest: str | None
    winner: Optimism
    components: Components
    settling: Settling | None
    effects: tuple[KnobEffect, ...]
    draws: int
    interaction: Interaction | None = None
    drivers: tuple[Driver, ...] = ()
    margin: float = MARGIN
    in_words: str = ""

    @property
    def too_few(self) -> bool:
        """Whether there are too few cases to say how far apart candidates are."""
        return self.smallest_fold < 2 or self.n_cases < FEWEST_CASES

    @property
    def tie_group(self) -> tuple[CandidateStatistics, ...]:
        """Every candidate that cannot be told from the first, itself included, best first."""
        return tuple(c for c in self.candidates if c.tied)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; what cannot be said, and what is infinite, is None."""
        values = {f.name: _plain(getattr(self, f.name)) for f in dataclasses.fields(self)}
        values["components"].pop("luck")  # what draws are made from, not a finding
        tied = [c.name for c in self.tie_group]
        return {**values, "tie_group": tied}


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, tuple):
        return [_plain(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
