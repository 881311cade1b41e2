"""The statistics of a leaderboard: pure NumPy and SciPy on plain arrays.

``analyse(CaseSums.from_results(...))`` gives everything; the modules hold one idea each::

    case_sums     sums and counts by candidate and case: the score of any set of cases
    pooled_folds  folds in which a candidate has nothing to score
    repeated      the same cases in several fold plans
    variance/     where the spread comes from: components, pooling, the luck of training
    intervals/    bootstrap, all differences from the first at once, ties, sets to come, tests
    optimism      the winner's score without the luck of its choice
    effects       which knob matters
    questions/    what people ask: the cheapest, a margin, interactions, patients needed
    findings      all of it as frozen values
    plain_words   all of it in one paragraph

It knows nothing of files, torch or terminals.
"""

from __future__ import annotations

from orchestrator.statistics.analysis import analyse
from orchestrator.statistics.case_sums import CaseSums
from orchestrator.statistics.effects import KnobEffect, Level, main_effects
from orchestrator.statistics.findings import CandidateStatistics, Statistics
from orchestrator.statistics.intervals.bootstrap import Bootstrap, bootstrap
from orchestrator.statistics.intervals.comparisons import Comparisons, compare_with_first, holm
from orchestrator.statistics.intervals.corrected_t import CorrectedT, corrected_t
from orchestrator.statistics.optimism import Optimism, winners_score
from orchestrator.statistics.pooled_folds import pooled_folds
from orchestrator.statistics.repeated import repeated
from orchestrator.statistics.variance.components import (
    Components,
    Settling,
    settle,
    variance_components,
)

__all__ = [
    "Bootstrap",
    "CandidateStatistics",
    "CaseSums",
    "Comparisons",
    "Components",
    "CorrectedT",
    "KnobEffect",
    "Level",
    "Optimism",
    "Settling",
    "Statistics",
    "analyse",
    "bootstrap",
    "compare_with_first",
    "corrected_t",
    "holm",
    "main_effects",
    "pooled_folds",
    "repeated",
    "settle",
    "variance_components",
    "winners_score",
]
