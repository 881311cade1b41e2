"""Network families by name, so that a new one is one file and one decorator."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from gitract_core.errors import SpaceError, suggestion
from gitract_core.plugin import OF_A_PLUGIN, add, find, is_taken, names, require_executed

if TYPE_CHECKING:
    from torch import nn

    from gitract_core.knobs import NetworkKnobs

NetworkBuilder: TypeAlias = "Callable[[NetworkKnobs, int, int], nn.Module]"

_BUILDERS: dict[str, NetworkBuilder] = {}


def register(name: str) -> Callable[[NetworkBuilder], NetworkBuilder]:
    """Decorator that makes a builder known as network family ``name``.

    The builder gets ``(knobs, in_channels, out_channels)`` and returns a module from images
    (batch, in_channels, height, width) to logits (batch, out_channels, height, width). A family
    written ``name:detail`` in the knobs reaches the builder of ``name``, which reads the detail.
    """

    def remember(builder: NetworkBuilder) -> NetworkBuilder:
        if is_taken(_BUILDERS, name):
            remedy = "choose another name"
            raise SpaceError("network registry", "a name not yet taken", repr(name), remedy)
        add(_BUILDERS, name, builder)
        return builder

    return remember


def network_names(plugin: str = "") -> tuple[str, ...]:
    """The registered families, sorted; with a plugin's hash those that it adds."""
    return names(_BUILDERS, plugin)


def build_network(
    knobs: NetworkKnobs, in_channels: int, out_channels: int, plugin: str = ""
) -> nn.Module:
    """A freshly initialized network; equal states of torch's generator give equal weights.

    Args:
        knobs: family, widths and depth.
        in_channels: image channels, 1 or more.
        out_channels: one logit channel per organ.
        plugin: hashes of the plugins that may define the family.

    Raises:
        SpaceError: an unknown family, widths that do not fit it, or a plugin that was not executed.
    """
    require_executed(plugin)
    family = knobs.family.partition(":")[0]
    builder = find(_BUILDERS, family, plugin)
    if builder is None:
        remedy = f"{suggestion(family, network_names())} {OF_A_PLUGIN}"
        raise SpaceError("knob network.family", "a known network", repr(family), remedy)
    return builder(knobs, in_channels, out_channels)
