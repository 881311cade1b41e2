"""Gray scalings: from a scan's own intensities to the bytes that networks see, by name.

A network predicts well only what is scaled as its training images were. A scaling therefore has a
name with a version, which ``result.json`` and ``members.json`` record. A new scaling is a new
entry; an entry is never changed.

==============================  ===================================================================
``percentile99.5-v1``           0 stays 0, the 99.5th percentile of the scan becomes 255: MR
``window_LOW_HIGH-v1``          LOW and what is below becomes 0, HIGH and above 255: CT
``zscore-v1``                   3 standard deviations below the mean of the voxels above the
                                scan's lowest value become 0, 3 above it 255
==============================  ===================================================================

Images of several channels have one scaling each, joined by ``+``, or one for all.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType

import numpy as np

from gitract_core.data.images import scan_to_bytes
from gitract_core.errors import DataError, suggestion

FIRST_GRAY = "percentile99.5-v1"
"""What results and manifests without a name were made with."""
CURRENT_GRAY = FIRST_GRAY
"""What new runs are made with, unless their data set says otherwise."""
CT_GRAY = "window_-160_240-v1"
"""Soft tissue of the abdomen in Hounsfield units."""
_WINDOW = re.compile(r"window_(-?\d+(?:\.\d+)?)_(-?\d+(?:\.\d+)?)-v1", re.ASCII)
_SDS = 3.0
_WHOLE = (np.uint8, np.uint16)


@dataclass(frozen=True)
class GrayScaling:
    """Two steps, between which a scan is resized.

    Attributes:
        prepare: a whole scan of any real dtype, (slices, height, width), before it is resized.
        scale: what ``prepare`` gave, resized, to uint8 of that shape.
    """

    prepare: Callable[[np.ndarray], np.ndarray]
    scale: Callable[[np.ndarray], np.ndarray]

    def __call__(self, scan: np.ndarray) -> np.ndarray:
        """A scan at its own size as bytes, uint8 (slices, height, width)."""
        return self.scale(self.prepare(scan))


def gray_scaling(name: str) -> GrayScaling:
    """The scaling of a name, of one channel.

    Raises:
        DataError: an unknown name.

    >>> gray_scaling("percentile99.5-v1")(np.array([[[0, 3]]], np.uint16)).tolist()
    [[[0, 255]]]
    >>> gray_scaling("window_-160_240-v1")(np.array([[[-1000, 40, 900]]], np.int16)).tolist()
    [[[0, 128, 255]]]
    """
    if name in GRAY_SCALINGS:
        return GRAY_SCALINGS[name]
    window = _WINDOW.fullmatch(name)
    if window and float(window[1]) < float(window[2]):
        scale = partial(_window, low=float(window[1]), high=float(window[2]))
        return GrayScaling(_as_floats, scale)
    remedy = suggestion(name, (*GRAY_SCALINGS, "window_LOW_HIGH-v1"))
    raise DataError("gray scaling", "a known name", f"{name!r:.100}", remedy)


def gray_of_channels(name: str, channels: int) -> list[GrayScaling]:
    """The scaling of each channel.

    Raises:
        DataError: an unknown name, or another number of them.

    >>> len(gray_of_channels("zscore-v1", 2)), len(gray_of_channels("zscore-v1+zscore-v1", 2))
    (2, 2)
    """
    names = name.split("+")
    if len(names) not in (1, channels):
        got = f"{len(names)} in {name!r:.100}"
        raise DataError("gray scaling", f"1 or {channels}, one a channel", got, "correct it")
    scalings = [gray_scaling(one) for one in names]
    return scalings * channels if len(names) == 1 else scalings


def _as_16_bits(scan: np.ndarray) -> np.ndarray:
    if scan.dtype in _WHOLE:
        return scan
    from gitract_core.clinic.scan import to_16_bits  # needs nibabel, as such scans do

    return to_16_bits(scan)


def _as_floats(scan: np.ndarray) -> np.ndarray:
    return np.nan_to_num(scan.astype(np.float32), nan=-math.inf)


def _standardized(scan: np.ndarray) -> np.ndarray:
    floats = scan.astype(np.float32)
    finite = np.isfinite(floats)
    dark = float(floats[finite].min()) if finite.any() else 0.0
    body = floats[finite & (floats > dark)]
    mean, sd = (float(body.mean()), float(body.std())) if body.size else (dark, 1.0)
    return np.where(finite, (floats - mean) / max(sd, 1e-6), -math.inf).astype(np.float32)


def _window(scan: np.ndarray, *, low: float, high: float) -> np.ndarray:
    shares = (scan.astype(np.float32) - np.float32(low)) / np.float32(high - low)
    return np.asarray((np.clip(shares, 0, 1) * 255 + 0.5).astype(np.uint8))


GRAY_SCALINGS: MappingProxyType[str, GrayScaling] = MappingProxyType(
    {
        FIRST_GRAY: GrayScaling(_as_16_bits, scan_to_bytes),
        "zscore-v1": GrayScaling(_standardized, partial(_window, low=-_SDS, high=_SDS)),
    }
)
"""Those without numbers in their names."""
