"""The U-Net of 2015, which the paper starts from: Ronneberger, Fischer and Brox, arXiv 1505.04597.

Convolutions are not padded, so logits are smaller than the image by a margin on each side: 572 x
572 becomes 388 x 388 at depth 4. Skips are cropped to fit. With widths 64 to 1024 it has 23
convolutional layers and, for one channel in and two out, 31,030,658 parameters. The drop-out that
the paper mentions in passing is left out.

`MirroredUNet` mirrors an image outwards by the margin, so that its logits are as large as the
image, as those of every network here. The paper also predicts a large image tile by tile; here
images go whole.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from gitract_core.errors import SpaceError
from gitract_core.networks.receptive_field import receptive_field_exact
from gitract_core.networks.registry import register
from gitract_core.networks.unet import checked_widths, initialize, join
from gitract_core.networks.widths import resolve_widths

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gitract_core.knobs import NetworkKnobs


class OriginalUNet(nn.Module):
    """The network itself, with any widths.

    Args:
        in_channels: channels of the images.
        out_channels: channels of the logits.
        widths: feature maps per level, top first.

    Raises:
        SpaceError: fewer than two widths, or one below 1.
    """

    def __init__(self, in_channels: int, out_channels: int, widths: Sequence[int]) -> None:
        super().__init__()
        self.widths = checked_widths(widths)
        below = [in_channels, *self.widths]
        self.encoder = nn.ModuleList(
            valid_convolutions(i, o) for i, o in zip(below, self.widths, strict=False)
        )
        self.pool = nn.MaxPool2d(2)
        levels = list(zip(self.widths[:0:-1], self.widths[-2::-1], strict=True))
        self.upsamplers = nn.ModuleList(nn.ConvTranspose2d(i, o, 2, stride=2) for i, o in levels)
        self.decoder = nn.ModuleList(valid_convolutions(2 * o, o) for _, o in levels)
        self.head = nn.Conv2d(self.widths[0], out_channels, 1)
        initialize(self)

    @property
    def depth(self) -> int:
        """Number of poolings."""
        return len(self.widths) - 1

    @property
    def margin_px(self) -> int:
        """Pixels lost on each side: the convolutions of level l take 4 * 2^l in all, twice."""
        return 6 * (1 << self.depth) - 4

    def receptive_field(self) -> int:
        """Side, in input pixels, that one unit of the deepest level sees."""
        return receptive_field_exact(self.depth)

    def output_side(self, least: int) -> int:
        """The smallest side of logits, of at least ``least`` pixels, that the poolings allow.

        >>> OriginalUNet(1, 2, [1, 1, 1, 1, 1]).output_side(380)
        388
        """
        step = 1 << self.depth
        return 4 + step * -(-(max(least, 1) - 4) // step)

    def forward(self, images: Tensor) -> Tensor:
        """Logits of the pixels within the margin.

        Args:
            images: (batch, in_channels, height, width); each side is ``output_side(...)`` plus
                two margins.

        Returns:
            (batch, out_channels, height - 2 margins, width - 2 margins).

        Raises:
            SpaceError: a side that the poolings cannot halve evenly.
        """
        self._require_sides(images)
        skips = []
        features = images
        for level in self.encoder[:-1]:
            features = level(features)  # 4 px smaller
            skips.append(features)
            features = self.pool(features)  # (batch, width, height / 2, width / 2)
        features = self.encoder[-1](features)
        for up, level in zip(self.upsamplers, self.decoder, strict=True):
            risen = up(features)  # twice as high and wide
            features = level(join(cropped(skips.pop(), risen), risen))
        logits: Tensor = self.head(features)
        return logits

    def _require_sides(self, images: Tensor) -> None:
        height, width = images.shape[-2:]
        lost = 2 * self.margin_px
        if any(side - lost != self.output_side(side - lost) for side in (height, width)):
            nearest = [self.output_side(max(1, side - lost)) + lost for side in (height, width)]
            raise SpaceError(
                "network input",
                f"sides that depth {self.depth} can halve evenly without padding",
                f"{height} x {width}",
                f"use {nearest[0]} x {nearest[1]}, or MirroredUNet for any size",
            )


class MirroredUNet(nn.Module):
    """An `OriginalUNet` on images mirrored outwards: logits as large as the image, of any size.

    Args:
        network: the network without padding.
    """

    def __init__(self, network: OriginalUNet) -> None:
        super().__init__()
        self.network = network

    def receptive_field(self) -> int:
        """Side, in input pixels, that one unit of the deepest level sees."""
        return self.network.receptive_field()

    def forward(self, images: Tensor) -> Tensor:
        """Logits (batch, out_channels, height, width) of images (batch, in_channels, h, w)."""
        height, width = images.shape[-2:]
        margin = self.network.margin_px
        tall, wide = self.network.output_side(height), self.network.output_side(width)
        mirrored = mirror(images, margin, margin + tall - height, margin + wide - width)
        logits: Tensor = self.network(mirrored)  # (batch, out_channels, tall, wide)
        return logits[..., :height, :width]


@register("unet2015")
def build_original(knobs: NetworkKnobs, in_channels: int, out_channels: int) -> MirroredUNet:
    """The original U-Net; widths ``original`` are those of its paper."""
    return MirroredUNet(OriginalUNet(in_channels, out_channels, resolve_widths(knobs)))


def valid_convolutions(in_channels: int, out_channels: int) -> nn.Module:
    """Two 3x3 convolutions without padding, each with ReLU: 4 px smaller."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 3),
        nn.ReLU(inplace=True),
        nn.Conv2d(out_channels, out_channels, 3),
        nn.ReLU(inplace=True),
    )


def cropped(skip: Tensor, like: Tensor) -> Tensor:
    """The middle of ``skip``, as high and wide as ``like``."""
    height, width = like.shape[-2:]
    top, left = (skip.shape[-2] - height) // 2, (skip.shape[-1] - width) // 2
    return skip[..., top : top + height, left : left + width]


def mirror(images: Tensor, before: int, below: int, right: int) -> Tensor:
    """Mirror images outwards at their border pixels, as often as it takes.

    Unlike torch's reflecting pad it may add more than the image holds.

    Args:
        images: (batch, channels, height, width).
        before: pixels to add above and to the left.
        below: pixels to add below.
        right: pixels to add to the right.

    >>> mirror(torch.arange(3.0).view(1, 1, 1, 3), 0, 0, 4)[0, 0, 0].tolist()
    [0.0, 1.0, 2.0, 1.0, 0.0, 1.0, 2.0]
    """
    height, width = images.shape[-2:]
    rows = _bounced(before, height, below).to(images.device)
    columns = _bounced(before, width, right).to(images.device)
    return images.index_select(-2, rows).index_select(-1, columns)


def _bounced(before: int, extent: int, after: int) -> Tensor:
    """Indices that run to and fro between 0 and ``extent - 1``; (before + extent + after,)."""
    period = max(2 * (extent - 1), 1)
    away = torch.arange(-before, extent + after).remainder(period)
    return torch.minimum(away, period - away) if extent > 1 else torch.zeros_like(away)
