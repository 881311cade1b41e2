"""U-Net++: nested, dense skips and deep supervision.

Source: Zhou et al. 2018, arXiv 1807.10165. Node X(i, j) of level i takes every earlier node of its
level and what comes up from X(i + 1, j - 1). Nodes X(0, 1) to X(0, depth) each end a whole U-Net of
their own depth, and each has a head. In training the deepest head is the network's answer and the
others wait in ``auxiliary_logits`` for ``gitract_core.losses.supervise``; in evaluation the answer
is the mean of all heads (the source's "accurate mode").
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from gitract_core.networks.receptive_field import receptive_field_exact
from gitract_core.networks.registry import register
from gitract_core.networks.unet import (
    checked_widths,
    double_convolution,
    initialize,
    join,
    require_divisible,
    upsampling,
)
from gitract_core.networks.widths import resolve_widths

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gitract_core.knobs import NetworkKnobs


class UNetPlusPlus(nn.Module):
    """A U-Net++ with deep supervision and any widths.

    Args:
        in_channels: channels of the images.
        out_channels: channels of the logits.
        widths: feature maps per level, top first; ``len(widths) - 1`` poolings.

    Attributes:
        auxiliary_logits: after a forward pass in training mode, the logits of the shallower heads,
            each of the shape of the output; else empty.

    Raises:
        SpaceError: fewer than two widths, or one below 1.
    """

    def __init__(self, in_channels: int, out_channels: int, widths: Sequence[int]) -> None:
        super().__init__()
        self.widths = checked_widths(widths)
        below = [in_channels, *self.widths]
        self.encoder = nn.ModuleList(
            double_convolution(i, o) for i, o in zip(below, self.widths, strict=False)
        )
        self.pool = nn.MaxPool2d(2)
        self.upsamplers, self.nodes = nn.ModuleDict(), nn.ModuleDict()
        for column in range(1, len(self.widths)):
            for level in range(len(self.widths) - column):
                here, deep = self.widths[level], self.widths[level + 1]
                name = f"{level}_{column}"
                self.upsamplers[name] = upsampling(deep, here)
                self.nodes[name] = double_convolution((column + 1) * here, here)
        self.heads = nn.ModuleList(
            nn.Conv2d(self.widths[0], out_channels, 1) for _ in self.widths[1:]
        )
        self.auxiliary_logits: list[Tensor] = []
        initialize(self)

    @property
    def depth(self) -> int:
        """Number of poolings."""
        return len(self.widths) - 1

    def receptive_field(self) -> int:
        """Side, in input pixels, that one unit of the deepest level sees."""
        return receptive_field_exact(self.depth)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (batch, out_channels, height, width) of images (batch, in_channels, h, w).

        Raises:
            SpaceError: a height or width that the poolings cannot halve evenly.
        """
        require_divisible(images, self.depth)
        logits: list[Tensor] = [
            head(node) for head, node in zip(self.heads, self._top_nodes(images), strict=True)
        ]
        self.auxiliary_logits.clear()
        if self.training:
            self.auxiliary_logits.extend(logits[:-1])
            return logits[-1]
        return torch.stack(logits).mean(0)

    def _top_nodes(self, images: Tensor) -> list[Tensor]:
        """X(0, 1) to X(0, depth), each (batch, widths[0], height, width)."""
        rows: list[list[Tensor]] = []  # rows[i] holds X(i, 0), X(i, 1), ... as far as made
        features = images
        for number, level in enumerate(self.encoder):
            features = level(self.pool(features) if number else features)
            rows.append([features])
        for column in range(1, len(rows)):
            for level_number in range(len(rows) - column):
                name = f"{level_number}_{column}"
                risen = self.upsamplers[name](rows[level_number + 1][column - 1])
                node = self.nodes[name](join(*rows[level_number], risen))
                rows[level_number].append(node)
        return rows[0][1:]


@register("unetpp")
def build_unetpp(knobs: NetworkKnobs, in_channels: int, out_channels: int) -> UNetPlusPlus:
    """The U-Net++ that the knobs name."""
    return UNetPlusPlus(in_channels, out_channels, resolve_widths(knobs))
