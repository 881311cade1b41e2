"""Networks of MONAI by name: ``monai:BasicUNet`` and others; MONAI is an optional extra.

Only networks that answer with plain logits as large as the image are here. Their weights are drawn
by MONAI's own rules, from torch's generator.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from types import ModuleType
from typing import TYPE_CHECKING, TypeAlias, cast

from gitract_core.errors import SpaceError, suggestion
from gitract_core.networks.registry import register
from gitract_core.networks.widths import resolve_widths
from gitract_core.optional_packages import require

if TYPE_CHECKING:
    from torch import nn

    from gitract_core.knobs import NetworkKnobs

Recipe: TypeAlias = "Callable[[ModuleType, int, int, tuple[int, ...]], nn.Module]"


def _basic_unet(nets: ModuleType, i: int, o: int, widths: tuple[int, ...]) -> nn.Module:
    if len(widths) != 5:
        expected, remedy = "4 for monai:BasicUNet", "set network.depth to 4"
        raise SpaceError("knob network.depth", expected, len(widths) - 1, remedy)
    # The sixth number is the width of the last features before the head.
    features = (*widths, widths[0])
    return cast("nn.Module", nets.BasicUNet(2, i, o, features=features))


def _unet(nets: ModuleType, i: int, o: int, widths: tuple[int, ...]) -> nn.Module:
    strides = (2,) * (len(widths) - 1)
    return cast("nn.Module", nets.UNet(2, i, o, widths, strides, num_res_units=2))


def _attention_unet(nets: ModuleType, i: int, o: int, widths: tuple[int, ...]) -> nn.Module:
    return cast("nn.Module", nets.AttentionUnet(2, i, o, widths, (2,) * (len(widths) - 1)))


def _seg_res_net(nets: ModuleType, i: int, o: int, widths: tuple[int, ...]) -> nn.Module:
    """It doubles its first width at each level and knows no other widths."""
    if any(wide != 2 * narrow for narrow, wide in pairwise(widths)):
        expected = "widths that double at each level for monai:SegResNet"
        raise SpaceError("knob network.widths", expected, widths, "use 'standard'")
    blocks = (1, *(2,) * (len(widths) - 2), 4)
    ups = (1,) * (len(widths) - 1)
    return cast("nn.Module", nets.SegResNet(2, widths[0], i, o, blocks_down=blocks, blocks_up=ups))


RECIPES: dict[str, Recipe] = {
    "AttentionUnet": _attention_unet,
    "BasicUNet": _basic_unet,
    "SegResNet": _seg_res_net,
    "UNet": _unet,
}


@register("monai")
def build_monai(knobs: NetworkKnobs, in_channels: int, out_channels: int) -> nn.Module:
    """The network of MONAI that stands after the colon of ``network.family``.

    Raises:
        SpaceError: a network we have no recipe for, widths that do not fit it, no MONAI.
    """
    name = knobs.family.partition(":")[2]
    if name not in RECIPES:
        expected = "monai: and a network's name"
        remedy = suggestion(name, RECIPES)
        raise SpaceError("knob network.family", expected, repr(knobs.family), remedy)
    require("monai", f"knob network.family {knobs.family!r}", "monai", SpaceError)
    from monai.networks import nets

    return RECIPES[name](nets, in_channels, out_channels, resolve_widths(knobs))
