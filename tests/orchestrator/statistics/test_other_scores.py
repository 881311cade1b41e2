"""Everything that ranks works on sums and counts: with another score than the contest's, too."""

from __future__ import annotations

from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from gitract_core.errors import RunError
from gitract_core.metrics.scan_score import ScanScore
from gitract_core.metrics.score import COMPETITION, SCAN_DICE, SLICE_DICE, Mixture, Score
from gitract_core.organs import Organs
from gitract_core.results.score_table import per_case_sums
from orchestrator.ensembles.selection import Method, cross_fit, fold_mean
from orchestrator.out_of_fold.average_scores import Bag, OofMeter
from orchestrator.statistics import CaseSums, analyse, bootstrap, repeated, variance_components
from orchestrator.statistics.variance.components import linearized_scores
from orchestrator.steering.race_rule import RacingRule, decide, table

ORGANS = Organs(("liver", "spleen"))
FOLDS = {str(case): case % 4 for case in range(24)}
SCORES: list[Score] = [SCAN_DICE, Mixture((SCAN_DICE, SLICE_DICE), (0.25, 0.75)), COMPETITION]
QUALITY = (0.5, 0.8, 0.65, 0.3)  # the second is by far the best


def scan(quality: float, random: np.random.Generator) -> ScanScore:
    """Two organs, some slices; two thirds of both sides' pixels are shared at quality 2/3."""
    size = (len(ORGANS), int(random.integers(3, 9)))
    pixels = random.integers(200, 900, size)
    share = np.clip(quality + random.normal(0, 0.03, size), 0, 1)
    shared = (share * pixels).astype(int)
    return ScanScore(shared, pixels, pixels, np.clip(1 - share.mean(axis=1), 0, 1))


def results(score: Score) -> dict[str, dict[str, dict[str, list[float]]]]:
    found = {}
    for place, quality in enumerate(QUALITY):
        random = np.random.default_rng(place)
        scans = {f"{case}-{n}": scan(quality, random) for case in FOLDS for n in range(2)}
        case_of = {name: name.partition("-")[0] for name in scans}
        found[f"candidate {place}"] = per_case_sums(scans, case_of, score=score)
    return found


def sums_of(score: Score) -> CaseSums:
    return CaseSums.from_results(results(score), FOLDS, score=score)


@pytest.fixture(params=SCORES, ids=lambda score: score.name)
def score(request: pytest.FixtureRequest) -> Score:
    return cast(Score, request.param)


def test_case_sums_give_the_score_of_any_cases(score: Score) -> None:
    sums = sums_of(score)
    assert sums.values.shape == (4, 24, 2, len(score.columns))
    assert sums.scores() == pytest.approx(QUALITY, abs=0.02)
    weights = np.arange(24) % 3
    by_hand = (sums.values * weights[:, None, None]).sum(axis=(1, 2))
    np.testing.assert_allclose(sums.scores(weights), score.of(by_hand))
    assert sums.take([2, 0]).score == score
    np.testing.assert_allclose(
        linearized_scores(sums)[:, sums.folds == 1].mean(axis=1), sums.fold_scores()[:, 1]
    )
    both = repeated(
        [sums, CaseSums(sums.names, sums.cases, (sums.folds + 1) % 4, sums.values, score=score)]
    )
    np.testing.assert_allclose(both.case_scores(), sums.case_scores())


def test_columns_of_another_score_are_refused() -> None:
    with pytest.raises(RunError, match="scan_dice_sum, scan_dice_volumes"):
        CaseSums.from_results(results(COMPETITION), FOLDS, score=SCAN_DICE)
    with pytest.raises(RunError, match=r"organs, 4\)"):
        CaseSums(("a",), ("1",), np.zeros(1, int), np.ones((1, 1, 2, 2)))


def test_intervals_and_tie_groups(score: Score) -> None:
    sums = sums_of(score)
    drawn = bootstrap(sums, variance_components(sums), draws=300)
    low, high = drawn.intervals().T
    assert (low < drawn.estimate).all()
    assert (drawn.estimate < high).all()
    found = analyse(sums, draws=300)
    assert found.candidates[0].name == "candidate 1"
    assert [c.name for c in found.tie_group] == ["candidate 1"]
    assert found.winner.score == pytest.approx(sums.fold_scores()[1].mean())


def test_a_race_is_decided(score: Score) -> None:
    sums = table(_trials(score), score=score)
    assert (sums.score, sums.names) == (score, ("0", "1", "2", "3"))
    assert decide(sums, RacingRule(keep=1, draws=300), 4).tolist() == [0, 1, 0, 0]


def _trials(score: Score) -> Any:
    """Candidates with a result a fold, of what ``table`` reads of them."""
    made = {}
    for place, per_case in enumerate(results(score).values()):
        key = SimpleNamespace(key=str(place), trained=str(place))
        made[_Hashed(key)] = [
            SimpleNamespace(
                spec=SimpleNamespace(fold=fold),
                per_case={c: s for c, s in per_case.items() if FOLDS[c] == fold},
            )
            for fold in range(4)
        ]
    return made


class _Hashed:
    """A candidate: a key of a mapping."""

    def __init__(self, values: SimpleNamespace) -> None:
        self.key, self.trained = values.key, values.trained


class _Meter:
    """Averages whose sums are the mean of their members'."""

    def __init__(self, sums: CaseSums) -> None:
        self.table, self.score = sums, sums.score
        self.lines, self.rules = (None,) * len(sums.names), (None,)
        self.cases, self.folds = np.array(sums.cases), sums.folds
        self.source = SimpleNamespace(organs=ORGANS)

    def measure(self, wanted: Iterable[tuple[Bag, int]]) -> None:
        pass

    def sums(self, bag: Bag, rule: int = 0) -> np.ndarray:
        return np.asarray(np.average(self.table.values, axis=0, weights=bag))

    def rule_sums(self, bag: Bag) -> np.ndarray:
        return self.sums(bag)[None]


def test_greedy_selection_and_rules(score: Score) -> None:
    sums = sums_of(score)
    found = cross_fit(cast(OofMeter, _Meter(sums)), Method(3, weights="greedy", tune=True))
    assert found.recipe.bag == (0, 1, 0, 0)
    assert found.recipe.rules == (0, 0)
    assert found.announced.shape == (24, 2, len(score.columns))
    assert found.score == pytest.approx(sums.fold_scores()[1].mean())
    assert found.score == fold_mean(sums.values[1], sums.folds, score)
