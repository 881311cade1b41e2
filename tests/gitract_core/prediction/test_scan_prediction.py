"""Probabilities of a scan: slice by slice, whatever the batches, and as bytes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from gitract_core.data.cache import build_cache
from gitract_core.data.slices import SliceIndex
from gitract_core.device import resolve_precision
from gitract_core.knobs import InputKnobs
from gitract_core.prediction.device_slices import DeviceSlices, slices_on
from gitract_core.prediction.inference import BATCH_SLICES, InParts, batches, predict_scan
from gitract_core.prediction.probabilities import to_bytes
from gitract_core.spec import Candidate
from gitract_core.trial.held_out_prediction import held_out_scans, predict_held_out
from tests.support.tiny_training import CPU, made_up_training, spec_of

SLICES = 2 * BATCH_SLICES + 5


class Passing(nn.Module):
    """Says the first three planes that it is given: a logit of 0 for black, 10 for white."""

    def forward(self, planes: torch.Tensor) -> torch.Tensor:
        return 10 * planes[:, :3]


def said(gray: np.ndarray) -> np.ndarray:
    """What ``Passing`` says of gray levels, as bytes."""
    return np.round(255 / (1 + np.exp(-10 * gray.astype(float) / 255))).astype(np.uint8)


def scan(slices: int = SLICES) -> torch.Tensor:
    random = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (slices, 16, 16), dtype=torch.uint8, generator=random)


@pytest.mark.parametrize("slices", [1, BATCH_SLICES, BATCH_SLICES + 1, SLICES])
def test_each_slice_is_predicted_once_and_in_its_place(slices: int) -> None:
    images = scan(slices)
    found = predict_scan(Passing(), images, Candidate(input=InputKnobs(16)), "fp32")
    assert found.shape == (3, slices, 16, 16)
    expected = said(images.numpy())
    assert all(np.abs(organ.astype(int) - expected).max() <= 1 for organ in found)


@pytest.mark.parametrize("stride", [1, 3])
def test_neighbors_are_seen_across_batches_and_the_ends_are_repeated(stride: int) -> None:
    images = scan()
    knobs = InputKnobs(16, context=3, stride=stride)
    found = predict_scan(Passing(), images, Candidate(input=knobs), "fp32")
    for channel, offset in enumerate((-stride, 0, stride)):
        rows = np.clip(np.arange(SLICES) + offset, 0, SLICES - 1)
        expected = said(images.numpy()[rows])
        assert np.abs(found[channel].astype(int) - expected).max() <= 1


@pytest.mark.parametrize("flip", [False, True])
def test_parts_change_nothing(flip: bool) -> None:
    torch.manual_seed(0)
    network, candidate = nn.Conv2d(3, 3, 3, padding=1), Candidate(input=InputKnobs(16))
    whole = predict_scan(network, scan(), candidate, "fp32", flip=flip)
    for size in (1, 7, BATCH_SLICES - 1):
        parts = InParts(size)
        found = predict_scan(network, scan(), candidate, "fp32", flip=flip, in_parts=parts)
        assert np.abs(found.astype(int) - whole).max() <= 1
        assert parts.split == size


class Arithmetic(nn.Module):
    """Notes in which arithmetic it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.noted: list[bool] = []

    def forward(self, planes: torch.Tensor) -> torch.Tensor:
        self.noted.append(torch.is_autocast_enabled("cpu"))
        return planes


@pytest.mark.parametrize(("precision", "short"), [("bf16", True), ("fp32", False)])
def test_precision_is_what_was_asked_for(precision: str, short: bool) -> None:
    network = Arithmetic()
    predict_scan(network, scan(2), Candidate(input=InputKnobs(16)), precision, flip=True)
    assert network.noted == [short, short]
    assert resolve_precision(precision, CPU) == precision
    training = made_up_training({"training.precision": precision})
    seen: list[bool] = []
    training.network.register_forward_pre_hook(
        lambda *_: seen.append(torch.is_autocast_enabled("cpu"))
    )
    training.run_epoch()
    assert set(seen) == {short}


