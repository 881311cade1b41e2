"""Each optimizer moves weights by its published rule, at the rate of the epoch's schedule."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import nn

from gitract_core.knobs import OptimizerKnobs
from gitract_core.results.trial_result import TrialFiles
from gitract_core.training.checkpoint import Checkpoints, restore
from gitract_core.training.loop import Training, build_optimizer
from tests.support.tiny_training import CPU, made_up_training

RATE, DECAY, STEPS = 0.05, 0.4, 6
START = [0.7, -1.3, 0.2]


def gradient(weights: torch.Tensor, step: int) -> torch.Tensor:
    """Of a bowl whose center moves."""
    return torch.tensor([1.0, 3.0, 0.5], dtype=weights.dtype) * (weights - math.sin(step))


def by_hand(name: str, decay: float) -> torch.Tensor:
    """Kingma and Ba 2015, algorithm 1; Loshchilov and Hutter 2019, algorithm 2."""
    weights = torch.tensor(START, dtype=torch.float64)
    first, second = torch.zeros(3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64)
    for step in range(1, STEPS + 1):
        slope = gradient(weights, step)
        if name == "adam":
            slope = slope + decay * weights
        first = 0.9 * first + 0.1 * slope
        second = 0.999 * second + 0.001 * slope**2
        move = first / (1 - 0.9**step) / ((second / (1 - 0.999**step)).sqrt() + 1e-8)
        if name == "adamw":
            move = move + decay * weights
        weights = weights - RATE * move
    return weights


class Point(nn.Module):
    """Three weights and nothing else."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.tensor(START))


def by_optimizer(knobs: OptimizerKnobs) -> torch.Tensor:
    point = Point()
    optimizer = build_optimizer(point, knobs, CPU)
    for step in range(1, STEPS + 1):
        optimizer.zero_grad()
        point.weights.grad = gradient(point.weights.detach(), step)
        optimizer.step()
    return point.weights.detach().double()


@pytest.mark.parametrize("decay", [0.0, DECAY])
@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_an_optimizer_follows_its_published_rule(name: str, decay: float) -> None:
    knobs = OptimizerKnobs(name=name, learning_rate=RATE, weight_decay=decay)
    torch.testing.assert_close(by_optimizer(knobs), by_hand(name, decay), atol=1e-5, rtol=0)


def test_the_rules_differ_where_weights_decay() -> None:
    ends = [by_hand("adam", DECAY), by_hand("adamw", DECAY), by_hand("adam", 0.0)]
    assert all(float((a - b).abs().max()) > 0.01 for i, a in enumerate(ends) for b in ends[:i])


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("constant", [0.02, 0.02, 0.02, 0.02]),
        ("cosine", [0.02, 0.02 * (0.5 + 0.5**0.5 / 2), 0.01, 0.02 * (0.5 - 0.5**0.5 / 2)]),
    ],
)
def test_rates_of_a_schedule(schedule: str, expected: list[float]) -> None:
    knobs = OptimizerKnobs(learning_rate=0.02, schedule=schedule)
    assert [knobs.rate(epoch, 4) for epoch in range(4)] == pytest.approx(expected)


def scheduled(epochs: int = 4) -> Training:
    knobs: dict[str, object] = {
        "optimizer.schedule": "cosine",
        "optimizer.learning_rate": 0.02,
        "training.epochs": epochs,
        "training.patience": 9,
    }
    return made_up_training(knobs)


def rates_of_steps(training: Training, epochs: int) -> list[list[float]]:
    """The rates that the optimizer has when its steps are taken, for each epoch."""
    found: list[list[float]] = []

    def note(optimizer: torch.optim.Optimizer, *_: object) -> None:
        (rate,) = {float(group["lr"]) for group in optimizer.param_groups}
        found[-1].append(rate)

    training.optimizer.register_step_pre_hook(note)
    for _ in range(epochs):
        found.append([])
        training.run_epoch()
    return found


def test_every_step_of_an_epoch_is_taken_at_its_rate() -> None:
    training = scheduled()
    expected = [training.candidate.optimizer.rate(epoch, 4) for epoch in range(4)]
    assert len(set(expected)) == 4
    steps = rates_of_steps(training, 4)
    assert steps == [[rate] * 5 for rate in expected]
    assert [record.learning_rate for record in training.records] == expected


def test_a_resumed_training_goes_on_with_the_schedule(tmp_path: Path) -> None:
    training, files = scheduled(), TrialFiles(tmp_path)
    checkpoints = Checkpoints(training, files, 0)
    for _ in range(2):
        training.run_epoch()
        checkpoints.after_epoch()
    again = scheduled()
    restore(again, files.checkpoint)
    expected = [again.candidate.optimizer.rate(epoch, 4) for epoch in (2, 3)]
    assert rates_of_steps(again, 2) == [[rate] * 5 for rate in expected]
    assert again.finished


def test_a_resumed_training_keeps_moments_and_takes_its_settings_from_the_candidate(
    tmp_path: Path,
) -> None:
    training, files = scheduled(), TrialFiles(tmp_path)
    training.run_epoch()
    (group,) = training.optimizer.param_groups
    group["weight_decay"] = 0.9
    Checkpoints(training, files, 0).after_epoch()
    again = scheduled()
    restore(again, files.checkpoint)
    assert again.optimizer.param_groups[0]["weight_decay"] == 0.0
    before, after = (t.optimizer.state_dict()["state"] for t in (training, again))
    assert before
    assert after.keys() == before.keys()
    for place, moments in before.items():
        assert all(torch.equal(after[place][name], moments[name]) for name in moments)
