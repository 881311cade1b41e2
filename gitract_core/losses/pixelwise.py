"""Losses that are means over pixels. An empty mask is nothing special to them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from gitract_core.losses.weighted_sum import loss_term

FOCAL_GAMMA = 2
FOCAL_ALPHA = 0.25


@loss_term("bce")
def binary_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean binary cross-entropy over pixels and classes, from logits by log-sum-exp. 0 or more."""
    return F.binary_cross_entropy_with_logits(logits, targets)


@loss_term("focal")
def focal(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean focal loss: -alpha_t (1 - p_t)^2 log p_t, alpha 0.25 for foreground. 0 or more.

    Source: Lin et al. 2017, arXiv 1708.02002, equation 5, with its best gamma 2 and alpha 0.25.
    Easy pixels, nearly all of an empty slice, weigh next to nothing.
    """
    cross_entropy = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    missed = torch.sigmoid(logits)
    missed = missed + targets - 2 * missed * targets  # 1 - p_t
    alpha = 1 - FOCAL_ALPHA + (2 * FOCAL_ALPHA - 1) * targets
    return (alpha * missed**FOCAL_GAMMA * cross_entropy).mean()
