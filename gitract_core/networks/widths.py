"""Feature maps per level: presets by name, or a text such as ``"16,32,64"``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gitract_core.errors import SpaceError, suggestion

if TYPE_CHECKING:
    from gitract_core.knobs import NetworkKnobs

PRESETS: dict[str, tuple[int, ...]] = {
    # With batch norm and transposed convolutions that keep their channels these reproduce the
    # parameter counts the paper prints for depth 4 and 5 (2.50 M and 5.72 M); see `unet`.
    "paper": (32, 64, 64, 128, 256, 256),
    "small": (8, 16, 32, 64, 64, 64),  # for a first look on a processor
    "standard": (16, 32, 64, 128, 256, 512, 1024, 2048),
    "original": (64, 128, 256, 512, 1024),
}


def resolve_widths(knobs: NetworkKnobs) -> tuple[int, ...]:
    """The ``depth + 1`` widths that the knobs name, top level first.

    Raises:
        SpaceError: an unknown preset, a depth the preset does not reach, a text of other than
            ``depth + 1`` whole numbers of 1 or more.

    >>> from gitract_core.knobs import NetworkKnobs
    >>> resolve_widths(NetworkKnobs(widths="8,16", depth=1)), resolve_widths(NetworkKnobs())
    ((8, 16), (32, 64, 64, 128, 256))
    """
    text = knobs.widths.strip()
    levels = knobs.depth + 1
    numbers = [part.strip() for part in text.split(",")]
    if not all(n.isascii() and n.isdigit() for n in numbers):
        return _preset(text, levels)
    in_range = all(len(n) <= 4 and int(n) >= 1 for n in numbers)
    widths = tuple(int(n) for n in numbers) if in_range else ()
    if len(widths) != levels:
        raise SpaceError(
            "knob network.widths",
            f"{levels} numbers from 1 to 9999, since network.depth is {knobs.depth}",
            repr(text),
            "give one width a level, or change the depth",
        )
    return widths


def _preset(name: str, levels: int) -> tuple[int, ...]:
    if name not in PRESETS:
        expected = "a preset's name or widths such as '16,32,64'"
        raise SpaceError("knob network.widths", expected, repr(name), suggestion(name, PRESETS))
    widths = PRESETS[name]
    if levels > len(widths):
        raise SpaceError(
            "knob network.depth",
            f"at most {len(widths) - 1}, since network.widths is {name!r}",
            levels - 1,
            "lower the depth or write the widths out",
        )
    return widths[:levels]
