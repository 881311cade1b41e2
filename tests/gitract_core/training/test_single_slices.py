"""Batches of one slice, which batch normalization cannot train on where a level is one pixel."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from gitract_core.errors import DataError, SpaceError, TrialError
from gitract_core.knobs import NetworkKnobs
from gitract_core.networks.normalization import fewest_slices
from gitract_core.spec import Candidate
from gitract_core.training.checking import check_candidate
from gitract_core.training.checkpoint import _load, _state
from gitract_core.training.loop import Training
from orchestrator.capacity.measuring import _measure_shape
from orchestrator.sweeps.preparation import SweepRequest, check
from tests.support.tiny_sweep import tiny_space
from tests.support.tiny_training import CPU, SIZE, TRAINING, made_up_training, spec_of

ONE_PIXEL = {"network.widths": "2,2,2,2,2", "network.depth": 4}
FAMILIES = ("unet", "unetpp", "monai:AttentionUnet")


class SmallDevice:
    """Notes how many slices each training pass has; larger ones do not fit it."""

    def __init__(self, network: nn.Module, holds: int = 1000) -> None:
        self.holds, self.passes = holds, list[int]()
        network.register_forward_pre_hook(self._note)

    def _note(self, network: nn.Module, inputs: tuple[torch.Tensor]) -> None:
        if network.training:
            if len(inputs[0]) > self.holds:
                raise torch.OutOfMemoryError("CUDA out of memory, says the test")
            self.passes.append(len(inputs[0]))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("size", [2, 6, 9, 18])
def test_the_last_slice_of_an_epoch_joins_the_batch_before(family: str, size: int) -> None:
    training = made_up_training(
        {**ONE_PIXEL, "network.family": family, "optimizer.batch_size": size}
    )
    seen = SmallDevice(training.network)
    record = training.run_epoch()
    assert record.train_loss == record.train_loss
    assert seen.passes == [size] * (len(TRAINING) // size - 1) + [size + 1]


@pytest.mark.parametrize("knobs", [{}, {"network.family": "unet2015"}, {"input.size": 32}])
def test_networks_that_take_a_single_slice_get_it_as_before(knobs: dict[str, object]) -> None:
    """Old runs end as they did: the same batches in the same order."""
    training = made_up_training({"optimizer.batch_size": 6} | knobs)
    seen = SmallDevice(training.network)
    if "input.size" not in knobs:
        training.run_epoch()
        assert seen.passes == [6, 6, 6, 1]
    assert training.fewest_slices() == 1


@pytest.mark.parametrize(
    ("size", "holds", "passes"),
    [
        (16, 8, [8, 8, 3]),
        (17, 16, [9, 8, 2]),
        (6, 3, [3, 3] * 2 + [3, 2, 2]),
        (7, 4, [4, 3, 4, 3, 3, 2]),
        (18, 10, [9, 8, 2]),
    ],
)
def test_memory_splits_make_no_part_of_one(size: int, holds: int, passes: list[int]) -> None:
    training = made_up_training({**ONE_PIXEL, "optimizer.batch_size": size})
    seen = SmallDevice(training.network, holds)
    training.run_epoch()
    assert seen.passes == passes
    assert sum(passes) == len(TRAINING)


def test_captured_steps_leave_the_larger_batch_to_a_plain_one() -> None:
    knobs = {**ONE_PIXEL, "optimizer.batch_size": 6}
    plain = made_up_training(knobs)
    captured = Training(spec_of(knobs), plain.data, CPU, capture=True)
    assert captured.run_epoch().train_loss == plain.run_epoch().train_loss
    assert captured.step.captured is not None


def test_a_batch_of_two_is_not_split_where_a_slice_alone_cannot_be_trained_on() -> None:
    training = made_up_training({**ONE_PIXEL, "optimizer.batch_size": 2})
    SmallDevice(training.network, 1)
    with pytest.raises(torch.OutOfMemoryError):
        training.run_epoch()
    assert training.step.micro_batch == 2


@pytest.mark.parametrize("family", FAMILIES)
def test_batches_of_one_are_refused_before_anything_starts(family: str) -> None:
    knobs = {**ONE_PIXEL, "network.family": family, "input.size": SIZE, "optimizer.batch_size": 1}
    with pytest.raises(SpaceError, match=r"batch_size: expected 2 or more.*of 16 px.*got 1"):
        check_candidate(Candidate.from_knobs(knobs))
    check_candidate(Candidate.from_knobs({**knobs, "input.size": 32}))
    check_candidate(Candidate.from_knobs({**knobs, "optimizer.batch_size": 2}))


@pytest.mark.parametrize("family", ["monai:UNet", "monai:BasicUNet"])
def test_a_single_pixel_is_refused_where_each_slice_is_normalized_alone(family: str) -> None:
    knobs = {**ONE_PIXEL, "network.family": family, "input.size": SIZE}
    with pytest.raises(SpaceError, match=r"input.size: expected 32 or more, since monai"):
        check_candidate(Candidate.from_knobs(knobs))
    check_candidate(Candidate.from_knobs({**knobs, "input.size": 32, "optimizer.batch_size": 1}))


def test_asking_a_network_draws_no_random_numbers() -> None:
    before = torch.get_rng_state()
    assert fewest_slices(NetworkKnobs(widths="3,3,3", depth=2), 1, 4) == 2
    assert torch.equal(before, torch.get_rng_state())


def test_a_fold_that_trains_on_one_slice_is_refused(own_tiny: Path, tmp_path: Path) -> None:
    for image in own_tiny.rglob("slice_*.png"):
        if "_0003_" not in image.name and "slice_0003" not in image.name:
            image.unlink()
    kept = (own_tiny / "train.csv").read_text().splitlines()
    (own_tiny / "train.csv").write_text(
        "\n".join(line for line in kept if "_0003," in line or line.startswith("id,")) + "\n"
    )
    exclude = ("case1_day3", "case12_day2", "case20_day1")  # two cases of one slice are left
    knobs = {"network.widths": "2,2,2,2,2,2", "network.depth": 5}
    with pytest.raises(DataError, match=r"2 or more slices to train on in every fold.* got 1"):
        check(SweepRequest(own_tiny, tiny_space(knobs), tmp_path / "run", exclude))
    check(SweepRequest(own_tiny, tiny_space(), tmp_path / "run", exclude))


def test_a_state_that_leaves_one_slice_is_not_gone_on_from() -> None:
    """A version that did not join it to the others saved such states, and failed after them."""
    training = made_up_training({**ONE_PIXEL, "optimizer.batch_size": 6})
    states = list[dict[str, object]]()
    training.run_epoch(lambda: states.append(_state(training)))
    state = states[0]
    _load(made_up_training({**ONE_PIXEL, "optimizer.batch_size": 6}), state)
    state["started"]["done"] = 18  # type: ignore[index]
    with pytest.raises(ValueError, match="a single slice is left"):
        _load(made_up_training({**ONE_PIXEL, "optimizer.batch_size": 6}), state)


def test_what_a_plan_cannot_measure_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise ValueError("no such\nstep")

    class Task:
        shapes, runtime, scans = (Candidate(),), None, (None,)

    monkeypatch.setattr("orchestrator.capacity.measuring.measure_step", refuse)
    monkeypatch.setattr("orchestrator.capacity.measuring.meet", lambda: None)
    monkeypatch.setattr("orchestrator.capacity.measuring._task", Task())
    with pytest.raises(TrialError, match=r"measuring unet paper.*ValueError: no such step"):
        _measure_shape(0)
