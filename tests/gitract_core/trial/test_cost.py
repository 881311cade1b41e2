"""Costs that are measured, and the order that is not."""

from __future__ import annotations

import math
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from gitract_core.data.slices import SliceIndex
from gitract_core.device import Runtime
from gitract_core.knobs import PostprocessKnobs
from gitract_core.metrics.surfaces.distances import SurfaceDistances
from gitract_core.metrics.surfaces.elements import SpacingMm
from gitract_core.networks import build_network
from gitract_core.spec import Candidate
from gitract_core.trial import cost
from gitract_core.trial.cost import SampleScan, StepCost, measure_step, shape_of
from gitract_core.trial.relative_cost import relative_cost
from gitract_core.trial.scoring_cost import measure_scoring
from orchestrator.capacity import measuring
from tests.support.tiny_sweep import KNOBS


def tiny_candidate(**changes: object) -> Candidate:
    dotted = {name.replace("__", "."): value for name, value in changes.items()}
    return Candidate.from_knobs({**KNOBS, **dotted})


def scan_of(data: Path) -> SampleScan:
    index = SliceIndex.from_directory(data)
    return SampleScan.read(data, index.rows_of_scan(index.scans[0]), organs=index.organs)


def test_operations_of_a_network_of_two_levels_are_those_counted_by_hand() -> None:
    network = torch.nn.Conv2d(1, 4, 3, padding=1)  # the rule: 2 x weights x pixels
    one = 2 * network.weight.numel() * 32 * 32
    small = relative_cost(tiny_candidate(training__epochs=1))
    assert small > one
    assert relative_cost(tiny_candidate(training__epochs=7)) == 7 * small
    larger = relative_cost(tiny_candidate(training__epochs=1, input__size=64))
    assert larger == pytest.approx(4 * small)


@pytest.mark.parametrize("family", ["unet", "unetpp", "unet2015"])
def test_wider_networks_cost_more_in_every_family(family: str) -> None:
    narrow = {"network.family": family, "network.widths": "4,8,16", "network.depth": 2}
    costs = [
        relative_cost(Candidate.from_knobs({**KNOBS, **narrow, "network.widths": widths}))
        for widths in ("4,8,16", "8,16,32")
    ]
    assert 2 < costs[1] / costs[0] < 4  # all but the first layer take four times as many


def test_shapes_leave_out_what_costs_nothing_and_nothing_else() -> None:
    plain = shape_of(tiny_candidate())
    for same in (
        {"optimizer__learning_rate": 0.5, "optimizer__schedule": "cosine"},
        {"training__epochs": 9, "training__patience": 1, "training__monitor": "dice"},
        {"postprocess__threshold": 0.2},
    ):
        assert shape_of(tiny_candidate(**same)) == plain
    for other in (
        {"loss": "bce"},
        {"optimizer__batch_size": 5},
        {"optimizer__name": "adamw"},
        {"training__precision": "bf16"},
        {"input__size": 64},
        {"augmentation__kinds": "none"},
        {"network__widths": "4,9"},
    ):
        assert shape_of(tiny_candidate(**other)) != plain


def test_an_epoch_is_made_of_steps_batches_and_saving() -> None:
    cost = StepCost(0, 2.0, 3.0, 0.5, 0, 0, 0, 0, 0, 0)
    assert cost.epoch_seconds(40, 64, batch_size=4) == 10 * 2.0 + 2 * 3.0 + 0.5


