"""Made-up tables with a known truth, by which every statistic here is checked.

A case's score under a candidate is ``mean + effect(candidate) + case + interaction(candidate,
case) + training(candidate, fold)``, each term normal with the standard deviation of ``World``. The
defaults are of the size seen in sweeps of small networks on this contest's data.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from orchestrator.statistics.case_sums import CaseSums, Floats
from orchestrator.statistics.repeated import repeated

_ORGANS = 3


@dataclass(frozen=True)
class World:
    """What is drawn.

    Attributes:
        effects: true effect of each candidate on the score.
        n_cases, n_folds: cases are dealt to the folds in turn.
        case_sd: of the difficulty that a case has for every candidate.
        interaction_sd: of what a case holds for one candidate alone.
        training_sd: of the luck of one training, shared by the cases of its fold; one for all
            candidates or one for each.
        skewed: difficulty as gamma instead of normal: many good cases and a tail of bad ones.
        mean: true score of a candidate with effect 0.
        n_plans: fold plans, the first one dealt in turn, the others at random.
    """

    effects: tuple[float, ...] = (0.0,) * 10
    n_cases: int = 85
    n_folds: int = 5
    case_sd: float = 0.08
    interaction_sd: float = 0.03
    training_sd: float | tuple[float, ...] = 0.006
    skewed: bool = False
    mean: float = 0.68
    n_plans: int = 1


def simulate(world: World, rng: np.random.Generator) -> CaseSums:
    """One table, of all fold plans; ``effects`` plus ``mean`` are the true scores."""
    folds = np.arange(world.n_cases) % world.n_folds
    others = [rng.permutation(folds) for _ in range(world.n_plans - 1)]
    return repeated(_tables(world, rng, [folds, *others]))


def _tables(
    world: World, rng: np.random.Generator, trainings: Sequence[np.ndarray]
) -> list[CaseSums]:
    """One table for each training of all candidates, given the folds of the cases."""
    n = world.n_cases
    hard = (2 - rng.gamma(2, size=n)) / np.sqrt(2) if world.skewed else rng.standard_normal(n)
    size = (len(world.effects), n)
    fixed = world.mean + world.case_sd * hard + np.array(world.effects)[:, None]
    fixed = fixed + world.interaction_sd * rng.standard_normal(size)
    rows = rng.integers(60, 200, (n, _ORGANS))
    volumes = np.repeat(rng.integers(1, 6, n)[:, None], _ORGANS, axis=1)
    names = tuple(f"candidate {place}" for place in range(size[0]))
    tables = []
    for folds in trainings:
        luck = rng.standard_normal((size[0], world.n_folds))
        luck *= np.reshape(world.training_sd, (-1, 1))
        scores = np.clip(fixed + luck[:, folds], 0, 1)[..., None]  # (candidates, cases, 1)
        counts = np.broadcast_arrays(rows * np.ones_like(scores), volumes * np.ones_like(scores))
        values = np.stack([counts[0] * scores, counts[0], counts[1] * scores, counts[1]], axis=-1)
        tables.append(CaseSums(names, tuple(map(str, range(n))), folds, _float(values)))
    return tables


def _float(values: np.ndarray) -> Floats:
    return np.asarray(values, np.float64)
