"""Weights of members from their choice to the manifest, and which network speaks for a case.

An ensemble with equal weights in the place of the chosen ones, or a network that has seen the case,
looks as good as a right one until somebody compares.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from gitract_core.knobs import PostprocessKnobs
from gitract_core.metrics import COMPETITION, Score, score_scan
from gitract_core.organs import CONTEST
from gitract_core.results.trial_result import TrialFiles, TrialResult
from gitract_core.spec import Candidate, TrialSpec
from gitract_core.view import View
from orchestrator.ensembles.making import LARGEST_POOL, announce, make_ensemble
from orchestrator.ensembles.selection import (
    CrossFit,
    Method,
    Recipe,
    cross_fit,
    recipe_sums,
    rule_grid,
)
from orchestrator.out_of_fold.average_scores import Bag, OofMeter, _average, organ_sums
from orchestrator.out_of_fold.masks import OofAverage, OofParts
from orchestrator.results.candidate_scores import CandidateScores
from orchestrator.results.leaderboard import Leaderboard

BEST = np.array([3, 1, 0]) / 4
"""The weights at which the made-up ensemble is best."""


class Meter:
    """Scores that fall with the distance of a bag's weights from ``BEST``; a rule adds its place.

    Args:
        flip: adds to all scores.
    """

    bonus = 0.0

    def __init__(self, *given: Any, flip: bool = False, score: Score = COMPETITION) -> None:
        self.lines, self.score = (None,) * 3, score
        self.source = SimpleNamespace(organs=CONTEST)
        self.rules = given[2] if len(given) > 2 else (PostprocessKnobs(),)
        self.cases, self.folds = np.arange(8).astype(str), np.arange(8) % 2
        self.gain = self.bonus if flip else 0.0
        self.measured: list[tuple[Bag, int]] = []

    def measure(self, wanted: Iterable[tuple[Bag, int]]) -> None:
        self.measured += wanted

    def sums(self, bag: Bag, rule: int = 0) -> np.ndarray:
        weights = np.array(bag) / sum(bag)
        value = 0.8 + self.gain - 0.3 * np.square(weights - BEST).sum() + 0.001 * rule
        values = np.full((8, 3), value) + 0.01 * (np.arange(8) % 3)[:, None]
        return np.stack([30 * values, 30 + 0 * values, 2 * values, 2 + 0 * values], axis=-1)

    def rule_sums(self, bag: Bag) -> np.ndarray:
        return np.stack([self.sums(bag, rule) for rule in range(len(self.rules))])


def result_of(run: Path, candidate: Candidate, fold: int) -> TrialResult:
    """A trial's result on the disk, with weights that nobody loads."""
    spec = TrialSpec(candidate, fold, 2, 0, "data", "plan")
    history = {"best_epoch": 1, "epochs": 1, "at_best": {}, "best": {}}
    scores = {"score": 0.7, "dice": 0.7, "hausdorff": 0.7}
    cost = {"seconds": 1.0, "peak_memory_bytes": 1}
    result = TrialResult(spec, scores, {}, history, cost, {"parameters": 1})
    files = TrialFiles(run / "trials" / spec.key)
    result.save(files.result)
    files.best.write_bytes(spec.key.encode())
    return result


def run_of(path: Path, n: int = 3) -> tuple[Any, Leaderboard]:
    """A run of complete candidates on two folds, best first."""
    lines = []
    for place in range(n):
        candidate = Candidate.from_knobs({"optimizer.learning_rate": 0.1 / (place + 1)})
        results = tuple(result_of(path, candidate, fold) for fold in range(2))
        lines.append(CandidateScores(candidate, f"c{place}", results))
    run = SimpleNamespace(path=path, trial=lambda spec: TrialFiles(path / "trials" / spec.key))
    return run, Leaderboard(cast(Any, None), tuple(lines), ())


@pytest.fixture
def meters(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Meter]]:
    made: list[Meter] = []

    def make(*given: Any, **named: Any) -> Meter:
        assert named["score"] is COMPETITION  # of the board, with flips too
        made.append(Meter(*given, **named))
        return made[-1]

    monkeypatch.setattr("orchestrator.ensembles.making.OofMeter", make)
    yield made
    Meter.bonus = 0.0


