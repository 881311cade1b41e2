"""Networks: a batch of images (batch, channels, height, width) in, logits of the same size out.

``build_network`` makes one from the knobs of a candidate. A newcomer is one file here: a function
that takes ``(knobs, in_channels, out_channels)`` and returns a module, under ``@register("name")``;
in a plugin, a file of one's own, it is ``@register_network("name")``.
A network that judges itself at several depths leaves those logits in its list
``auxiliary_logits``; ``gitract_core.losses.supervise`` reads them.

Logits are not probabilities: organs overlap, so a sigmoid (never a softmax) turns each channel into
a probability of its own.
"""

from importlib import import_module
from pkgutil import iter_modules

from gitract_core.networks.receptive_field import receptive_field_exact, receptive_field_paper
from gitract_core.networks.registry import build_network, network_names, register
from gitract_core.networks.size import parameter_count
from gitract_core.networks.unet import UNet
from gitract_core.networks.unet2015 import MirroredUNet, OriginalUNet
from gitract_core.networks.unetpp import UNetPlusPlus
from gitract_core.networks.widths import resolve_widths

register_network = register  # the name by which plugins import it

for _file in iter_modules(__path__):  # every file here may register networks
    import_module(f"{__name__}.{_file.name}")

__all__ = [
    "MirroredUNet",
    "OriginalUNet",
    "UNet",
    "UNetPlusPlus",
    "build_network",
    "network_names",
    "parameter_count",
    "receptive_field_exact",
    "receptive_field_paper",
    "register",
    "register_network",
    "resolve_widths",
]
