"""How few slices a network can be trained on at once.

Batch normalization takes a variance over slices and pixels. Where a level is a single pixel, one
slice alone has none, and PyTorch refuses it in training. Instance normalization takes it over the
pixels of a slice: it can do nothing with a single pixel, however many slices there are.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import torch

from gitract_core.errors import SpaceError
from gitract_core.networks.registry import build_network

if TYPE_CHECKING:
    from gitract_core.knobs import NetworkKnobs

_ANY_ORGANS = 3  # whether a network can be trained does not depend on their number
_REFUSALS = ("Expected more than 1 value per channel", "Expected more than 1 spatial element")


@lru_cache(maxsize=256)  # a grid has few networks
def fewest_slices(knobs: NetworkKnobs, planes: int, size: int, plugin: str = "") -> int:
    """The fewest slices of a training step: 1, or 2 where one has no variance at some level.

    A network is asked by a forward pass on the CPU, of another one like it. Pooling reaches a
    single pixel at the smallest sizes alone, so a small image is tried first.

    Args:
        knobs: of the network.
        planes: channels of its input.
        size: side of the images, pixels.
        plugin: hashes of the plugins that may define the network.

    Raises:
        SpaceError: the network cannot be trained at that size with any number of slices.
    """
    small = min(size, 2 ** (knobs.depth + 1))
    for side in dict.fromkeys((small, size)):
        if _takes(knobs, 1, planes=planes, size=side, plugin=plugin):
            return 1
    if _takes(knobs, 2, planes=planes, size=size, plugin=plugin):
        return 2
    why = f"{knobs.family} normalizes each slice alone, and its deepest level would be one pixel"
    expected = f"{2 ** (knobs.depth + 1)} or more, since {why}"
    remedy = "raise it, or lower network.depth"
    raise SpaceError("knob input.size", expected, size, remedy)


def _takes(knobs: NetworkKnobs, n_slices: int, *, planes: int, size: int, plugin: str) -> bool:
    """Whether so many slices can be normalized; other faults are left for the training to tell."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        network = build_network(knobs, planes, _ANY_ORGANS, plugin).train()
        try:
            network(torch.zeros(n_slices, planes, size, size))
        except ValueError as error:
            return not str(error).startswith(_REFUSALS)
        except RuntimeError:
            return True
    return True
