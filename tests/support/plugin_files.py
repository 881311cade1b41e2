"""A plugin with a loss and a network, and what makes this process forget plugins."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gitract_core import plugin
from gitract_core.losses import weighted_sum
from gitract_core.networks import normalization, registry
from gitract_core.plugin import digest_of_plugin
from gitract_core.trial import relative_cost

PLUGIN = '''"""A network of one layer, and a loss."""

from torch import nn

from gitract_core.losses import register_loss
from gitract_core.networks import register_network


@register_loss("brier", "squared")
def brier(logits, targets):
    return (logits.sigmoid() - targets).square().mean()


@register_network("one_layer")
def one_layer(knobs, in_channels, out_channels):
    return nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=1)
'''
LATER = PLUGIN.replace("kernel_size=3, padding=1", "kernel_size=1")
"""The same names, another network."""


def write_plugin(folder: Path, text: str = PLUGIN, name: str = "mine.py") -> Path:
    """A plugin's file."""
    file = folder / name
    file.write_text(text)
    return file


def digest(text: str = PLUGIN) -> str:
    """The hash that names a plugin of this text."""
    return digest_of_plugin(text.encode())


def forget_plugins() -> None:
    """Make this process as if it had executed no plugin."""
    plugin._executed.clear()
    relative_cost._operations.cache_clear()  # it counts a network once
    normalization.fewest_slices.cache_clear()
    known: tuple[dict[str, object], ...] = (
        registry._BUILDERS,
        weighted_sum._TERMS,
        weighted_sum._POOLED,
        weighted_sum._CANONICAL,
    )  # type: ignore[assignment]
    for names in known:
        for key in [key for key in names if "@" in key]:
            del names[key]


@contextmanager
def no_plugins() -> Iterator[None]:
    """Without plugins before and after."""
    forget_plugins()
    try:
        yield
    finally:
        forget_plugins()
