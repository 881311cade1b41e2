"""The paper's U-Net: padded 3x3 convolutions, so logits are as large as the image.

Two convolutions a level, each with batch norm and ReLU; 2x2 max pooling down; 2x2 transposed
convolutions up; skips joined by concatenation without cropping; a 1x1 convolution to the logits.
The idea is Ronneberger, Fischer and Brox 2015 (arXiv 1505.04597); padding and batch norm are what
later implementations added.

Two ways up, because two parameter counts are on record for three channels in and three out:

* transposed convolutions that **keep** their input's channels, each followed by batch norm: widths
  [32, 64, 64, 128, 256] give 2,501,187 and [32, 64, 64, 128, 256, 256] give 5,718,851 (moving
  statistics counted), which are the 2.50 M and 5.72 M that the paper prints. That these are the
  paper's own widths is inferred, not proven. This is the default.
* transposed convolutions that **narrow** to the width of the level they reach, and no batch norm:
  doubling from 16 gives 1,941,139 at depth 4 and 7,775,635 at depth 5. The preset ``standard``.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from gitract_core.errors import SpaceError
from gitract_core.networks.receptive_field import receptive_field_exact
from gitract_core.networks.registry import register
from gitract_core.networks.widths import resolve_widths

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gitract_core.knobs import NetworkKnobs

PRIOR = 0.02
"""Probability that a new network gives every pixel: about an organ's share of a slice."""


