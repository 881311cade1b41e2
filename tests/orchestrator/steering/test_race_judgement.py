"""Failed trainings and candidates that segment nothing are told apart from those that are worse."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from gitract_core.errors import SpaceError
from gitract_core.results.trial_result import TrialResult
from gitract_core.spec import Candidate, TrialSpec
from orchestrator.api.options import SweepOptions
from orchestrator.steering.race_judgement import Judgement, judge, keep_levels
from orchestrator.steering.race_rule import RacingRule

N_FOLDS, CASES = 5, 8
GOOD: dict[str, Sequence[float]] = {
    "bce": (0.60, 0.61, 0.62),
    "dice": (0.59, 0.62, 0.60),
    "focal": (0.61, 0.60, 0.61),
    "iou": (0.58, 0.60, 0.62),
}
RULE = RacingRule(keep=2)


def trial(candidate: Candidate, fold: int, score: float | None) -> TrialResult:
    random = np.random.default_rng([fold, int(candidate.key, 16) % 2**32])
    rows = 0.0 if score is None else 30.0
    per_case = {}
    for case in range(CASES):
        value = 0.0 if not score else float(np.clip(score + random.normal(0, 0.01), 0, 1))
        sums = (value * rows, rows, value * rows / 15, rows / 15)
        names = ("dice_sum", "dice_rows", "hausdorff_sum", "hausdorff_volumes")
        per_case[f"{fold}-{case}"] = {n: [s] * 3 for n, s in zip(names, sums, strict=True)}
    scores = {"score": score, "dice": score, "hausdorff": score}
    history = {"best_epoch": 1, "epochs": 1, "at_best": {}, "best": {}}
    cost = {"seconds": 1.0, "peak_memory_bytes": 1}
    spec = TrialSpec(candidate, fold, N_FOLDS, 0, "data", "folds")
    return TrialResult(spec, scores, per_case, history, cost, {"parameters": 1})


def judged(
    scores: Mapping[str, Sequence[float | None]], rule: RacingRule = RULE
) -> dict[str, Judgement]:
    results = {}
    for loss, row in scores.items():
        candidate = Candidate.from_knobs({"loss": loss})
        results[candidate] = [trial(candidate, fold, score) for fold, score in enumerate(row)]
    return {c.loss: j for c, j in judge(results, rule, N_FOLDS).items()}


def first(count: int, **more: Sequence[float | None]) -> dict[str, Sequence[float | None]]:
    return {loss: row[:count] for loss, row in {**GOOD, **more}.items()}


def test_who_is_worse_is_dropped_after_one_fold() -> None:
    found = judged(first(1, tversky=(0.45,)))
    assert found["tversky"].dropped
    assert found["tversky"].reason == "probability of being among the best 2"
    assert not found["bce"].dropped


def test_nobody_is_dropped_on_a_single_training_that_looks_failed() -> None:
    """.14, then .60, .62: the first training had bad luck."""
    row = (0.14, 0.63, 0.64)
    one = judged(first(1, tversky=row))["tversky"]
    assert not one.dropped
    assert one.reason == "a single training, which looks failed"
    two = judged(first(2, tversky=row))["tversky"]
    assert not two.dropped
    assert two.probability > 0.05, "of the second fold alone"


def test_beside_a_failed_training_the_others_count() -> None:
    found = judged(first(3, tversky=(0.14, 0.45, 0.46)))["tversky"]
    assert found.dropped
    assert found.reason.startswith("a training that looks failed set aside, probability")


def test_failed_trainings_are_counted_by_name() -> None:
    found = judged(first(3, tversky=(0.14, 0.60, 0.15)))["tversky"]
    assert found.dropped
    assert found.reason.startswith("2 of 3 trainings failed; probability")


def test_who_segments_nothing_is_dropped_as_such_after_two_folds() -> None:
    nothing = (0.0, 0.0)
    assert not judged(first(1, tversky=nothing))["tversky"].dropped
    found = judged(first(2, tversky=nothing))["tversky"]
    assert (found.dropped, found.reason) == (True, "segments nothing")


def test_as_many_stay_as_shall_be_found() -> None:
    nothing = (0.0, 0.0)
    scores = {"bce": (0.6, 0.6), "dice": nothing, "iou": nothing, "focal": nothing}
    for keep, dropped in ((1, 3), (2, 2), (3, 1), (4, 0)):
        found = judged(scores, RacingRule(keep=keep))
        assert not found["bce"].dropped
        assert sum(judgement.dropped for judgement in found.values()) == dropped


def test_not_all_are_dropped_where_all_segment_nothing() -> None:
    found = judged({"bce": (0.0, 0.0), "dice": (0.0, 0.0), "iou": (0.0, 0.0)}, RacingRule(keep=1))
    assert sum(judgement.dropped for judgement in found.values()) == 2


def test_a_fold_without_anything_to_score_drops_nobody() -> None:
    found = judged({**dict.fromkeys(GOOD, (None,)), "tversky": (0.0,)})
    assert not any(judgement.dropped for judgement in found.values())


def grid() -> dict[Candidate, Judgement]:
    """Every candidate with BCE is hopeless, one of them less so."""
    found = {}
    for loss, chance in (("bce", 0.001), ("dice", 0.5)):
        for depth in (4, 5):
            knobs = {"loss": loss, "network.depth": depth}
            better = chance + (depth == 5) * 0.002
            judgement = Judgement(better, better < 0.01, "probability")
            found[Candidate.from_knobs(knobs)] = judgement
    return found


@pytest.mark.parametrize("levels", [("loss",), ("all",), ("network.depth", "loss")])
def test_the_best_of_a_level_stays(levels: tuple[str, ...]) -> None:
    judged = grid()
    found = keep_levels(judged, list(judged), RacingRule(levels=levels))
    dropped = {(c.loss, c.network.depth) for c, j in found.items() if j.dropped}
    assert dropped == {("bce", 4)}
    (spared,) = (j for c, j in found.items() if (c.loss, c.network.depth) == ("bce", 5))
    assert spared.reason == "kept as the best with loss = bce; probability"


def test_levels_of_other_knobs_may_go() -> None:
    judged = grid()
    for levels in ((), ("network.depth",)):
        found = keep_levels(judged, list(judged), RacingRule(levels=levels))
        assert found == judged


def test_a_level_whose_last_candidate_comes_later_is_not_kept_twice() -> None:
    """A latecomer is judged alone; others of its level are in the race still."""
    judged = grid()
    worst = next(iter(judged))
    found = keep_levels({worst: judged[worst]}, list(judged), RacingRule(levels=("loss",)))
    assert found[worst].dropped


def test_levels_are_of_knobs_and_of_a_race() -> None:
    assert SweepOptions(race=True, race_levels=["loss", "all"]).race_levels == ("loss", "all")  # type: ignore[arg-type]
    with pytest.raises(SpaceError, match="expected a knob's dotted name or all, got 'los'"):
        SweepOptions(race=True, race_levels=("los",))
    with pytest.raises(SpaceError, match="--race-levels: expected --race too"):
        SweepOptions(race_levels=("loss",))
