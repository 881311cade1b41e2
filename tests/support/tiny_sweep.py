"""A sweep small enough for tests: seconds for all of it."""

from __future__ import annotations

from pathlib import Path

from gitract_core.spec import Candidate
from orchestrator.sweeps.preparation import PreparedSweep, SweepRequest, prepare
from search_spaces import SearchSpace

KNOBS = {
    "network.widths": "4,8",
    "network.depth": 1,
    "input.size": 32,
    "input.channels": 1,
    "optimizer.learning_rate": 0.01,
    "optimizer.batch_size": 4,
    "training.epochs": 3,
}

SPACE = """
folds: 2
loss: [bce, bce + dice]
network: {widths: "4,8", depth: 1}
input: {size: 32, channels: 1}
optimizer: {learning_rate: 0.01, batch_size: 4}
"""
"""Much the same as a file; it lacks ``training``."""


def tiny_space(*changes: dict[str, object], folds: int = 2) -> SearchSpace:
    """A space of one candidate a change of ``KNOBS``."""
    candidates = tuple(Candidate.from_knobs({**KNOBS, **c}) for c in changes or ({},))
    return SearchSpace("tiny", "", candidates, folds, 0)


def prepare_tiny(data: Path, out: Path, *changes: dict[str, object]) -> PreparedSweep:
    """A prepared sweep of such a space."""
    return prepare(SweepRequest(data, tiny_space(*changes), out))
