"""The exponential moving average of a network's weights and buffers."""

from __future__ import annotations

import copy

import torch
from torch import nn


class MovingAverage:
    """A copy of a network that follows it slowly.

    It starts as the network is; each step makes it ``decay`` times itself plus ``1 - decay`` times
    the network (Polyak and Juditsky 1992, doi 10.1137/0330046, with exponential weights). Buffers
    (the statistics of batch normalization) are averaged too; whole numbers are copied.

    Args:
        network: what is followed; on the device where it is trained.
        decay: above 0, below 1.

    Attributes:
        network: the average.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.network, self.decay = copy.deepcopy(network).requires_grad_(False), decay

    @torch.no_grad()
    def follow(self, network: nn.Module) -> None:
        """Take one step towards the network; the device is not waited for."""
        mine, its = self.network.state_dict(), network.state_dict()
        moving = [name for name, tensor in mine.items() if tensor.is_floating_point()]
        torch._foreach_lerp_([mine[n] for n in moving], [its[n] for n in moving], 1 - self.decay)
        for name in mine.keys() - set(moving):
            mine[name].copy_(its[name])
