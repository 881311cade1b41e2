"""A training step whose tensors stay in place, so that CUDA can replay it as one launch.

A step of a small U-Net is several hundred kernels, and a GPU does most of them faster than a
processor can launch them. Recorded as a CUDA graph, forward pass, loss, backward pass and
optimizer are launched at once. Only whole batches are captured; a part of a batch, and the
micro-batches of a device that is too small, are trained as without capture, on the same weights.

On a CPU the same class runs the step itself on the same static tensors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import nn

from gitract_core.device import Replayed


class CapturedStep:
    """A training step on whole batches.

    Args:
        step: takes a batch's tensors, moves the weights, gives the loss, detached. It must not wait
            for the device, and must allocate what it needs anew each time, gradients included.
        batch: images, masks and whatever else the step takes, of the shape, dtype and layout that
            all batches have.
        network, optimizer: the warm-up leaves them as they are.
        name: what is trained, for the error.

    Raises:
        TrialError: the step cannot be recorded.
        torch.OutOfMemoryError: it does not fit the device.
    """

    def __init__(
        self,
        step: Callable[..., torch.Tensor],
        *batch: torch.Tensor,
        network: nn.Module,
        optimizer: torch.optim.Optimizer,
        name: str,
    ) -> None:
        self._batch = batch
        with unchanged(network, optimizer):
            self._run = Replayed(lambda: step(*batch), batch[0].device, name)

    def fits(self, images: torch.Tensor) -> bool:
        """Whether a batch is as large as the captured one."""
        return images.shape == self._batch[0].shape

    def __call__(self, *batch: torch.Tensor) -> torch.Tensor:
        """Train a batch; its loss, which the next call overwrites."""
        for kept, given in zip(self._batch, batch, strict=True):
            kept.copy_(given)
        return self._run()


@contextmanager
def unchanged(network: nn.Module, optimizer: torch.optim.Optimizer) -> Iterator[None]:
    """Whatever trains in this context leaves no trace: all values return, to the same memory.

    What an optimizer makes at its first step, moments and a count of steps, is set to zero, which
    is what it starts from.
    """
    before = [(tensor, tensor.detach().clone()) for tensor in _tensors(network, optimizer)]
    try:
        yield
    finally:
        with torch.no_grad():
            for tensor in _tensors(network, optimizer):
                tensor.zero_()
            for tensor, value in before:
                tensor.copy_(value)
            optimizer.zero_grad(set_to_none=True)


def _tensors(network: nn.Module, optimizer: torch.optim.Optimizer) -> list[torch.Tensor]:
    moments = [v for state in optimizer.state.values() for v in state.values()]
    tensors = [*network.state_dict(keep_vars=True).values(), *moments]
    return [t for t in tensors if isinstance(t, torch.Tensor)]