@pytest.mark.parametrize(("able", "expected"), [(True, "bf16"), (False, "fp32")])
def test_auto_is_the_short_arithmetic_where_the_device_has_it(
    able: bool, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gitract_core.device.supports_bf16", lambda device: able)
    assert resolve_precision("auto", CPU) == expected


@pytest.mark.parametrize("flip", [False, True])
def test_held_out_scans_are_each_predicted_from_their_own_slices(flip: bool, tiny: Path) -> None:
    cache = build_cache(SliceIndex.from_directory(tiny), 16)
    torch.manual_seed(0)
    network, spec = nn.Conv2d(1, 3, 3, padding=1), spec_of()
    table = cache.index.table.reset_index(drop=True)
    rows = table.index[table["case"].isin(["12", "1"])].to_numpy()
    scans = held_out_scans(cache, rows)
    assert scans == ["case1_day0", "case1_day3", "case12_day2"]
    data = {"cache": cache, "slices": slices_on(cache, CPU), "scans": scans}
    found = predict_held_out(network, spec, **data, flip=flip)
    assert list(found) == scans
    for name, values in found.items():
        images = torch.from_numpy(cache.images[table["scan"] == name])
        alone = predict_scan(network, images, spec.candidate, "fp32", flip=flip)
        assert np.array_equal(values, alone)
        other = predict_scan(network, images, spec.candidate, "fp32", flip=not flip)
        assert not np.array_equal(values, other)


def test_memory_that_sufficed_is_told_as_no_split() -> None:
    assert InParts().split == 0
    assert InParts(BATCH_SLICES).split == 0


def test_batches_cover_everything_once() -> None:
    for count in (0, 1, 4, 5, 8, 11):
        for first in (0, 4, 8):
            spans = list(batches(count, 4, first))
            covered = [row for span in spans for row in range(span.start, span.stop)]
            assert covered == list(range(first, count))
            assert all(span.stop - span.start == 4 for span in spans[:-1])


def test_probabilities_are_rounded_and_the_smallest_left_out() -> None:
    bytes_of = to_bytes(np.array([0, 4.4, 4.6, 5, 5.4, 127.4, 127.6, 254.4, 254.6, 255]) / 255)
    assert bytes_of.tolist() == [0, 0, 5, 5, 5, 127, 128, 254, 255, 255]
    assert bytes_of.dtype == np.uint8


def test_bits_of_a_mask_are_organs_in_their_order() -> None:
    masks = torch.arange(8, dtype=torch.uint8)[:, None, None].repeat(1, 2, 2)
    ends = torch.zeros(8, dtype=torch.int64)
    bits = masks[:, None]  # (slices, planes, size, size)
    slices = DeviceSlices(torch.zeros_like(bits), bits, ends, ends + 7, n_organs=3)
    rows = torch.tensor([5, 0, 7, 2])
    found = slices.batch_masks(rows)
    assert found.dtype == torch.float32
    assert found[:, :, 1, 0].tolist() == [[1, 0, 1], [0, 0, 0], [1, 1, 1], [0, 1, 0]]


def test_gray_levels_are_shares_of_white() -> None:
    images = torch.tensor([0, 51, 255], dtype=torch.uint8)[:, None, None].repeat(1, 2, 2)
    slices = DeviceSlices.of_scan(images)
    for knobs in (InputKnobs(16), InputKnobs(16, channels=1), InputKnobs(16, context=3)):
        seen = slices.batch_images(torch.tensor([2, 0, 1]), knobs)
        assert seen.shape == (3, knobs.planes, 2, 2)
        middle = seen[:, knobs.planes // 2, 0, 0]
        assert middle.tolist() == pytest.approx([1.0, 0.0, 0.2])
