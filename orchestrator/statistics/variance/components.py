"""Where the spread of scores comes from, and what would settle rank 1 against rank 2.

A crossed and nested design: candidates are crossed with cases, cases are nested in folds. The
variances are those that make the observed mean squares equal their expectations (Searle, Casella
and McCulloch, Variance Components, 1992, chapter 4), exact for folds of unequal size.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from orchestrator.statistics.case_sums import CaseSums, Floats
from orchestrator.statistics.variance.influences import case_influences, within_folds
from orchestrator.statistics.variance.influences import linearized_scores as linearized_scores
from orchestrator.statistics.variance.luck_units import luck_units
from orchestrator.statistics.variance.plausible import LuckUnits
from orchestrator.statistics.variance.pooling import first_of_each

_ROUNDING = 1e-24  # of a sum of squared scores


@dataclass(frozen=True)
class Components:
    """Variances of one candidate's score on one case, in squared score; NaN where unknown.

    Attributes:
        candidate: between candidates. What a sweep is for.
        fold: between folds, for all candidates alike, beyond what their cases explain.
        case: between cases of a fold, for all candidates alike.
        interaction: candidate by case, with the noise of a single case.
        training: candidate by fold: the luck of one training (or of the mean over fold plans, where
            there are several) and of its training set.
        mean_square: of candidate by fold as observed: ``training`` and ``sampling`` together.
        sampling: the part of ``mean_square`` that the cases explain.
        training_df: degrees of freedom behind ``mean_square``.
        luck: see ``plausible_luck``; found by ``variance_components``.
        of_training: place in ``luck`` of each candidate; those of one training share it.
    """

    candidate: float
    fold: float
    case: float
    interaction: float
    training: float
    mean_square: float
    sampling: float
    training_df: int
    luck: LuckUnits | None = None
    of_training: tuple[int, ...] = ()

    @property
    def known_training(self) -> Floats:
        """Luck of training, of each candidate or (1,) of all; 0 where it is unknown.

        The typical values of ``luck`` where it tells the candidates' apart, else ``training``.
        """
        if self.luck and len(self.luck.df) > 1:
            return self.luck.typical()[list(self.of_training)]
        return np.array([self.common_training])

    @property
    def common_training(self) -> float:
        """``training``; 0 where it is unknown."""
        return _zero(self.training)

    def plausible_luck(self, trainings: int) -> LuckUnits | None:
        """What plausible values of ``training`` are drawn from; None where nothing is known.

        Args:
            trainings: whose luck is drawn; the common value stands for others than the table's.
        """
        fits = self.luck is not None and len(self.luck.df) in (1, trainings)
        if fits or math.isnan(self.training):
            return self.luck
        df = float(self.training_df)
        return LuckUnits((self.mean_square,), (df,), (self.sampling,), df)


def variance_components(sums: CaseSums) -> Components:
    """The components of a table; with several fold plans those of its mean over them.

    Estimates below zero, which chance makes where the truth is near zero, are set to 0. A variance
    that has no degrees of freedom here is NaN: ``interaction`` and ``training`` with one candidate
    or one case a fold, ``fold`` with one fold, ``candidate`` with one candidate.

    Fold plans are estimated one by one and averaged; trainings of different plans are taken to be
    independent, as those of different folds are.
    """
    found = _of_plans(sums)
    of_training = np.searchsorted(first_of_each(sums.training), sums.training)
    return dataclasses.replace(
        found,
        luck=luck_units(sums, found.mean_square, found.sampling),
        of_training=tuple(of_training.tolist()),
    )


def _of_plans(sums: CaseSums) -> Components:
    tables = sums.tables
    if len(tables) == 1:
        return _of_one_plan(sums)
    each = [_of_one_plan(table) for table in tables]

    def mean(name: str) -> float:
        return float(np.mean([getattr(one, name) for one in each]))

    of_trainings = ("training", "mean_square", "sampling")
    values = {name: mean(name) for name in ("fold", "case", "interaction", *of_trainings)}
    for name in of_trainings:
        values[name] /= len(tables)  # of the mean of so many trainings
    n_folds, n_candidates = len(sums.fold_labels), len(sums.names)
    scores = sums.fold_scores().mean(axis=1)
    spread = _ratio(np.square(scores - scores.mean()).sum(), n_candidates - 1)
    return Components(
        candidate=max(spread - values["mean_square"] / n_folds, 0.0),
        training_df=sum(one.training_df for one in each),
        luck=None,
        of_training=(),
        **values,
    )


def _of_one_plan(sums: CaseSums) -> Components:
    sizes = sums.fold_sizes
    n_candidates, n_folds = len(sums.names), len(sizes)
    fold_scores = sums.fold_scores()
    within = within_folds(sums)
    common = within.mean(axis=0)
    case_df, others = sums.n_cases - n_folds, n_candidates - 1
    interaction = _ratio(np.square(within - common).sum(), others * case_df)
    case = _ratio(np.square(common).sum(), case_df) - _zero(interaction) / n_candidates
    inverse = float(np.mean(1 / sizes))
    centered = fold_scores - fold_scores.mean(0) - fold_scores.mean(1, keepdims=True)
    centered = centered + fold_scores.mean()
    training_df = others * (n_folds - 1)
    mean_square = _ratio(np.square(centered).sum(), training_df)  # of the fold scores
    common_folds = _ratio(np.square(fold_scores.mean(0) - fold_scores.mean()).sum(), n_folds - 1)
    candidates = _ratio(np.square(fold_scores.mean(1) - fold_scores.mean()).sum(), others)
    return Components(
        candidate=max(candidates - mean_square / n_folds, 0.0),
        fold=_at_least_0(common_folds - _zero(mean_square) / n_candidates - case * inverse),
        case=_at_least_0(case),
        interaction=interaction,
        training=_at_least_0(mean_square - interaction * inverse),
        mean_square=mean_square,
        sampling=interaction * inverse,
        training_df=training_df,
    )


@dataclass(frozen=True)
class Settling:
    """What it would take to tell the first from the second, by the rule of ``settle``.

    Attributes:
        difference: of their scores, as observed.
        target_sd: the standard error at which that difference would be found.
        present_sd: the standard error now.
        repeats: trainings of each (candidate, fold), those done included, that reach the target on
            these cases; infinite where none suffices; NaN where it cannot be said.
        cases: cases that reach it with ``repeats_with_cases`` trainings each; today's number where
            repeats suffice; infinite where the two are equal; NaN where it cannot be said.
        repeats_with_cases: see ``cases``.
        power: chance of finding the difference then.
    """

    difference: float
    target_sd: float
    present_sd: float
    repeats: float
    cases: float
    repeats_with_cases: float
    power: float = 0.8


def settle(
    sums: CaseSums, components: Components, *, first: int, second: int, repeats: int = 1
) -> Settling:
    """How many repeats or cases would settle one candidate against another.

    Power calculation for a two-sided 5 % test with power 80 %: the standard error must fall to
    ``|difference| / (1.960 + 0.842)``. Its square consists of a part of the cases, which shrinks
    only with more cases (1/n), and a part of the trainings, which shrinks with repeats (1/r).

    Assumptions: the observed difference is the true one (it is rather too large, for the first was
    chosen for its score); new cases are like these; the luck of training comes from the seed and
    does not depend on the number of cases; the scores are near enough to normal.

    Args:
        sums: the table.
        components: of that table.
        first: place of a candidate.
        second: place of the other.
        repeats: trainings of each candidate on each case so far, one a fold plan.
    """
    power = 0.8
    smallest = min(int(table.fold_sizes.min()) for table in sums.tables)
    n_folds = len(sums.fold_labels)
    two = sums.take([first, second])
    difference = float(np.subtract(*two.fold_scores().mean(axis=1)))
    target = (abs(difference) / float(ndtri(0.975) + ndtri(power))) ** 2
    if smallest < 2 or math.isnan(components.training):
        nan = math.nan
        return Settling(difference, math.sqrt(target), nan, nan, nan, nan, power)
    from_cases = _variance_from_cases(two)
    luck = float(np.broadcast_to(components.known_training, len(sums.names))[[first, second]].sum())
    luck *= sums.training[first] != sums.training[second]  # the same networks share theirs
    of_one = luck * repeats / n_folds  # of one training of each
    present = from_cases + of_one / repeats
    needed = _enough(of_one, target - from_cases)
    cases, with_cases = float(sums.n_cases), needed
    if math.isinf(needed):
        with_cases = _enough(of_one, target / 2)
        left = target - of_one / with_cases
        cases = math.ceil(sums.n_cases * from_cases / left) if left > 0 else math.inf
    return Settling(
        difference, math.sqrt(target), math.sqrt(present), needed, cases, with_cases, power
    )


def _variance_from_cases(two: CaseSums) -> float:
    """Variance of the difference of two candidates' scores that other cases would make."""
    influence = [np.subtract(*case_influences(table)) for table in two.tables]
    total = float(np.square(np.sum(influence, axis=0)).sum())
    for table, inside in zip(two.tables, influence, strict=True):
        sizes = dict(zip(table.fold_labels, table.fold_sizes.tolist(), strict=True))
        size = np.array([sizes[fold] for fold in table.folds.tolist()])
        total -= float((np.square(inside) / size).sum())  # see ``case_influences``
    return max(total, 0.0) / len(influence) ** 2


def _enough(variance: float, room: float) -> float:
    """The smallest whole number r of at least 1 with variance / r <= room."""
    if room <= 0:
        return math.inf
    return float(max(1, math.ceil(variance / room - 1e-9)))


def _ratio(total: float, df: int) -> float:
    """A mean square; exactly 0 where only rounding is left."""
    if df <= 0:
        return math.nan
    return float(total) / df if total > _ROUNDING else 0.0


def _zero(value: float) -> float:
    return 0.0 if math.isnan(value) else value


def _at_least_0(value: float) -> float:
    return value if math.isnan(value) else max(value, 0.0)