class UNet(nn.Module):
    """A padded U-Net with any widths.

    Args:
        in_channels: channels of the images.
        out_channels: channels of the logits.
        widths: feature maps per level, top first; ``len(widths) - 1`` poolings.
        batch_norm: after every convolution, the transposed ones included.
        narrow: let a transposed convolution put out the width of the level it reaches instead of
            keeping its input's channels.

    Raises:
        SpaceError: fewer than two widths, or one below 1.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        widths: Sequence[int],
        *,
        batch_norm: bool = True,
        narrow: bool = False,
    ) -> None:
        super().__init__()
        self.widths = checked_widths(widths)
        below = [in_channels, *self.widths]
        self.encoder = nn.ModuleList(
            double_convolution(i, o, batch_norm) for i, o in zip(below, self.widths, strict=False)
        )
        self.pool = nn.MaxPool2d(2)
        self.upsamplers, self.decoder = nn.ModuleList(), nn.ModuleList()
        for deep, level in zip(self.widths[:0:-1], self.widths[-2::-1], strict=True):
            risen = level if narrow else deep
            self.upsamplers.append(upsampling(deep, risen, batch_norm))
            self.decoder.append(double_convolution(level + risen, level, batch_norm))
        self.head = nn.Conv2d(self.widths[0], out_channels, 1)
        initialize(self)

    @property
    def depth(self) -> int:
        """Number of poolings."""
        return len(self.widths) - 1

    def receptive_field(self) -> int:
        """Side, in input pixels, that one unit of the deepest level sees."""
        return receptive_field_exact(self.depth)

    def forward(self, images: Tensor) -> Tensor:
        """Logits of each pixel and class.

        Args:
            images: (batch, in_channels, height, width), floating point; height and width are
                multiples of 2 to the power of the depth.

        Returns:
            (batch, out_channels, height, width), any real numbers.

        Raises:
            SpaceError: a height or width that the poolings cannot halve evenly.
        """
        require_divisible(images, self.depth)
        skips = []
        features = images
        for level in self.encoder[:-1]:
            features = level(features)
            skips.append(features)
            features = self.pool(features)  # (batch, width, height / 2, width / 2)
        features = self.encoder[-1](features)
        for up, level in zip(self.upsamplers, self.decoder, strict=True):
            features = level(join(skips.pop(), up(features)))  # twice as high and wide
        logits: Tensor = self.head(features)
        return logits


@register("unet")
def build_unet(knobs: NetworkKnobs, in_channels: int, out_channels: int) -> UNet:
    """The U-Net that the knobs name; preset ``standard`` is the plain variant, see the module."""
    plain = knobs.widths.strip() == "standard"
    widths = resolve_widths(knobs)
    return UNet(in_channels, out_channels, widths, batch_norm=not plain, narrow=plain)


def double_convolution(in_channels: int, out_channels: int, batch_norm: bool = True) -> nn.Module:
    """Two padded 3x3 convolutions, each with batch norm (where asked for) and ReLU."""
    layers: list[nn.Module] = []
    for channels in (in_channels, out_channels):
        layers.append(nn.Conv2d(channels, out_channels, 3, padding=1))
        if batch_norm:
            layers.append(nn.BatchNorm2d(out_channels))
        layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers)


def upsampling(in_channels: int, out_channels: int, batch_norm: bool = True) -> nn.Module:
    """A 2x2 transposed convolution of stride 2, with batch norm where asked for."""
    convolution = nn.ConvTranspose2d(in_channels, out_channels, 2, stride=2)
    return nn.Sequential(convolution, nn.BatchNorm2d(out_channels)) if batch_norm else convolution


def join(*parts: Tensor) -> Tensor:
    """Concatenate channels, in the order given; (batch, channels of all, height, width).

    The gradient of a concatenation is a slice of a larger tensor. Batch norm and convolutions are
    several times slower on such a strided gradient on a CPU (a step of the paper's network takes
    1.6 times as long), so each slice is copied into a dense tensor first; ``torch.compile`` chooses
    its own layouts.
    """
    for part in parts:
        if part.requires_grad and not torch.compiler.is_compiling():
            part.register_hook(_dense)  # type: ignore[no-untyped-call]
    return torch.cat(parts, dim=1)


def _dense(gradient: Tensor) -> Tensor:
    # A slice of channels matches neither layout; its strides tell which one it was cut from.
    last = gradient.stride(1) == 1
    return gradient.contiguous(
        memory_format=torch.channels_last if last else torch.contiguous_format
    )


def initialize(network: nn.Module) -> None:
    """Draw weights as He et al. 2015 (arXiv 1502.01852), which a net without batch norm needs.

    A 3x3 convolution is followed by ReLU: variance 2 / fan-in. A transposed convolution and the
    1x1 head are not: 1 / fan-in, where each output pixel of a 2x2 stride-2 transposed convolution
    sees one input pixel. Biases start at zero, but those of the head at the logit of ``PRIOR``:
    organs cover about 2 % of a slice, and a network that starts at one half spends its first epochs
    on learning that (Lin et al. 2017, arXiv 1708.02002, section 3.3).
    """
    for module in network.modules():
        if isinstance(module, nn.ConvTranspose2d):
            nn.init.normal_(module.weight, std=module.in_channels**-0.5)
            bias = 0.0
        elif isinstance(module, nn.Conv2d):
            rectified = module.kernel_size != (1, 1)
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu" if rectified else "linear")
            bias = 0.0 if rectified else math.log(PRIOR / (1 - PRIOR))
        else:
            continue
        if module.bias is not None:
            nn.init.constant_(module.bias, bias)


def require_divisible(images: Tensor, depth: int) -> None:
    """Refuse images whose sides ``depth`` poolings cannot halve evenly.

    Raises:
        SpaceError: always for such images.
    """
    height, width = images.shape[-2:]
    step = 2**depth
    if height % step or width % step:
        raise SpaceError(
            "network input",
            f"height and width that are multiples of {step} (depth {depth})",
            f"{height} x {width}",
            "resize or pad the images, or use a network of less depth",
        )


def checked_widths(widths: Sequence[int]) -> tuple[int, ...]:
    """Widths as a tuple.

    Raises:
        SpaceError: fewer than two, or one below 1.
    """
    if len(widths) < 2 or min(widths) < 1:
        expected = "two or more widths of 1 or more"
        raise SpaceError("network widths", expected, list(widths), "give one width a level")
    return tuple(int(w) for w in widths)