def test_greedy_weights_reach_the_manifest_the_announcement_and_the_file(
    tmp_path: Path, meters: list[Meter]
) -> None:
    """Three parts to one: .375 for each of two folds of the first, .125 for those of the second."""
    run, board = run_of(tmp_path)
    made = make_ensemble(run, board, Method(4, "greedy"))
    assert [(line.label, share) for line, share in made.chosen] == [("c0", 0.75), ("c1", 0.25)]
    manifest = json.loads((made.directory / "members.json").read_text())
    weight = {m["trial"]: m["weight"] for m in manifest["members"]}
    expected = {r.spec.key: 0.375 for r in board.ranked[0].finished}
    expected |= {r.spec.key: 0.125 for r in board.ranked[1].finished}
    assert weight == pytest.approx(expected)
    assert [m["fold"] for m in manifest["members"]] == [0, 1, 0, 1]
    best = COMPETITION.of(meters[0].sums((3, 1, 0)).sum(axis=(0, 1)))
    single = COMPETITION.of(meters[0].sums((1, 0, 0)).sum(axis=(0, 1)))
    assert made.announced.score == pytest.approx(float(best))
    assert made.announced.in_sample == pytest.approx(float(best))
    assert made.announced.single == pytest.approx(float(single))
    assert made.announced.gain == pytest.approx(float(best - single))
    gain = made.announced.gain  # the same in every case
    assert made.announced.gain_interval == pytest.approx((gain, gain))
    assert made.announced.interval[0] < made.announced.score < made.announced.interval[1]
    score = json.loads((made.directory / "oof_score.json").read_text())
    assert [one["share"] for one in score["candidates"]] == [0.75, 0.25]
    assert [recipe["bag"] for recipe in score["chosen_without_fold"]] == [[3, 1, 0]] * 2
    assert score["pooled"]["score"] == pytest.approx(float(best))
    pooled = score["pooled"]["per_class"]["stomach"]
    assert 0.4 * pooled["dice"] + 0.6 * pooled["hausdorff"] == pytest.approx(pooled["score"])
    of_case = np.array(list(score["per_case"]["5"].values())).T
    assert of_case == pytest.approx(meters[0].sums((3, 1, 0))[5])


def test_a_gain_lies_inside_its_interval_and_the_score_inside_its_own() -> None:
    """By draws of cases, here compared with the spread of a mean of twenty cases in two folds."""
    random = np.random.default_rng(0)
    scores = random.normal(0.7, 0.05, 20)
    gains = random.normal(0.02, 0.03, 20)
    found = []
    for values in (scores + gains, scores):
        ones = np.ones(20)
        sums = np.stack([30 * values, 30 * ones, 2 * values, 2 * ones], axis=-1)[:, None]
        recipe = Recipe((1,), (0, 0, 0))
        cases, folds = np.arange(20).astype(str), np.arange(20) % 2
        found.append(CrossFit(recipe, (recipe,) * 2, sums, sums, cases, folds))
    told = announce(*found)
    assert told.gain == pytest.approx(gains.mean())
    error = np.sqrt(np.mean([gains[f::2].var(ddof=1) / 10 for f in (0, 1)]) / 2)
    low, high = told.gain_interval
    assert (low, high) == pytest.approx(
        (gains.mean() - 2.1 * error, gains.mean() + 2.1 * error), abs=0.2 * error
    )
    own = scores + gains
    error = np.sqrt(np.mean([own[f::2].var(ddof=1) / 10 for f in (0, 1)]) / 2)
    assert told.interval == pytest.approx(
        (own.mean() - 2.1 * error, own.mean() + 2.1 * error), abs=0.2 * error
    )
    assert told.folds == pytest.approx((own[::2].mean(), own[1::2].mean()))


