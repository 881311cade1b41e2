"""Which slices a trial trains on, in what order, and that the held-out fold never reaches it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest
import torch

from gitract_core.data.cache import SliceCache
from gitract_core.data.folds import FoldPlan
from gitract_core.errors import RunError
from gitract_core.losses import build_loss
from gitract_core.organs import CONTEST
from gitract_core.prediction.device_slices import slices_on
from gitract_core.prediction.inference import load_network
from gitract_core.prediction.probabilities import OofStore
from gitract_core.results.trial_result import TrialFiles, read_history
from gitract_core.training.loop import FoldSlices, Training
from gitract_core.trial.data import TrialData
from gitract_core.trial.run import fold_slices, run_trial
from tests.support.tiny_sweep import prepare_tiny
from tests.support.tiny_training import (
    CPU,
    TRAINING,
    VALIDATION,
    made_up_slices,
    made_up_training,
    spec_of,
)

CASES = np.array(["4", "4", "9", "2", "2", "2", "7", "9", "4", "11", "11", "7"])
PLAN = FoldPlan({"2": 0, "4": 1, "7": 2, "9": 1, "11": 0}, 3)


def made_up_fold(fold: int) -> FoldSlices:
    index = SimpleNamespace(table=pd.DataFrame({"case": CASES}))
    cache = cast(SliceCache, SimpleNamespace(index=index))
    return fold_slices(cache, made_up_slices(), PLAN, fold)


@pytest.mark.parametrize("fold", range(3))
def test_a_fold_is_validated_on_its_own_cases_and_trained_on_all_others(fold: int) -> None:
    found = made_up_fold(fold)
    own = [row for row, case in enumerate(CASES.tolist()) if PLAN.fold_of_case[case] == fold]
    assert found.validation.tolist() == own
    assert found.training.tolist() == [row for row in range(len(CASES)) if row not in own]


def test_a_trial_of_a_repeat_has_the_folds_of_its_own_plan() -> None:
    other = FoldPlan({2: 1, 4: 0, 7: 2, 9: 0, 11: 1}, 3)
    data = TrialData(Path("data"), "0" * 16, PLAN, repeats=(other,))
    for plan in (PLAN, other):
        spec = dataclasses.replace(spec_of(), folds_fingerprint=plan.fingerprint)
        assert data.plan_of(spec) is plan
        data.check(spec)
    with pytest.raises(RunError, match="expected fold plan"):
        data.check(spec_of())
    foreign = dataclasses.replace(
        spec_of(), data_fingerprint="f" * 16, folds_fingerprint=PLAN.fingerprint
    )
    with pytest.raises(RunError, match="expected data set"):
        data.check(foreign)


def batches_seen(training: Training, epochs: int) -> list[list[tuple[bool, list[int]]]]:
    """For each epoch its forward passes: whether it was training, and the rows that it was given.

    Slices must be numbered by their gray level.
    """
    passes: list[tuple[bool, list[int]]] = []

    def noted(network: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        rows = (inputs[0][:, 0, 3, 5] * 255).round().int().tolist()
        passes.append((network.training, rows))

    training.network.register_forward_pre_hook(noted)
    seen = []
    for _ in range(epochs):
        training.run_epoch()
        seen.append(list(passes))
        passes.clear()
    return seen


def orders(training: Training, epochs: int = 1) -> list[list[int]]:
    """The order of training slices in each epoch."""
    seen = batches_seen(training, epochs)
    return [[row for learns, rows in passes if learns for row in rows] for passes in seen]


def numbered(**changes: Any) -> Training:
    return made_up_training(slices=made_up_slices(numbered=True), **changes)


def test_an_epoch_trains_on_each_training_slice_once_and_validates_on_the_others() -> None:
    for passes in batches_seen(numbered(), 3):
        trained = [rows for learns, rows in passes if learns]
        judged = [row for learns, rows in passes if not learns for row in rows]
        assert sorted(row for rows in trained for row in rows) == TRAINING.tolist()
        assert judged == VALIDATION.tolist()
        assert [len(rows) for rows in trained] == [4, 4, 4, 4, 3]


def test_slices_come_in_another_order_each_epoch() -> None:
    found = orders(numbered(), 3)
    assert TRAINING.tolist() not in found
    assert len({tuple(order) for order in found}) == 3


def test_folds_and_seeds_draw_apart_and_candidates_draw_alike() -> None:
    drawn = {
        (fold, seed): tuple(orders(numbered(fold=fold, seed=seed))[0])
        for fold in range(3)
        for seed in range(3)
    }
    assert len(set(drawn.values())) == 9
    assert orders(numbered())[0] == list(drawn[0, 0])
    other = {"loss": "dice", "optimizer.learning_rate": 0.1, "optimizer.name": "adamw"}
    assert orders(numbered(knobs=other))[0] == list(drawn[0, 0])


def test_first_weights_differ_by_fold_and_seed_and_are_shared_by_candidates() -> None:
    def first(**changes: Any) -> list[float]:
        network = made_up_training(**changes).network
        return [v for p in network.parameters() for v in p.flatten().tolist()]

    starts = [first(fold=f, seed=s) for f in range(2) for s in range(2)]
    assert all(a != b for i, a in enumerate(starts) for b in starts[:i])
    assert first(knobs={"loss": "dice", "optimizer.batch_size": 2}) == starts[0]


def test_building_a_training_leaves_the_callers_random_numbers_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    made_up_training()
    assert torch.equal(torch.rand(3), expected)


def test_augmentation_differs_by_fold() -> None:
    """The same slices in the same order are changed otherwise."""
    knobs: dict[str, object] = {"augmentation.kinds": "noise", "augmentation.probability": 1.0}
    seen = []
    for fold in range(2):
        training = made_up_training(knobs, fold=fold)
        given = _inputs(training)
        training.data = dataclasses.replace(training.data, training=torch.tensor([3]))
        training.run_epoch()
        seen.append(given[0])
    assert not torch.equal(seen[0], seen[1])


def _inputs(training: Training) -> list[torch.Tensor]:
    """What the network is given from now on."""
    given: list[torch.Tensor] = []
    training.network.register_forward_pre_hook(lambda _, inputs: given.append(inputs[0].clone()))
    return given


def test_the_network_is_trained_on_augmented_images_and_masks() -> None:
    """Flips of every slice: what it sees, and what it is compared with, are mirrored."""
    knobs: dict[str, object] = {"augmentation.kinds": "flip", "augmentation.probability": 1.0}
    plain, mirrored = (made_up_training(k) for k in ({}, knobs))
    given: list[list[torch.Tensor]] = []
    truths: list[list[torch.Tensor]] = []
    for training in (plain, mirrored):
        training.data = dataclasses.replace(training.data, training=torch.tensor([3]))
        given.append(_inputs(training))
        truths.append([])
        loss = _noting(training, truths[-1])
        training.step.trained = dataclasses.replace(training.step.trained, loss=loss)
        training.run_epoch()
    assert torch.equal(given[1][0], given[0][0].flip(-1))
    assert not torch.equal(given[1][0], given[0][0])
    assert torch.equal(truths[1][0], truths[0][0].flip(-1))
    assert torch.equal(given[1][1], given[0][1]), "validation is not augmented"
    assert torch.equal(truths[1][1], truths[0][1])


def _noting(training: Training, truths: list[torch.Tensor]) -> Any:
    plain = training.step.trained.loss

    def loss(logits: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
        truths.append(masks.clone())
        return plain(logits, masks)

    return loss


def test_held_out_slices_do_not_reach_the_weights_and_the_others_do() -> None:
    ends = []
    for spoiled in (None, VALIDATION[2], TRAINING[2]):
        slices = made_up_slices()
        if spoiled is not None:
            slices.images[spoiled] = 255 - slices.images[spoiled]
            assert slices.masks is not None
            slices.masks[spoiled] ^= 7
        training = made_up_training(slices=slices)
        record = training.run_epoch()
        weights = [v for p in training.network.parameters() for v in p.flatten().tolist()]
        ends.append((weights, record.train_loss, record.loss))
    plain, held_out, learned = ends
    assert held_out[:2] == plain[:2]
    assert held_out[2] != plain[2]
    assert learned[0] != plain[0]
    assert learned[1] != plain[1]


@pytest.fixture(scope="module")
def trials(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A finished trial of each fold of the tiny contest."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GITRACT_CACHE", str(tmp_path_factory.mktemp("cache")))
        knobs = {"loss": "bce + dice", "network.widths": "2,4", "input.size": 16}
        sweep = prepare_tiny(tiny, tmp_path_factory.mktemp("rows") / "run", knobs)
        cache = sweep.data.cache(16)
        found = []
        for spec in sweep.specs:
            files = sweep.directory.trial(spec)
            found.append((spec, files, run_trial(spec, sweep.data, files.directory)))
        return sweep.data.plan, cache, found


def test_a_trial_predicts_and_scores_its_own_fold(trials: Any) -> None:
    plan, cache, found = trials
    table = cache.index.table
    assert sorted(spec.fold for spec, _, _ in found) == [0, 1]
    for spec, files, result in found:
        own = table[table["case"].isin(plan.cases(spec.fold))]
        assert set(result.per_case) == {str(case) for case in plan.cases(spec.fold)}
        assert list(OofStore(files.oof)) == list(dict.fromkeys(own["scan"]))
        assert result.environment["validation_slices"] == len(own)
        assert result.environment["training_slices"] == len(table) - len(own)
        scored = pd.read_parquet(files.scores)
        assert set(scored[scored["level"] == "slice"]["id"]) == set(own["id"])


def test_the_weights_left_are_those_of_the_best_epoch_on_the_held_out_fold(trials: Any) -> None:
    plan, cache, found = trials
    for spec, files, result in found:
        network = load_network(
            spec.candidate, TrialFiles(files.directory).best, CPU, organs=CONTEST
        )
        rows = cache.index.table["case"].isin(plan.cases(spec.fold)).to_numpy().nonzero()[0]
        slices = slices_on(cache, CPU)
        chosen = torch.from_numpy(rows)
        with torch.inference_mode():
            logits = network(slices.batch_images(chosen, spec.candidate.input))
            loss = build_loss(spec.candidate.loss)(logits, slices.batch_masks(chosen))
        best = min(read_history(files.history), key=lambda record: record.loss)
        assert result.history["best_epoch"] == best.epoch
        assert float(loss) == pytest.approx(best.loss, rel=1e-3 if len(rows) < 32 else 0.05)
