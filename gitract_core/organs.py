"""Organs of a data set: their names, in channel order, and the color of each.

Masks of organs overlap, so the task is multi-label: one sigmoid channel an organ, never a softmax.
Which organs there are, and their order, comes from the data set. ``CONTEST`` is the set of the
UW-Madison GI tract data: what its reader, the phantom and files older than this class mean.
"""

from __future__ import annotations

import colorsys
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from gitract_core.errors import DataError

# Okabe and Ito (2008): colors that stay apart under every common color blindness.
_FIRST_COLORS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442")
_NAME = re.compile(r"[^\x00-\x1f\x7f/\\]{1,64}")  # they are parts of file names and tables
_GOLDEN_RATIO = 0.618033988749895  # steps around the color circle that never come close again


@dataclass(frozen=True, slots=True)
class Organs:
    """The organs of a data set in channel order.

    >>> organs = Organs(("liver", "spleen"))
    >>> len(organs), organs.place("spleen"), organs.colors["liver"]
    (2, 1, '#0072B2')

    Attributes:
        names: unique, in the order of the network's output channels.
        pairs: organs that a mirrored image exchanges, as left and right kidney.
    """

    names: tuple[str, ...]
    pairs: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        if not self.names or "" in self.names or len(set(self.names)) < len(self.names):
            expected, remedy = "one or more different names", "name every organ once"
            raise DataError("organs", expected, list(self.names), remedy)
        for name in self.names:
            if not _NAME.fullmatch(name):
                expected = "up to 64 characters, none of them a slash or unprintable"
                raise DataError("organs", expected, f"{name!r:.100}", "rename it")
        paired = [name for pair in self.pairs for name in pair]
        if len(set(paired)) < len(paired) or not set(paired) <= set(self.names):
            expected, remedy = "pairs of the organs, each in one pair", "correct them"
            raise DataError("organs", expected, list(self.pairs), remedy)

    @classmethod
    def of(cls, values: Mapping[str, Any], default: Organs | None = None) -> Organs:
        """From what ``to_json`` gave, among other keys; files that name none are of ``default``.

        Raises:
            DataError: they are no organs.
        """
        if "organs" not in values and default is not None:
            return default
        pairs = tuple((str(one), str(other)) for one, other in values.get("pairs", ()))
        return cls(tuple(values["organs"]), pairs)

    def to_json(self) -> dict[str, Any]:
        """Keys of a JSON object: ``organs``, and ``pairs`` if there are any."""
        pairs = [list(pair) for pair in self.pairs]
        return {"organs": list(self.names), **({"pairs": pairs} if pairs else {})}

    @property
    def mirrored(self) -> tuple[int, ...]:
        """For each channel the one that it shows in a mirrored image.

        >>> Organs(("left", "liver", "right"), (("left", "right"),)).mirrored
        (2, 1, 0)
        """
        partner = dict(self.pairs) | {b: a for a, b in self.pairs}
        return tuple(self.place(partner.get(name, name)) for name in self.names)

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def place(self, name: str) -> int:
        """Channel of an organ; ``ValueError`` for another name."""
        return self.names.index(name)

    @property
    def colors(self) -> dict[str, str]:
        """``#RRGGBB`` of each organ: by its place alone, so the same in every picture and file."""
        return {name: _color(place) for place, name in enumerate(self.names)}


def _color(place: int) -> str:
    if place < len(_FIRST_COLORS):
        return _FIRST_COLORS[place]
    number = place - len(_FIRST_COLORS)
    lightness = (0.45, 0.65, 0.3)[number % 3]
    rgb = colorsys.hls_to_rgb((0.1 + number * _GOLDEN_RATIO) % 1, lightness, 0.75)
    return "#" + "".join(f"{round(255 * part):02X}" for part in rgb)


CONTEST = Organs(("large_bowel", "small_bowel", "stomach"))
"""In the order of the rows of the contest's ``train.csv``."""
