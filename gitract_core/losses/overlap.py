"""Losses from overlaps of probabilities p and truth t, all through sums of p*t, p and t.

Every ratio is smoothed by 1 pixel above and below. An empty mask is then well defined: the loss
falls to 0 as the probabilities do, and its gradient pushes them down; it is finite everywhere.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gitract_core.losses.weighted_sum import loss_term

SMOOTH_PX = 1.0
TVERSKY_FALSE_POSITIVE = 0.3
TVERSKY_FALSE_NEGATIVE = 0.7
FOCAL_TVERSKY_EXPONENT = 3 / 4
POOLED = (0, 2, 3)
PER_SLICE = (2, 3)


def _sums(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Pooled sums of p*t, p and t, each (classes,)."""
    probabilities = torch.sigmoid(logits)
    overlap = (probabilities * targets).sum(POOLED)  # (classes,)
    return overlap, probabilities.sum(POOLED), targets.sum(POOLED)


@loss_term("dice", pooled=True)
def dice(logits: Tensor, targets: Tensor) -> Tensor:
    """1 - (2 sum pt + 1) / (sum p + sum t + 1), pooled per class; 0 to 1.

    Plain sums in the denominator: Drozdzal et al. 2016 (arXiv 1608.04117), equation 2, here with
    the "1 -" that the paper leaves out (see `dice_as_printed`). A class that is absent from the
    whole batch counts; its loss tends to 0 with its probabilities.
    """
    return 1 - dice_as_printed(logits, targets)


@loss_term("dice_as_printed", pooled=True)
def dice_as_printed(logits: Tensor, targets: Tensor) -> Tensor:
    """(2 sum pt + 1) / (sum p + sum t + 1), pooled per class; 0 to 1.

    The paper's Dice loss as it is printed, without "1 -": to minimize it is to minimize overlap.
    Kept to show why the paper found that "Dice cannot be optimized". Empty against empty is 1.
    """
    overlap, predicted, true = _sums(logits, targets)
    return ((2 * overlap + SMOOTH_PX) / (predicted + true + SMOOTH_PX)).mean()


@loss_term("soft_dice")
def soft_dice(logits: Tensor, targets: Tensor) -> Tensor:
    """1 - (2 sum pt + 1) / (sum p^2 + sum t^2 + 1), per slice and class, then averaged; 0 to 1.

    Squares in the denominator: Milletari, Navab and Ahmadi 2016 (V-Net, arXiv 1606.04797),
    section 3. Two differences from `dice`: the squares make the gradient of a confident pixel
    larger, and each slice and class weighs the same, however few pixels it holds. An empty slice
    asks for probabilities well below 1 / sqrt(pixels) before its loss goes to 0.
    """
    probabilities = torch.sigmoid(logits)
    overlap = (probabilities * targets).sum(PER_SLICE)  # (batch, classes)
    squares = (probabilities**2).sum(PER_SLICE) + (targets**2).sum(PER_SLICE)
    return 1 - ((2 * overlap + SMOOTH_PX) / (squares + SMOOTH_PX)).mean()


@loss_term("iou", "jaccard", pooled=True)
def iou(logits: Tensor, targets: Tensor) -> Tensor:
    """1 - (sum pt + 1) / (sum p + sum t - sum pt + 1), pooled per class; 0 to 1.

    Source: Rahman and Wang 2016, doi 10.1007/978-3-319-50835-1_22.
    """
    overlap, predicted, true = _sums(logits, targets)
    return 1 - ((overlap + SMOOTH_PX) / (predicted + true - overlap + SMOOTH_PX)).mean()


@loss_term("tversky", pooled=True)
def tversky(logits: Tensor, targets: Tensor) -> Tensor:
    """1 - Tversky index with 0.3 for false positives and 0.7 for false negatives; 0 to 1.

    Source: Salehi, Erdogmus and Gholipour 2017, arXiv 1706.05721, with its best weights. Missed
    pixels cost more than invented ones.
    """
    return (1 - _tversky_index(logits, targets)).mean()


@loss_term("focal_tversky", pooled=True)
def focal_tversky(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean over classes of (1 - Tversky index) to the power of 3/4; 0 to 1.

    Source: Abraham and Khan 2019, arXiv 1810.07842 (gamma 4/3, exponent 1/gamma). The root is
    infinitely steep at a perfect class, so the base is held above 1e-6, with zero gradient below.
    """
    missing = (1 - _tversky_index(logits, targets)).clamp_min(1e-6)
    return (missing**FOCAL_TVERSKY_EXPONENT).mean()


def _tversky_index(logits: Tensor, targets: Tensor) -> Tensor:
    overlap, predicted, true = _sums(logits, targets)
    false_positives = TVERSKY_FALSE_POSITIVE * (predicted - overlap)
    false_negatives = TVERSKY_FALSE_NEGATIVE * (true - overlap)
    return (overlap + SMOOTH_PX) / (overlap + false_positives + false_negatives + SMOOTH_PX)
