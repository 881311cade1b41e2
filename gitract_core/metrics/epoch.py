"""What an epoch is judged by, at network size, from counts that stay on the device.

Two families, side by side:

* **honest**: counts pooled over all pixels of the epoch, per class; a figure for several classes is
  the mean over the classes for which it is defined.
* **paper-compatible**: what the paper's figures most likely are (its Dice lies below its IoU, which
  no single averaging allows): soft Dice flattened over a whole batch and all classes; soft IoU per
  slice over the three classes; both smoothed by 1, so that an empty slice predicted empty counts
  nearly 1; and an "accuracy" that compares the argmax over the three channels. Averaged over
  batches as Keras does, whatever their size. They are here to be set beside the paper's tables, not
  to rank by.

Whether the paper's IoU used probabilities or thresholded masks is not known; the usual Keras code
for this contest takes probabilities, and so do we.

This module imports torch and is therefore not part of ``gitract_core.metrics``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from gitract_core.errors import SpaceError

SMOOTH_PX = 1.0
_FAR_BELOW = -1e4  # a logit whose probability is 0


@dataclass(frozen=True, slots=True)
class EpochMetrics:
    """Metrics of one epoch; every figure 0 to 1, or nan where it is not defined.

    Attributes:
        dice, iou: pooled; nan for a class that neither prediction nor truth holds.
        accuracy: share of pixels told right, per class.
        balanced_accuracy: mean of sensitivity and specificity; nan for a class absent from truth.
        row_dice: mean Dice over (slice, class) rows in which prediction or truth is not empty, the
            contest's ``skip`` reading, but at network size.
        paper_dice, paper_iou, paper_accuracy: see the module; means over batches.
    """

    dice: float
    iou: float
    accuracy: float
    balanced_accuracy: float
    row_dice: float
    paper_dice: float
    paper_iou: float
    paper_accuracy: float


class EpochCounts:
    """Sums over the batches of an epoch, on the device; the host waits in ``compute`` alone.

    Args:
        device: where logits and targets will be.
        classes: number of channels.

    >>> counts = EpochCounts("cpu", 3)
    >>> truth = torch.ones(1, 3, 2, 2)
    >>> counts.update(40 * truth - 20, truth)
    >>> counts.compute().dice
    1.0
    """

    def __init__(self, device: torch.device | str, classes: int) -> None:
        # Rows: true positives, false positives, false negatives, pixels. Whole numbers, since an
        # epoch has more pixels than float32 can count.
        self._pixels = torch.zeros(4, classes, dtype=torch.int64, device=device)
        # Rows: sum of Dice over rows that are not empty, number of those rows.
        self._rows = torch.zeros(2, classes, dtype=torch.float64, device=device)
        self._paper = torch.zeros(3, dtype=torch.float64, device=device)
        self._batches = 0

    def update(self, logits: Tensor, targets: Tensor, known: Tensor | None = None) -> None:
        """Count a batch.

        Args:
            logits: (batch, classes, height, width), floating point; a pixel is predicted where its
                logit is above 0, which is a probability above 0.5.
            targets: same shape; boolean, whole or floating-point numbers, 0 or 1.
            known: (batch, classes), 1 where the annotation is known, else 0; None where it is
                throughout. Entries that are not known are not counted; in the paper's figures they
                are empty against empty.

        Raises:
            SpaceError: shapes that differ, or another number of classes.
        """
        expected = (logits.shape[0], self._pixels.shape[1], *logits.shape[2:])
        if logits.shape != targets.shape or tuple(logits.shape) != expected or logits.ndim != 4:
            raise SpaceError(
                "epoch metrics",
                f"logits and targets of one shape (batch, {expected[1]}, height, width)",
                f"{tuple(logits.shape)} and {tuple(targets.shape)}",
                "pass the masks at network size",
            )
        with torch.no_grad():
            if known is not None:
                there = known[:, :, None, None] > 0
                logits = logits.masked_fill(~there, _FAR_BELOW)
                targets = targets.masked_fill(~there, 0)
            self._count(logits > 0, targets > 0.5, known)
            self._paper += paper_triple(logits, targets)
            self._batches += 1

    def _count(self, predicted: Tensor, true: Tensor, known: Tensor | None) -> None:
        overlap = _pixels_in(predicted & true)  # (batch, classes)
        size_predicted, size_true = _pixels_in(predicted), _pixels_in(true)
        pixels = torch.full_like(overlap, predicted.shape[2] * predicted.shape[3])
        if known is not None:
            pixels = pixels * (known > 0)
        counted = [overlap, size_predicted - overlap, size_true - overlap, pixels]
        self._pixels += torch.stack(counted).sum(1)  # (4, classes)
        sizes = size_predicted + size_true
        dice = 2 * overlap / sizes.clamp(min=1).double()  # 0 for an empty row, which is not counted
        self._rows += torch.stack([dice.sum(0), (sizes > 0).double().sum(0)])

    def compute(self) -> EpochMetrics:
        """The metrics of all batches so far; nan throughout before the first."""
        tp, fp, fn, pixels = self._pixels.double().cpu()
        dice = 2 * tp / (2 * tp + fp + fn)
        iou = tp / (tp + fp + fn)
        tn = pixels - tp - fp - fn
        accuracy = (tp + tn) / pixels
        balanced = (tp / (tp + fn) + tn / (tn + fp)) / 2
        row_sum, row_count = self._rows.cpu()
        paper = (self._paper.cpu() / self._batches).tolist() if self._batches else [math.nan] * 3
        return EpochMetrics(
            dice=float(dice.nanmean()),
            iou=float(iou.nanmean()),
            accuracy=float(accuracy.nanmean()),
            balanced_accuracy=float(balanced.nanmean()),
            row_dice=float(row_sum.sum() / row_count.sum()),
            paper_dice=paper[0],
            paper_iou=paper[1],
            paper_accuracy=paper[2],
        )


def paper_triple(logits: Tensor, targets: Tensor) -> Tensor:
    """Paper-compatible Dice, IoU and "accuracy" of one batch; (3,), float32 or wider, 0 to 1.

    The argmax of a pixel without any organ is its first channel, in truth as in Keras.
    """
    probabilities = torch.sigmoid(logits if logits.dtype == torch.float64 else logits.float())
    truth = targets.to(probabilities.dtype)
    overlap = (probabilities * truth).sum((1, 2, 3))  # (batch,)
    sizes = probabilities.sum((1, 2, 3)) + truth.sum((1, 2, 3))
    dice = (2 * overlap.sum() + SMOOTH_PX) / (sizes.sum() + SMOOTH_PX)
    iou = ((overlap + SMOOTH_PX) / (sizes - overlap + SMOOTH_PX)).mean()
    agreed = (_first_largest(probabilities) == _first_largest(truth)).to(dice.dtype).mean()
    return torch.stack([dice, iou, agreed])


def _pixels_in(masks: Tensor) -> Tensor:
    """Number of pixels of boolean masks; (batch, classes), int64."""
    # Bytes summed as int32 are four times as fast on a CPU as booleans summed as int64.
    return masks.to(torch.uint8).sum((2, 3), dtype=torch.int32).long()


def _first_largest(channels: Tensor) -> Tensor:
    """``channels.argmax(1)``, the first channel of equals; (batch, height, width), uint8.

    Written out because torch's reduces a short strided axis a hundred times slower on a CPU.
    """
    best = channels[:, 0]  # (batch, height, width)
    index = torch.zeros_like(best, dtype=torch.uint8)
    for number in range(1, channels.shape[1]):
        larger = channels[:, number] > best
        index = index.masked_fill(larger, number)
        best = torch.maximum(best, channels[:, number])
    return index
