"""Deep supervision without a special case in the training loop.

A network that judges itself at several places leaves the logits of those places in its attribute
``auxiliary_logits`` during a forward pass in training mode, and returns its ordinary logits. The
loop wraps its loss once, ``loss = supervise(build_loss(...), network)``, whatever the network.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import torch

if TYPE_CHECKING:
    from torch import Tensor, nn


class Loss(Protocol):
    """What is minimized: a scalar of logits and targets."""

    def __call__(self, logits: Tensor, targets: Tensor, *known: Tensor) -> Tensor:
        """The loss of a batch; see ``WeightedSum``."""


def supervise(loss: Loss, network: nn.Module) -> Loss:
    """The loss itself, or its mean over a network's ordinary and auxiliary logits.

    Args:
        loss: callable of logits, targets and, where not all annotation is, what is known.
        network: any module; only one with an attribute ``auxiliary_logits`` (a list of tensors of
            the shape of its logits) changes anything.
    """
    if not hasattr(network, "auxiliary_logits"):
        return loss

    def supervised(logits: Tensor, targets: Tensor, *known: Tensor) -> Tensor:
        auxiliary: list[Tensor] = network.auxiliary_logits  # type: ignore[assignment]
        values = [loss(each, targets, *known) for each in (logits, *auxiliary)]
        auxiliary.clear()  # else the graph of this step would live on until the next
        return torch.stack(values).mean()

    return supervised
