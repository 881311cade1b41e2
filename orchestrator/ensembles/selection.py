"""Selects members, weights and rules of an ensemble, and cross-fits the score of the selection.

A *recipe* is an average of candidates (a bag) and one rule an organ. Choosing one looks at scores,
so its score on the same cases is too high. ``cross_fit`` repeats the whole choice for each fold on
the cases of the other folds and scores it on the fold's own; the recipe to be used is then chosen
on all cases, and announced by the cross-fitted figure.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from gitract_core.errors import RunError
from gitract_core.knobs import PostprocessKnobs
from gitract_core.metrics.score import COMPETITION, Score
from orchestrator.out_of_fold.average_scores import Bag, OofMeter
from orchestrator.statistics.pooled_folds import folds_to_score

THRESHOLDS = (0.3, 0.4, 0.5, 0.6, 0.7)
WEIGHTS = ("equal", "greedy")
_PASSES = 10  # of coordinate descent; it settles in two or three


@dataclass(frozen=True, slots=True)
class Method:
    """How members and rules are chosen.

    Attributes:
        top: members of an equal average, or the most steps of the greedy selection.
        weights: ``equal``: the best ``top`` candidates; ``greedy``: Caruana et al. 2004 (doi
            10.1145/1015330.1015432), one candidate a step, with replacement, whichever makes the
            average's score highest, and of all steps the best.
        tune: also choose threshold and post-processing per organ.
        flip: also try predictions averaged with those of mirrored slices.
    """

    top: int
    weights: str = "equal"
    tune: bool = False
    flip: bool = False

    def __post_init__(self) -> None:
        if self.weights not in WEIGHTS:
            raise RunError(
                "--weights", " or ".join(WEIGHTS), repr(self.weights), "pass one of them"
            )
        if self.top < 1:
            raise RunError("--top", "1 or more", self.top, "pass the number of candidates")


@dataclass(frozen=True, slots=True)
class Recipe:
    """A choice: a bag, and for each organ the place of its rule."""

    bag: Bag
    rules: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class CrossFit:
    """A chosen recipe and what the way of choosing is worth.

    Attributes:
        recipe: chosen on all cases, to be used.
        by_fold: the recipe chosen without each fold, in the order of folds.
        announced: sums (cases, organs, columns), each case under the recipe chosen without its
            fold.
        in_sample: the same under ``recipe``, which has seen these very cases.
        cases, folds: of each case, (cases,).
        measure: the score that the sums are of.
    """

    recipe: Recipe
    by_fold: tuple[Recipe, ...]
    announced: np.ndarray
    in_sample: np.ndarray
    cases: np.ndarray
    folds: np.ndarray
    measure: Score = COMPETITION

    @property
    def score(self) -> float:
        """The announced score: mean over folds, comparable with the leaderboard."""
        return fold_mean(self.announced, self.folds, self.measure)

    @property
    def in_sample_score(self) -> float:
        """The optimistic figure that other tools announce."""
        return fold_mean(self.in_sample, self.folds, self.measure)


def cross_fit(meter: OofMeter, method: Method) -> CrossFit:
    """Choose by a method, on all cases and without each fold."""
    labels = np.unique(meter.folds)
    everywhere = np.ones(len(meter.cases), bool)
    sets = [everywhere, *(meter.folds != fold for fold in labels)]
    bags = _choose_bags(meter, method, sets)
    n_organs = meter.sums(_one(0, len(meter.lines))).shape[1]  # measured with the bags
    recipes = [
        Recipe(bag, _choose_rules(meter, bag, cases) if method.tune else (0,) * n_organs)
        for bag, cases in zip(bags, sets, strict=True)
    ]
    announced = np.empty((len(meter.cases), n_organs, len(meter.score.columns)))
    for fold, recipe in zip(labels, recipes[1:], strict=True):
        held_out = meter.folds == fold
        announced[held_out] = recipe_sums(meter, recipe)[held_out]
    return CrossFit(
        recipe=recipes[0],
        by_fold=tuple(recipes[1:]),
        announced=announced,
        in_sample=recipe_sums(meter, recipes[0]),
        cases=meter.cases,
        folds=meter.folds,
        measure=meter.score,
    )


def rule_grid(
    base: PostprocessKnobs,
    *,
    thresholds: Iterable[float] = THRESHOLDS,
    z_sigmas: Iterable[float] = (0.0, 1.0),
    gaps: Iterable[int] = (0, 3),
    smallest_mm3: Iterable[float] = (0.0, 500.0, 3000.0),
) -> tuple[PostprocessKnobs, ...]:
    """All combinations, the base rule first; beside the smallest parts the largest part alone."""
    parts = [*((smallest, "all") for smallest in smallest_mm3), (0.0, "largest")]
    rules = [
        replace(base, threshold=t, z_sigma=z, fill_gaps=g, smallest_mm3=s, parts=p)
        for t, z, g, (s, p) in itertools.product(thresholds, z_sigmas, gaps, parts)
    ]
    return tuple(dict.fromkeys([base, *rules]))


def recipe_sums(meter: OofMeter, recipe: Recipe) -> np.ndarray:
    """Sums (cases, organs, columns) of a recipe."""
    meter.measure((recipe.bag, rule) for rule in recipe.rules)
    columns = [meter.sums(recipe.bag, rule)[:, organ] for organ, rule in enumerate(recipe.rules)]
    return np.stack(columns, axis=1)


def fold_mean(sums: np.ndarray, folds: np.ndarray, score: Score = COMPETITION) -> float:
    """Mean over folds of each fold's pooled score; folds are counted as in ``pooled_folds``.

    Args:
        sums: (cases, organs, columns).
        folds: (cases,).
        score: what the sums are of.
    """
    folds = folds_to_score(sums[None], folds, score)
    totals = [sums[folds == fold].sum(axis=(0, 1)) for fold in np.unique(folds)]
    return float(score.of(np.array(totals)).mean())


def _choose_bags(meter: OofMeter, method: Method, sets: Sequence[np.ndarray]) -> list[Bag]:
    if method.weights == "greedy":
        return _greedy(meter, method.top, sets)
    count = len(meter.lines)
    singles = [_one(place, count) for place in range(count)]
    meter.measure((bag, 0) for bag in singles)
    chosen = []
    for cases in sets:
        order = sorted(range(count), key=lambda p: -_score(meter, singles[p], cases))
        best = set(order[: method.top])
        chosen.append(tuple(int(place in best) for place in range(count)))
    return chosen


def _greedy(meter: OofMeter, steps: int, sets: Sequence[np.ndarray]) -> list[Bag]:
    """All sets of cases step by step together, so that one pass over the scans serves them all."""
    count = len(meter.lines)
    bags: list[Bag] = [(0,) * count] * len(sets)
    best: list[tuple[float, Bag]] = [(-np.inf, bags[0])] * len(sets)
    for _ in range(steps):
        options = [[_added(bag, place) for place in range(count)] for bag in bags]
        meter.measure((bag, 0) for some in options for bag in some)
        for number, (cases, some) in enumerate(zip(sets, options, strict=True)):
            scores = [_score(meter, bag, cases) for bag in some]
            bags[number] = some[int(np.argmax(scores))]
            if max(scores) > best[number][0]:
                best[number] = (max(scores), bags[number])
    return [bag for _, bag in best]


def _choose_rules(meter: OofMeter, bag: Bag, cases: np.ndarray) -> tuple[int, ...]:
    return choose_rules(meter.rule_sums(bag)[:, cases].sum(axis=1), meter.score)


def choose_rules(totals: np.ndarray, score: Score = COMPETITION) -> tuple[int, ...]:
    """The rule of each organ that together score best.

    Coordinate descent from the first rule; a rule is left only for one that scores better.

    Args:
        totals: sums (rules, organs, columns).
        score: what the sums are of.
    """
    n_organs = totals.shape[1]
    choice = [0] * n_organs
    for _ in range(_PASSES):
        before = list(choice)
        for organ in range(n_organs):
            others = sum(totals[choice[o], o] for o in range(n_organs) if o != organ)
            scores = score.of(totals[:, organ] + others)
            best = int(np.nanargmax(scores)) if np.isfinite(scores).any() else 0
            if scores[best] > scores[choice[organ]] + 1e-12:
                choice[organ] = best
        if choice == before:
            break
    return tuple(choice)


def _score(meter: OofMeter, bag: Bag, cases: np.ndarray) -> float:
    """The score pooled over some cases; least where nothing can be counted."""
    score = float(meter.score.of(meter.sums(bag)[cases].sum(axis=(0, 1))))
    return score if np.isfinite(score) else -np.inf


def _one(place: int, count: int) -> Bag:
    return _added((0,) * count, place)


def _added(bag: Bag, place: int) -> Bag:
    return tuple(n + (i == place) for i, n in enumerate(bag))