def test_equal_weights_are_equal(tmp_path: Path, meters: list[Meter]) -> None:
    run, board = run_of(tmp_path)
    made = make_ensemble(run, board, Method(2))
    assert [(line.label, share) for line, share in made.chosen] == [("c0", 0.5), ("c1", 0.5)]
    assert [m.weight for m in made.members.members] == pytest.approx([0.25] * 4)
    assert made.directory.name == "top2-equal"


@pytest.mark.parametrize(("bonus", "kept"), [(0.01, True), (0.0, False), (-0.01, False)])
def test_mirrored_slices_are_kept_only_where_they_score_more(
    tmp_path: Path, meters: list[Meter], bonus: float, kept: bool
) -> None:
    Meter.bonus = bonus
    run, board = run_of(tmp_path)
    made = make_ensemble(run, board, Method(4, "greedy", flip=True))
    plain = float(COMPETITION.of(meters[0].sums((3, 1, 0)).sum(axis=(0, 1))))
    assert made.members.flip == kept
    assert made.flipped == pytest.approx(plain + bonus)
    assert made.announced.score == pytest.approx(plain + max(bonus, 0))


def test_the_rules_that_are_chosen_are_those_of_the_manifest(
    tmp_path: Path, meters: list[Meter]
) -> None:
    run, board = run_of(tmp_path)
    made = make_ensemble(run, board, Method(2, tune=True))
    last = meters[0].rules[-1]
    assert len(meters[0].rules) > 2
    assert made.rules == made.members.postprocess == (last,) * 3
    assert make_ensemble(run, board, Method(2)).rules == (PostprocessKnobs(),) * 3


def test_as_many_candidates_as_the_pool_holds_take_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pools: list[int] = []

    class StopError(Exception):
        pass

    def meter(run: Any, pool: Any, *rest: Any, **named: Any) -> None:
        pools.append(len(pool))
        raise StopError

    monkeypatch.setattr("orchestrator.ensembles.making.OofMeter", meter)
    run, board = run_of(tmp_path, LARGEST_POOL + 2)
    for method in (Method(2), Method(LARGEST_POOL + 1), Method(30, "greedy")):
        with pytest.raises(StopError):
            make_ensemble(run, board, method)
    assert pools == [LARGEST_POOL, LARGEST_POOL + 1, LARGEST_POOL]


def test_a_recipe_has_the_sums_of_its_own_bag_and_of_each_organ_s_rule() -> None:
    meter = Meter(None, None, (None,) * 4)
    sums = recipe_sums(cast(OofMeter, meter), Recipe((2, 1, 0), (0, 3, 1)))
    for organ, rule in enumerate((0, 3, 1)):
        assert np.array_equal(sums[:, organ], meter.sums((2, 1, 0), rule)[:, organ])
    assert {bag for bag, _ in meter.measured} == {(2, 1, 0)}


def test_beside_small_parts_all_but_the_largest_are_tried_alone() -> None:
    base = PostprocessKnobs()
    grid = rule_grid(base, thresholds=(0.5,), z_sigmas=(0.0,), gaps=(0,), smallest_mm3=(0.0, 7.0))
    assert [(rule.smallest_mm3, rule.parts) for rule in grid] == [
        (0.0, "all"),
        (7.0, "all"),
        (0.0, "largest"),
    ]


def test_greedy_stops_at_the_shortest_of_equally_good_bags() -> None:
    """(3, 1) is the best; (6, 2) is the same average and later, and is not written down."""
    found = cross_fit(cast(OofMeter, Meter()), Method(8, "greedy"))
    assert found.recipe.bag == (3, 1, 0)
    assert cross_fit(cast(OofMeter, Meter()), Method(3, "greedy")).recipe.bag == (2, 1, 0)
    assert cross_fit(cast(OofMeter, Meter()), Method(1, "greedy")).recipe.bag == (1, 0, 0)


def parts_of(*sizes: int) -> OofParts:
    random = np.random.default_rng(0)
    each = tuple(random.uniform(0, 255, (3, 2, s, s)).astype(np.float32) for s in sizes)
    views = tuple(View(s) for s in sizes)
    return OofParts("case1_day1", "1", 0, cast(Any, None), each, cast(Any, None), views)


