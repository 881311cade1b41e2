"""Organs that a mirrored image exchanges: in training, prediction and files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from gitract_core.data.cache import build_cache
from gitract_core.data.slices import SliceIndex
from gitract_core.errors import DataError
from gitract_core.organs import Organs
from gitract_core.prediction.device_slices import slices_on
from gitract_core.prediction.inference import predict_scan
from gitract_core.spec import Candidate
from tests.support.other_layouts import write_pairs
from tests.support.tiny_training import CPU, TRAINING, made_up_slices, made_up_training

PAIRED = Organs(("left", "liver", "right"), (("left", "right"),))


def test_masks_and_what_is_known_of_them_are_exchanged_where_a_slice_is_mirrored() -> None:
    known = torch.ones(30, 3)
    known[:, 0] = 0  # nobody looked at the left one
    plain = replace(made_up_slices(), known=known)
    paired = replace(plain, exchange=torch.tensor(PAIRED.mirrored))
    knobs: dict[str, object] = {"augmentation.kinds": "flip", "augmentation.probability": 0.5}
    before = made_up_training(knobs, slices=plain)._augmented(TRAINING)
    after = made_up_training(knobs, slices=paired)._augmented(TRAINING)
    assert torch.equal(before[0], after[0])
    untouched = plain.batch_images(TRAINING, made_up_training(knobs).candidate.input)
    mirrored = (before[0] != untouched).flatten(1).any(1)
    assert 0 < mirrored.sum() < len(TRAINING)
    order = list(PAIRED.mirrored)
    for part in (1, 2):
        assert torch.equal(after[part][mirrored], before[part][mirrored][:, order])
        assert torch.equal(after[part][~mirrored], before[part][~mirrored])
    assert not torch.equal(after[1], before[1])


class _Sides(nn.Module):
    """Finds the left organ left of the middle and the right one right of it."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits = torch.full((len(images), 3, *images.shape[2:]), -20.0)
        half = images.shape[-1] // 2
        logits[:, 0, :, :half] = 20.0
        logits[:, 2, :, half:] = 20.0
        return logits


def test_a_mirrored_prediction_is_exchanged_back() -> None:
    images = torch.zeros(2, 16, 16, dtype=torch.uint8)
    candidate = Candidate.from_knobs({"input.size": 16, "input.channels": 1, "network.depth": 1})
    plain = predict_scan(_Sides(), images, candidate, "fp32")
    right = predict_scan(_Sides(), images, candidate, "fp32", flip=True, mirrored=PAIRED.mirrored)
    wrong = predict_scan(_Sides(), images, candidate, "fp32", flip=True)
    assert np.array_equal(plain, right)
    assert not np.array_equal(plain, wrong)


def test_pairs_reach_the_device_from_dataset_yaml(tmp_path: Path) -> None:
    root = write_pairs(tmp_path / "d", organs={"left": 1, "right": 2})
    plain = SliceIndex.from_directory(root, patients="one-a-file")
    assert slices_on(build_cache(plain, 16), CPU).exchange is None
    with (root / "dataset.yaml").open("a") as file:
        file.write("pairs: [[left, right]]\n")
    index = SliceIndex.from_directory(root, patients="one-a-file")
    assert index.organs.pairs == (("left", "right"),)
    exchange = slices_on(build_cache(index, 16), CPU).exchange
    assert exchange is not None
    assert exchange.tolist() == [1, 0]


def test_organs_know_their_pairs_in_files() -> None:
    assert Organs.of({"other": 1, **PAIRED.to_json()}) == PAIRED
    assert Organs(("a",)).to_json() == {"organs": ["a"]}
    for pairs in ((("left", "lung"),), (("left", "right"), ("liver", "left"))):
        with pytest.raises(DataError, match="pairs of the organs"):
            Organs(PAIRED.names, pairs)
