"""A training of some made-up slices in memory: milliseconds an epoch, no files."""

from __future__ import annotations

import torch

from gitract_core.prediction.device_slices import DeviceSlices
from gitract_core.spec import Candidate, TrialSpec
from gitract_core.training.loop import FoldSlices, Training

CPU = torch.device("cpu")
SIZE = 16
SLICES = 30
TRAINING, VALIDATION = torch.arange(0, 19), torch.arange(19, SLICES)
KNOBS: dict[str, object] = {
    "network.widths": "2,4",
    "network.depth": 1,
    "input.size": SIZE,
    "input.channels": 1,
    "augmentation.kinds": "none",
    "optimizer.learning_rate": 0.01,
    "optimizer.batch_size": 4,  # the last batch of 19 slices is a part
    "training.epochs": 4,
    "training.precision": "fp32",
}


def made_up_slices(*, numbered: bool = False) -> DeviceSlices:
    """Slices of noise with a bright square that all organs hold in part.

    Args:
        numbered: instead give every pixel of a slice its row as gray level.
    """
    random = torch.Generator().manual_seed(7)
    images = torch.randint(0, 120, (SLICES, SIZE, SIZE), dtype=torch.uint8, generator=random)
    masks = torch.zeros(SLICES, SIZE, SIZE, dtype=torch.uint8)
    for row in range(SLICES):
        y, x = torch.randint(0, SIZE - 6, (2,), generator=random).tolist()
        images[row, y : y + 6, x : x + 6] += 100
        masks[row, y : y + 6, x : x + 6] = 1 + row % 7
    if numbered:
        images = torch.arange(SLICES, dtype=torch.uint8)[:, None, None].repeat(1, SIZE, SIZE)
    first = torch.zeros(SLICES, dtype=torch.int64)
    last = first + SLICES - 1
    return DeviceSlices(images[:, None], masks[:, None], first, last, n_organs=3)


def spec_of(knobs: dict[str, object] | None = None, *, fold: int = 0, seed: int = 0) -> TrialSpec:
    """A trial of ``KNOBS`` with some changed."""
    candidate = Candidate.from_knobs({**KNOBS, **(knobs or {})})
    return TrialSpec(candidate, fold, 5, seed, "0" * 16, "1" * 16)


def made_up_training(
    knobs: dict[str, object] | None = None,
    *,
    fold: int = 0,
    seed: int = 0,
    slices: DeviceSlices | None = None,
    validation: torch.Tensor = VALIDATION,
) -> Training:
    """A training on the CPU that has not begun."""
    data = FoldSlices(slices or made_up_slices(), TRAINING, validation)
    return Training(spec_of(knobs, fold=fold, seed=seed), data, CPU)
