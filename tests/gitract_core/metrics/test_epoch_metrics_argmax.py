"""The paper's open problem 1: its accuracy is "unstable and unrelated to the loss". Why."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch

from gitract_core.losses import build_loss
from gitract_core.metrics.epoch import EpochCounts, EpochMetrics


def perfect_logits(background: Sequence[float]) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits whose masks equal the truth at every pixel, with channel logits of the background.

    Returns:
        Logits and truth, each (1, 3, 64, 64): a large organ in channel 1, another in channel 2
        that overlaps it, and no organ on more than 90 percent of the slice.
    """
    truth = torch.zeros(1, 3, 64, 64, dtype=torch.float64)
    truth[0, 1, 10:24, 10:24] = 1
    truth[0, 2, 18:30, 18:30] = 1
    empty = torch.tensor(background, dtype=torch.float64).view(1, 3, 1, 1).expand_as(truth)
    return torch.where(truth > 0, 12.0, empty), truth


def measured(logits: torch.Tensor, truth: torch.Tensor) -> tuple[float, EpochMetrics]:
    counts = EpochCounts("cpu", 3)
    counts.update(logits, truth)
    return float(build_loss("bce + 0.5*dice")(logits, truth)), counts.compute()


def test_argmax_accuracy_swings_on_background_that_neither_loss_nor_masks_notice() -> None:
    quiet = -12.0
    logits, truth = perfect_logits([quiet + 1e-3, quiet, quiet])
    assert float((truth.sum(1) == 0).double().mean()) > 0.9
    first_loss, first = measured(logits, truth)
    moved, _ = perfect_logits([quiet, quiet + 1e-3, quiet])
    second_loss, second = measured(moved, truth)
    assert torch.equal(logits > 0, truth > 0)  # every mask is perfect, before and after
    assert torch.equal(moved > 0, truth > 0)
    assert abs(first_loss - second_loss) < 1e-5
    assert first.paper_accuracy > 0.98  # channel 0 wins where the truth has no channel
    assert second.paper_accuracy < 0.1  # channel 1 wins there now
    for honest in ("dice", "iou", "accuracy"):
        assert getattr(first, honest) == getattr(second, honest) == 1.0
    assert first.balanced_accuracy == second.balanced_accuracy == 1.0  # of the channels in truth


def test_argmax_accuracy_picks_one_of_two_organs_that_overlap() -> None:
    logits, truth = perfect_logits([-12.0, -12.1, -12.1])
    overlap = truth[0].sum(0) == 2
    assert overlap.any()
    _, before = measured(logits, truth)
    logits[0, 2][overlap] += 1e-3  # the second of the two true channels is now the larger
    _, after = measured(logits, truth)
    assert torch.equal(logits > 0, truth > 0)
    lost = float(overlap.double().mean())
    assert before.paper_accuracy - after.paper_accuracy == pytest.approx(lost)
    assert before.balanced_accuracy == after.balanced_accuracy == 1.0
