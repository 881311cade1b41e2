"""Draws of scores that are made up, as ``bootstrap`` would give them."""

from __future__ import annotations

import numpy as np

from orchestrator.statistics import Bootstrap
from orchestrator.statistics.intervals.bootstrap import Spread


def bootstrap_of(draws: np.ndarray, estimate: np.ndarray, *, possible: bool = True) -> Bootstrap:
    """Draws (draws, candidates) around an estimate, without any luck of training."""
    n = draws.shape[1]
    return Bootstrap(
        estimate=estimate,
        draws=draws,
        case_draws=draws,
        training_variance=np.zeros(n),
        training=np.arange(n),
        possible=possible,
        spread=Spread(draws, np.ones(len(draws)), np.zeros_like(draws), 1000),
    )
