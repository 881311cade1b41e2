"""Made-up tables with a known truth, by which every statistic here is checked.

A case's score under a candidate is ``mean + effect(candidate) + case + interaction(candidate,
case) + training(candidate, fold)``, each term normal with the standard deviation of ``World``. The
defaults are of the size seen in sweeps of small networks on this contest's data. Cases may be
skewed or heavy-tailed, some may fail, and candidates may be alike in what a case holds for them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Literal

import numpy as np

from orchestrator.statistics.case_sums import CaseSums, Floats
from orchestrator.statistics.repeated import repeated

_ORGANS = 3
_FAILING, _LOSS = 0.08, 0.3  # share of cases that fail, and what a failure costs
Tails = Literal["normal", "skewed", "heavy", "failing"]


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
        tails: of difficulty and interaction alike: ``skewed``: minus an exponential; ``heavy``:
            Student's t with 3 degrees of freedom; ``failing``: normal, but of every candidate
            another 8 % of the cases lose .3.
        block: candidates in turn form blocks of this size, in which ``correlation`` is the share
            of the interaction's variance that is the same for all.
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
    tails: Tails = "normal"
    block: int = 1
    correlation: float = 0.0


@cache
def true_scores(world: World) -> tuple[float, ...]:
    """What candidates score on average, bounds of 0 and 1 and failing cases included."""
    many = replace(world, n_cases=200_000)
    rng, effects = np.random.default_rng(12345), np.array(world.effects)
    luck = rng.standard_normal((len(effects), 400)) * np.reshape(world.training_sd, (-1, 1))
    raw = _raw(many, rng) + luck[:, np.arange(many.n_cases) % 400]
    cut = (np.clip(raw, 0, 1) - raw).mean(axis=1)  # the rest of the mean is known exactly
    failing = _FAILING * _LOSS if world.tails == "failing" else 0.0
    return tuple((world.mean + effects - failing + cut).tolist())


def simulate(world: World, rng: np.random.Generator) -> CaseSums:
    """One table, of all fold plans; ``effects`` plus ``mean`` are the true scores."""
    folds = np.arange(world.n_cases) % world.n_folds
    others = [rng.permutation(folds) for _ in range(world.n_plans - 1)]
    return repeated(_tables(world, rng, [folds, *others]))


def _tables(
    world: World, rng: np.random.Generator, trainings: Sequence[np.ndarray]
) -> list[CaseSums]:
    """One table for each training of all candidates, given the folds of the cases."""
    n, size = world.n_cases, (len(world.effects), world.n_cases)
    fixed = _raw(world, rng)
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


def _raw(world: World, rng: np.random.Generator) -> Floats:
    """Scores before the luck of training, (candidates, cases)."""
    n, size = world.n_cases, (len(world.effects), world.n_cases)
    hard = (2 - rng.gamma(2, size=n)) / np.sqrt(2) if world.skewed else _drawn(world, rng, (n,))
    fixed = world.mean + world.case_sd * hard + np.array(world.effects)[:, None]
    own = _drawn(world, rng, size)
    if world.correlation:
        alike = _drawn(world, rng, size)[np.arange(size[0]) // world.block * world.block]
        own = np.sqrt(1 - world.correlation) * own + np.sqrt(world.correlation) * alike
    fixed = fixed + world.interaction_sd * own
    if world.tails == "failing":
        fixed = fixed - _LOSS * (rng.random(size) < _FAILING)
    return _float(fixed)


def _drawn(world: World, rng: np.random.Generator, size: tuple[int, ...]) -> Floats:
    """Values with mean 0 and variance 1."""
    if world.tails == "skewed":
        return 1 - rng.exponential(size=size)
    if world.tails == "heavy":
        return _float(rng.standard_t(3, size) / np.sqrt(3))
    return rng.standard_normal(size)


def _float(values: np.ndarray) -> Floats:
    return np.asarray(values, np.float64)