def test_a_bag_s_average_has_its_weights() -> None:
    parts = parts_of(4, 4, 8)
    a, b, _ = parts.each
    assert _average((3, 1, 0), parts).probabilities == pytest.approx(0.75 * a + 0.25 * b, rel=1e-5)
    assert _average((0, 1, 0), parts).probabilities == pytest.approx(b)
    assert _average((1, 0, 1), parts).probabilities.shape == (3, 2, 8, 8), (
        "the largest size of its members"
    )
    assert _average((1, 1, 0), parts).probabilities.shape == (3, 2, 4, 4), (
        "and of its members alone"
    )


PLANS = ({"1": 0, "2": 1, "3": 1}, {"1": 1, "2": 1, "3": 0})


def average_of(weights: list[float] | None, plans: int = 1, n: int = 2) -> OofAverage:
    """Candidates whose every network says its own number: 100 candidate + 10 plan + fold."""

    def size(place: int) -> Any:
        return SimpleNamespace(input=SimpleNamespace(view=View(4)))

    lines, stores = [], {}
    for place in range(n):
        results = []
        for number in range(2 * plans):
            key, value = f"{place}-{number}", 100 * place + 10 * (number // 2) + number % 2
            results.append(SimpleNamespace(spec=SimpleNamespace(key=key)))
            stores[key] = {f"case{c}_day0": np.full((3, 2, 4, 4), value) for c in (1, 2, 3)}
        lines.append(SimpleNamespace(candidate=size(place), results=results))
    plan, *repeats = (
        SimpleNamespace(fold_of_case=fold_of, n_splits=2) for fold_of in PLANS[:plans]
    )
    rows = {f"case{c}_day0": {"case": SimpleNamespace(iloc=[str(c)])} for c in (1, 2, 3)}
    index = SimpleNamespace(rows_of_scan=rows.__getitem__, scans=list(rows))
    data = SimpleNamespace(
        plan=plan, repeats=tuple(repeats), cache=lambda size, checked: SimpleNamespace(index=index)
    )
    run = SimpleNamespace(record=lambda: None, data=lambda record: data)
    made = OofAverage(cast(Any, run), cast(Any, lines), weights)
    made._stores = cast(Any, stores)
    return made


@pytest.mark.parametrize("case", ["1", "2", "3"])
def test_of_a_case_speaks_the_network_of_the_fold_that_held_it_out(case: str) -> None:
    """Any other network was trained on it."""
    once, twice = average_of(None), average_of(None, plans=2)
    first, second = (plan[case] for plan in PLANS)
    name = f"case{case}_day0"
    assert [part.mean() for part in once.parts(name).each] == [first, 100 + first]
    mean = (first + 10 + second) / 2
    assert [part.mean() for part in twice.parts(name).each] == [mean, 100 + mean]
    assert (once.parts(name).case, twice.parts(name).fold) == (case, first)


def test_an_out_of_fold_average_has_the_given_weights_or_equal_ones() -> None:
    name = "case1_day0"
    assert average_of([0.8, 0.2]).scan(name).probabilities == pytest.approx(20)
    assert average_of([0.2, 0.8]).scan(name).probabilities == pytest.approx(80)
    assert average_of(None, n=4).scan(name).probabilities == pytest.approx(150)
    assert average_of([0, 0, 1, 0], n=4).scan(name).probabilities == pytest.approx(200)


class Source:
    """Two scans of case 9, one of case 4; probabilities are the masks of each candidate, by 255."""

    def __init__(self, run: Any, lines: Any, *, flip: bool = False) -> None:
        random = np.random.default_rng(0)
        self.index = SimpleNamespace(table={"case": ["9", "4", "9"]})
        self.plan = SimpleNamespace(fold_of_case={"4": 1, "9": 0})
        self.organs = CONTEST
        self.plans = (self.plan, self.plan)  # nothing is known from training
        self.scans = ["case9_day0", "case4_day0", "case9_day1"]
        self.said = {name: random.random((2, 3, 3, 16, 16)) < 0.3 for name in self.scans}
        self.truth = {name: random.random((3, 3, 16, 16)) < 0.3 for name in self.scans}
        for name in self.scans:
            self.said[name][:, :, 0] = self.truth[name][:, 0] = False

    def predict_missing(self) -> None:
        pass

    def parts(self, name: str) -> Any:
        def average(weights: np.ndarray) -> Any:
            probabilities = sum(w * said for w, said in zip(weights, each, strict=True))
            grid = SimpleNamespace(height=16, width=16, voxel_mm3=1.0, window=None)
            known = np.ones((3, 3), bool)
            return SimpleNamespace(
                probabilities=probabilities, grid=grid, truth=self.truth[name], known=known
            )

        each = tuple(255 * said.astype(np.float32) for said in self.said[name])
        case = name.removeprefix("case").partition("_")[0]
        return SimpleNamespace(case=case, each=each, average=average)


def test_a_meter_adds_up_the_scans_of_each_case(monkeypatch: pytest.MonkeyPatch) -> None:
    """With weights of two to one and a threshold of a half, what the heavier one says is said."""
    monkeypatch.setattr("orchestrator.out_of_fold.average_scores.OofAverage", Source)
    lines = [SimpleNamespace(candidate=SimpleNamespace(postprocess=None))] * 2
    passes: list[tuple[int, int]] = []
    rules = (PostprocessKnobs(), PostprocessKnobs(threshold=0.2))
    meter = OofMeter(
        cast(Any, None), cast(Any, lines), rules, lambda done, of: passes.append((done, of))
    )
    source = cast(Source, meter.source)
    assert (meter.cases.tolist(), meter.folds.tolist()) == (["4", "9"], [1, 0])

    def expected(name: str, masks: np.ndarray) -> np.ndarray:
        score = score_scan(masks, source.truth[name])
        pixels = score.prediction_px + score.truth_px
        dice = np.where(pixels > 0, 2 * score.intersection_px / np.maximum(pixels, 1), 0)
        counted = (pixels > 0).sum(axis=1)
        return np.stack([dice.sum(axis=1), counted, 1 - score.hausdorff, np.ones(3)], axis=1)

    by_first = {name: expected(name, source.said[name][0]) for name in source.scans}
    by_either = {name: expected(name, source.said[name].any(axis=0)) for name in source.scans}
    for rule, of in ((0, by_first), (1, by_either)):
        sums = meter.sums((2, 1), rule)
        assert sums[0] == pytest.approx(of["case4_day0"])
        assert sums[1] == pytest.approx(of["case9_day0"] + of["case9_day1"])
    assert passes == [(1, 3), (2, 3), (3, 3)] * 2, "each bag and rule is measured once"
    assert np.array_equal(meter.sums((4, 2)), meter.sums((2, 1)))
    assert np.array_equal(meter.rule_sums((2, 1))[1], meter.sums((2, 1), 1))
    assert len(passes) == 6
    second = expected("case4_day0", source.said["case4_day0"][1])
    assert meter.sums((1, 3))[0] == pytest.approx(second)


def test_sums_of_an_organ_where_one_side_or_both_are_empty() -> None:
    mask, empty = np.zeros((4, 6, 6), bool), np.zeros((4, 6, 6), bool)
    mask[1, 2:4, 2:4] = True
    assert organ_sums(empty, empty).tolist() == [0, 0, 0, 0]
    assert organ_sums(mask, empty).tolist() == organ_sums(empty, mask).tolist()
    dice, rows, closeness, volumes = organ_sums(mask, empty)
    assert (dice, rows, closeness, volumes) == (0, 1, 0, 1)
    half = mask.copy()
    half[1, 2] = False
    half[2, 0, 0] = True
    dice, rows, closeness, volumes = organ_sums(mask, half)
    assert dice == pytest.approx(2 * 2 / (4 + 2))
    assert rows == 2
    farthest = math.sqrt(1 + 2**2 + 2**2)
    assert closeness == pytest.approx(1 - farthest / math.sqrt(4**2 + 6**2 + 6**2))
    assert volumes == 1
