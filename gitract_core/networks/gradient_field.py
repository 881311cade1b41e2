"""The receptive field of a network as it is built, measured by gradients.

What one unit sees are the input pixels that its value depends on: those with a gradient that is
not zero. Three things can make a gradient zero where there is a dependence, so the measurement is
made on a copy of the network without them:

* weights of both signs cancel: every convolution gets equal positive weights and no bias, every
  batch norm passes its input on;
* ReLU cuts negative values: with positive weights and an image of ones there are none;
* max pooling sends the gradient to one pixel of its window, though each of them could have been the
  largest: it is replaced by average pooling, which has the same window and uses all of it.

Positions, sizes, strides and paddings, which alone make a receptive field, stay the network's own.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from gitract_core.networks.receptive_field import receptive_field_exact

_LARGEST_CANVAS = 4
"""In units of the side that the exact recurrence says; more is the whole image, however large."""


def measured_receptive_field(network: nn.Module) -> tuple[int, ...]:
    """Side in input pixels that a unit in the middle of each encoder level sees, top level first.

    Args:
        network: any with its levels in a module list ``encoder`` (`UNet`, `UNetPlusPlus`,
            `OriginalUNet` and whatever holds one of them), and poolings that are modules. It is
            left as it is.

    Returns:
        One side a level; empty for a network without such levels, or with a unit that sees the
        whole image however large it is (normalization over the image does that).

    >>> from gitract_core.networks import UNet
    >>> measured_receptive_field(UNet(1, 3, [2, 2, 2]))
    (5, 14, 32)
    """
    probe = _transparent(network)
    levels = _encoder_levels(probe)
    if not levels:
        return ()
    step = 1 << (len(levels) - 1)  # input pixels a unit of the deepest level
    exact = receptive_field_exact(len(levels) - 1)
    side = step * (-(-exact // step) + 2)
    while side <= _LARGEST_CANVAS * (exact + 2 * step):
        spans = _spans(probe, levels, side)
        if all(first > 0 and last < side - 1 for first, last in spans):
            return tuple(last - first + 1 for first, last in spans)
        side *= 2  # the border may have cut something off
    return ()


def _transparent(network: nn.Module) -> nn.Module:
    """A copy whose gradients are positive wherever there is a dependence; see the module."""
    probe = copy.deepcopy(network).float().cpu().eval()
    for module in list(probe.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.MaxPool2d):
                average = nn.AvgPool2d(child.kernel_size, child.stride, child.padding)
                setattr(module, name, average)
    for module in probe.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.reset_parameters()  # weight 1, bias 0, mean 0, variance 1
    for weights in probe.parameters():
        weights.requires_grad_(False)
        if weights.ndim > 1:
            weights.fill_(1 / weights[0].numel())  # a mean, so that values keep their scale
    for name, weights in probe.named_parameters():
        if name.endswith("bias"):
            weights.zero_()
    return probe


def _encoder_levels(network: nn.Module) -> list[nn.Module]:
    """The levels of the first module list named ``encoder``; empty if there is none."""
    for module in network.modules():
        levels = getattr(module, "encoder", None)
        if isinstance(levels, nn.ModuleList):
            return list(levels)
    return []


def _spans(probe: nn.Module, levels: list[nn.Module], side: int) -> list[tuple[int, int]]:
    """First and last row or column that the middle unit of each level sees."""
    features: list[Tensor] = []
    hooks = [
        level.register_forward_hook(lambda _module, _inputs, output: features.append(output))
        for level in levels
    ]
    first_convolution = next(m for m in levels[0].modules() if isinstance(m, nn.Conv2d))
    image = torch.ones(1, first_convolution.in_channels, side, side, requires_grad=True)
    try:
        probe(image)
    finally:
        for hook in hooks:
            hook.remove()
    return [_span(image, output) for output in features]


def _span(image: Tensor, features: Tensor) -> tuple[int, int]:
    middle = features[0, :, features.shape[2] // 2, features.shape[3] // 2].sum()
    (gradient,) = torch.autograd.grad(middle, image, retain_graph=True)
    seen = gradient[0].abs().sum(0) > 0  # (side, side)
    lines = [torch.nonzero(seen.any(axis)).flatten().tolist() for axis in (0, 1)]
    return min(line[0] for line in lines), max(line[-1] for line in lines)
