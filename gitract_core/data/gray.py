"""Gray scalings: from a scan's own intensities to the bytes that networks see, by name.

A network predicts well only what is scaled as its training images were. A scaling therefore has a
name with a version, which ``result.json`` and ``members.json`` record. A new scaling is a new
entry; an entry is never changed.
"""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType
from typing import TypeAlias

import numpy as np

from gitract_core.data.images import scan_to_bytes
from gitract_core.errors import DataError, suggestion

GrayScaling: TypeAlias = Callable[[np.ndarray], np.ndarray]
"""From a whole scan, uint8 or uint16 (slices, height, width), to uint8 of that shape."""

FIRST_GRAY = "percentile99.5-v1"
"""What results and manifests without a name were made with."""
CURRENT_GRAY = FIRST_GRAY
"""What new runs are made with."""

GRAY_SCALINGS: MappingProxyType[str, GrayScaling] = MappingProxyType({FIRST_GRAY: scan_to_bytes})


def gray_scaling(name: str) -> GrayScaling:
    """The scaling of a name.

    Raises:
        DataError: an unknown name.

    >>> gray_scaling("percentile99.5-v1")(np.array([[[0, 3]]], np.uint16)).tolist()
    [[[0, 255]]]
    """
    if name not in GRAY_SCALINGS:
        remedy = suggestion(name, GRAY_SCALINGS)
        raise DataError("gray scaling", "a known name", f"{name!r:.100}", remedy)
    return GRAY_SCALINGS[name]
