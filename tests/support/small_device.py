"""A device whose memory holds a batch of few slices."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import nn

from gitract_core.networks import build_network


class SmallDevice:
    """Networks that run out of memory on batches larger than ``holds``, or ``validates``."""

    def __init__(self, holds: int, batch_norm: bool = True, validates: int = 1000) -> None:
        self.holds, self.batch_norm, self.validates = holds, batch_norm, validates
        self.refusals = 0

    def __call__(self, *arguments: object) -> nn.Module:
        network = build_network(*arguments)  # type: ignore[arg-type]
        if not self.batch_norm:
            for module in network.modules():
                for name, child in module.named_children():
                    if isinstance(child, nn.BatchNorm2d):
                        setattr(module, name, nn.Identity())
        network.register_forward_pre_hook(self._refuse)
        return network

    def _refuse(self, network: nn.Module, inputs: tuple[torch.Tensor]) -> None:
        if len(inputs[0]) > (self.holds if network.training else self.validates):
            self.refusals += 1
            self.fail()

    def fail(self) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory, says the test")


@contextmanager
def device_of(small: SmallDevice) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gitract_core.training.loop.build_network", small)
        patch.setattr("gitract_core.prediction.inference.build_network", small)
        yield
