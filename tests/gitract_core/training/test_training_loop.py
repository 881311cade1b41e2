"""Two epochs are those of a loop written out with torch alone, and each part of it counts."""

from __future__ import annotations

import copy
import dataclasses
import math

import pytest
import torch
from torch import nn

from gitract_core import augment
from gitract_core.errors import DivergedError
from gitract_core.losses import build_loss
from gitract_core.metrics.epoch import EpochCounts
from gitract_core.training.loop import Training
from tests.support.tiny_training import (
    KNOBS,
    SIZE,
    TRAINING,
    VALIDATION,
    made_up_slices,
    made_up_training,
)

Knobs = dict[str, object]
OPTIMIZERS = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}


def logits_of(network: nn.Module) -> torch.Tensor:
    """In training mode: there the biases before a batch normalization, whose gradients are nothing
    but rounding, cancel.
    """
    with torch.no_grad():
        logits: torch.Tensor = copy.deepcopy(network).train()(planes(VALIDATION)[0])
    return logits


def planes(rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Images and masks of some slices, bit by bit."""
    slices = made_up_slices()
    assert slices.masks is not None
    images = slices.images[rows].float() / 255
    bits = slices.masks[rows][:, 0].int()
    return images, torch.stack([(bits >> organ) & 1 for organ in range(3)], 1).float()


def loop(training: Training, knobs: Knobs, epochs: int) -> tuple[nn.Module, list[float]]:
    """The network after so many epochs of a plain loop, and the training losses."""
    k = {"optimizer.name": "adam", "optimizer.weight_decay": 0.0, **KNOBS, **knobs}
    network, loss_of = copy.deepcopy(training.network), build_loss(training.candidate.loss)
    random = torch.Generator()
    random.set_state(training.random.get_state())
    rate, size = float(str(k["optimizer.learning_rate"])), int(str(k["optimizer.batch_size"]))
    optimizer = OPTIMIZERS[str(k["optimizer.name"])](
        network.parameters(), lr=rate, weight_decay=float(str(k["optimizer.weight_decay"]))
    )
    losses = []
    for epoch in range(epochs):
        network.train()
        if k.get("optimizer.schedule") == "cosine":
            share = epoch / int(str(k["training.epochs"]))
            optimizer.param_groups[0]["lr"] = rate * (1 + math.cos(math.pi * share)) / 2
        order, total = TRAINING[torch.randperm(len(TRAINING), generator=random)], 0.0
        for rows in order.split(size):
            images, masks = planes(rows)
            drawn = augment.draw(training.candidate.augmentation, len(rows), SIZE, random)
            images, masks = augment.apply(drawn, images, masks)
            optimizer.zero_grad()
            loss = loss_of(network(images), masks)
            loss.backward()
            optimizer.step()
            total += float(loss.detach()) * len(rows)
        losses.append(total / len(TRAINING))
    return network, losses


CHANGES: tuple[Knobs, ...] = (
    {"loss": "bce + 0.5*dice"},
    {"loss": "tversky", "optimizer.name": "adam", "optimizer.weight_decay": 0.3},
    {"optimizer.name": "adamw", "optimizer.weight_decay": 0.3, "optimizer.batch_size": 7},
    {"optimizer.schedule": "cosine", "training.epochs": 3},
    {"augmentation.kinds": "elastic+flip+intensity+noise", "augmentation.probability": 0.7},
)


@pytest.mark.parametrize("knobs", CHANGES, ids=str)
def test_epochs_are_those_of_a_plain_loop(knobs: Knobs) -> None:
    training = made_up_training(knobs)
    began = logits_of(training.network)
    expected, losses = loop(training, knobs, 2)
    records = [training.run_epoch() for _ in range(2)]
    torch.testing.assert_close(logits_of(training.network), logits_of(expected), atol=1e-3, rtol=0)
    assert [r.train_loss for r in records] == pytest.approx(losses, rel=1e-4)
    assert float((logits_of(training.network) - began).abs().max()) > 0.1


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"optimizer.name": "adamw"}, {"optimizer.name": "adam"}),
        ({"optimizer.weight_decay": 0.3}, {"optimizer.weight_decay": 0.0}),
        ({"optimizer.schedule": "cosine"}, {"optimizer.schedule": "constant"}),
        ({"optimizer.learning_rate": 0.01}, {"optimizer.learning_rate": 0.02}),
        ({"augmentation.kinds": "flip"}, {"augmentation.kinds": "none"}),
        ({"loss": "bce"}, {"loss": "bce + dice"}),
    ],
    ids=str,
)
def test_each_knob_of_training_moves_the_weights(one: Knobs, other: Knobs) -> None:
    ends = []
    for knobs in (one, other):
        training = made_up_training({"optimizer.weight_decay": 0.3, **knobs})
        training.run_epoch()
        training.run_epoch()
        ends.append(logits_of(training.network))
    assert float((ends[0] - ends[1]).abs().max()) > 1e-2


def test_validation_is_of_the_held_out_slices_as_a_finished_network_sees_them() -> None:
    """In evaluation mode, not augmented, and by the losses of batches weighted by their size."""
    knobs: Knobs = {"augmentation.kinds": "flip+noise", "augmentation.probability": 1.0}
    rows = torch.cat([VALIDATION, VALIDATION, VALIDATION, VALIDATION[:4]])  # 37: a batch and 5
    training = made_up_training(knobs, validation=rows)
    record = training.run_epoch()
    network, loss_of = training.network.eval(), build_loss(training.candidate.loss)
    total = 0.0
    with torch.inference_mode():
        for part in rows.split(32):
            images, masks = planes(part)
            total += float(loss_of(network(images), masks)) * len(part)
        images, masks = planes(rows)
        predicted = network(images) > 0
    assert record.loss == pytest.approx(total / len(rows), rel=1e-5)
    overlap = 2 * (predicted & (masks > 0)).sum((0, 2, 3))
    dice = overlap / (predicted.sum((0, 2, 3)) + masks.sum((0, 2, 3)))
    assert record.dice == pytest.approx(float(dice.mean()), rel=1e-5)


def test_validation_moves_nothing() -> None:
    """Neither weights nor the running statistics of batch normalization."""
    ends = []
    for rows in (VALIDATION, VALIDATION[:1]):
        training = made_up_training(validation=rows)
        training.run_epoch()
        training.run_epoch()
        ends.append(training.network.state_dict())
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])
    moved = made_up_training().network.state_dict()
    assert any(not torch.equal(moved[name], ends[0][name]) for name in moved)


def test_records_say_what_was_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every figure of a validation under its own name, and epochs numbered from 1."""
    training = made_up_training()
    seen = []
    compute = EpochCounts.compute

    def noted(counts: EpochCounts) -> object:
        seen.append(compute(counts))
        return seen[-1]

    monkeypatch.setattr(EpochCounts, "compute", noted)
    records = [training.run_epoch(), training.run_epoch()]
    assert training.records == records
    for number, (record, metrics) in enumerate(zip(records, seen, strict=True), 1):
        values = dataclasses.asdict(record)
        assert values["epoch"] == number
        shared = [n for n in values if hasattr(metrics, n)]
        assert len(shared) == 8
        assert {n: values[n] for n in shared} == {n: getattr(metrics, n) for n in shared}
        assert len({values[n] for n in shared}) == len(shared), "equal figures tell nothing"


def test_a_pixel_of_even_chances_is_not_predicted() -> None:
    counts = EpochCounts("cpu", 3)
    truth = torch.ones(1, 3, 2, 2)
    counts.update(torch.zeros(1, 3, 2, 2), truth)
    assert counts.compute().dice == 0
    counts.update(torch.full((1, 3, 2, 2), 1e-6), truth)
    assert counts.compute().dice == pytest.approx(2 / 3)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf"), 1e13, -1e13])
def test_a_loss_that_no_result_can_hold_ends_the_training(bad: float) -> None:
    training = made_up_training()
    plain = training.step.trained
    training.step.trained = dataclasses.replace(
        plain, loss=lambda logits, masks: plain.loss(logits, masks) + bad
    )
    with pytest.raises(DivergedError, match="epoch 1"):
        training.run_epoch()
    assert training.records == []