@pytest.mark.parametrize("kind", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_measuring_sees_what_grows_with_the_work(tiny: Path, kind: str) -> None:
    if kind == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    scan, runtime = scan_of(tiny), Runtime(kind, 1)
    small = measure_step(tiny_candidate(), runtime, scan)
    # A GPU takes as long for launching a few small kernels as for doing them.
    widths, size = ("32,64", 64) if kind == "cpu" else ("128,256", 256)
    wide = {"network__widths": widths, "input__size": size, "optimizer__batch_size": 16}
    large = measure_step(tiny_candidate(**wide), runtime, scan)
    assert 0 < small.step_seconds < large.step_seconds
    assert 0 < small.validation_seconds < large.validation_seconds
    assert small.weights_bytes < large.weights_bytes < large.checkpoint_bytes
    assert large.peak_memory_bytes >= small.peak_memory_bytes > 0
    assert 0 < large.oof_bytes <= 3 * size * size + 200


def test_what_a_process_does_once_is_no_part_of_its_first_shape(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[None] = []
    pause = 0.5

    def first_slow(*arguments: object) -> torch.nn.Module:
        if not started:
            time.sleep(pause)
        started.append(None)
        return build_network(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr("gitract_core.training.loop.build_network", first_slow)
    monkeypatch.setattr(measuring, "meet", lambda: None)
    shape = shape_of(tiny_candidate())
    task = measuring._Task((shape,), (), Runtime("cpu", 1), (scan_of(tiny),))
    start_seconds, _ = measuring._begin(task, time.time())
    assert measuring._measure_shape(0).setup_seconds < pause <= start_seconds


def test_measuring_leaves_the_order_of_chance_alone(tiny: Path) -> None:
    torch.manual_seed(7)
    before = torch.random.get_rng_state()
    measure_step(tiny_candidate(), Runtime("cpu", 1), scan_of(tiny))
    assert torch.equal(torch.random.get_rng_state(), before)


def test_scoring_is_timed_for_each_native_pixel(tiny: Path) -> None:
    scan = scan_of(tiny)
    assert scan.native_pixels == 6 * 40 * 48
    found = measure_scoring(PostprocessKnobs(), 32, [scan, scan])
    assert 0 < found.truth_seconds < found.once < 1e-2
    assert 0 < found.score_seconds < found.once


class ClockedTraining:
    """Stands in for a training: epochs take so many seconds of a clock that it moves itself."""

    def __init__(self, step_seconds: float, validation_seconds: float, batch_size: int) -> None:
        self.seconds = step_seconds, validation_seconds
        self.batch_size, self.now, self.steps = batch_size, 0.0, []
        self.network = torch.nn.Identity()
        self.data = SimpleNamespace(training=())

    def run_epoch(self) -> None:
        steps = len(self.data.training) // self.batch_size
        late = 0 if self.steps else 30.0  # what only the first epoch waits for
        self.steps.append(steps)
        self.network.train()
        self.network(torch.zeros(1))
        self.now += late + steps * self.seconds[0]
        self.network.eval()
        self.network(torch.zeros(1))
        self.now += self.seconds[1]
        self.network(torch.zeros(1))  # the rest of a batch that went in parts


@pytest.mark.parametrize(
    ("step", "validation", "steps"),
    [
        (0.01, 0.02, [1, 1, *[4] * 7]),  # as many rounds as are ever made
        (0.0625, 0.125, [1, 1, 4, 4]),  # two and a half of .375 seconds fit in one second
        (0.125, 0.25, [1, 1, 4]),
        (0.5, 0.25, [1, 1, 1]),  # slow steps are taken one by one
    ],
)
def test_rounds_are_timed_after_a_warm_up_and_fill_a_second(
    step: float, validation: float, steps: list[int], tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = ClockedTraining(step, validation, batch_size=4)
    monkeypatch.setattr(time, "perf_counter", lambda: training.now)
    slices = cost._small_scan(scan_of(tiny), 32, torch.device("cpu"))
    rounds = cost._timed_rounds(training, slices, 4)  # type: ignore[arg-type]
    assert training.steps == steps
    assert np.array(rounds) == pytest.approx(np.array([(step, validation)] * len(steps[2:])))


def test_the_rate_is_of_the_slices_of_whole_epochs_beside_others(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[ClockedTraining] = []

    def training(shape: Candidate, *_: object) -> ClockedTraining:
        made.append(ClockedTraining(0.5, 1.0, shape.optimizer.batch_size))
        return made[0]

    def others_take_a_minute() -> None:
        made[0].now += 60

    monkeypatch.setattr(cost, "_training", training)
    monkeypatch.setattr(time, "perf_counter", lambda: made[0].now if made else 0.0)
    rate = cost.measure_rate(
        tiny_candidate(),
        Runtime("cpu", 1),
        scan_of(tiny),
        cache_bytes=8,
        meet=others_take_a_minute,
        seconds=9.0,
    )
    assert made[0].steps == [8, 8, 8], "8 steps a validation batch; two epochs of 5 s fill 9 s"
    assert rate == pytest.approx(2 * 8 * 4 / 10)


def test_typical_probabilities_are_masks_with_soft_borders(tiny: Path) -> None:
    """Their borders are as wide at every size, as a share of the image."""
    scan = scan_of(tiny)
    shares = {}
    for size in (32, 128):
        soft = cost.soft_masks(scan, size)
        assert soft.shape == (3, 6, size, size)
        assert soft.max() > 128
        shares[size] = ((soft > 2) & (soft < 253)).mean()
    assert math.isclose(shares[32], shares[128], rel_tol=0.3)
    assert 0.05 < shares[128] < 0.6


def test_scoring_in_millimeters_is_measured_where_the_score_asks_for_it(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, measured = SurfaceDistances.between, list[SpacingMm]()

    def noted(first: np.ndarray, second: np.ndarray, spacing_mm: SpacingMm) -> SurfaceDistances:
        measured.append(spacing_mm)
        return real(first, second, spacing_mm)

    monkeypatch.setattr(SurfaceDistances, "between", noted)
    measure_scoring(PostprocessKnobs(), 32, [scan_of(tiny)], "dice[stomach=2]")
    assert measured == []
    measure_scoring(PostprocessKnobs(), 32, [scan_of(tiny)], "0.5*dice + 0.5*hd95_mm")
    assert measured == [(3.0, 1.5, 1.5)] * 3
