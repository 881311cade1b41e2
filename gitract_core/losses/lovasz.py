"""The Lovasz hinge: a convex surrogate of 1 - IoU, exact at the corners.

Source: Berman, Triki and Blaschko 2018, arXiv 1705.08790, algorithm 1 and equation 10.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gitract_core.losses.weighted_sum import loss_term


@loss_term("lovasz_hinge", pooled=True)
def lovasz_hinge(logits: Tensor, targets: Tensor) -> Tensor:
    """Lovasz extension of the Jaccard loss at the hinge errors, pooled per class; 0 or more.

    A class that is absent from the whole batch costs the hinge error of its most confident pixel
    alone, since any invented pixel already takes its IoU from 1 to 0. It sorts all pixels: on a
    CPU it costs more than the other losses together.
    """
    by_class = logits.transpose(0, 1).flatten(1)  # (classes, batch * height * width)
    truth = targets.transpose(0, 1).flatten(1)
    errors, order = torch.sort(1 - by_class * (2 * truth - 1), dim=1, descending=True)
    slopes = _jaccard_slopes(truth.gather(1, order))
    return (errors.relu() * slopes).sum(1).mean()


def _jaccard_slopes(sorted_truth: Tensor) -> Tensor:
    """Growth of the Jaccard loss as pixels are added to the errors; (classes, pixels), in 0..1.

    Counts are exact in float32 up to 2^24 pixels a class, 64 slices of 512 x 512.
    """
    total = sorted_truth.sum(1, keepdim=True)  # (classes, 1)
    found = sorted_truth.cumsum(1)
    union = total + (1 - sorted_truth).cumsum(1)
    loss = 1 - (total - found) / union
    return torch.diff(loss, dim=1, prepend=torch.zeros_like(total))
