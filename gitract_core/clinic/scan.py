"""A scan from anywhere: turned as the contest's scans are, in 16 bits, and where it came from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from gitract_core.clinic.orientation import Placing
from gitract_core.errors import DataError

if TYPE_CHECKING:
    from nibabel.nifti1 import Nifti1Header
    from pydicom.dataset import Dataset

_LARGEST = np.iinfo(np.uint16).max
_DARK_PERCENTILE = 1.0
_BRIGHT_PERCENTILE = 99.9
_MOST_TIMES = 16.0  # the bright percentile: of what is beyond, networks see the same white
_HUGE = 1e300


@dataclass(frozen=True)
class Scan:
    """One scan.

    Attributes:
        name: of its file or folder; output files begin with it.
        images: (slices, height, width), turned as the contest's scans are: uint16, or raw values
            of any real dtype.
        placing: of the file's own array.
        header: of a NIfTI file.
        series: of a DICOM series, one header an image in the order of the array's first axis.
        notes: what a person should know before they trust masks of it, a line each: files that
            were left aside, values unlike those of MR, a sheared box.
        labels: whether it looks like a label map, not like an image.
        numbers: of the slices, which may lack some; empty where none is lacking.
    """

    name: str
    images: np.ndarray
    placing: Placing
    header: Nifti1Header | None = None
    series: tuple[Dataset, ...] = ()
    notes: tuple[str, ...] = ()
    labels: bool = False
    numbers: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        turned = sorted(self.images.shape)
        if turned != sorted(self.placing.shape) or self.images.dtype.kind not in "uif":
            expected = f"voxels of lengths {sorted(self.placing.shape)}"
            got = f"{self.images.dtype} of {turned}"
            raise DataError(self.name, expected, got, "restore the scan")


def to_16_bits(values: np.ndarray, outside: np.ndarray | None = None) -> np.ndarray:
    """Any intensities as uint16, of the same shape.

    Whole numbers that fit stay as they are. Others are scaled, the brightest voxel to 65535; if
    some are negative, as after standardizing, the darkest hundredth becomes 0. A few voxels that
    are far brighter than all others do not set the scale. Voxels that are not finite are
    background. The scale does not matter to networks: see ``images.scan_to_bytes``.

    Args:
        values: intensities.
        outside: boolean, voxels that hold no measurement (``background``); they become 0 and take
            no part in the scale.

    >>> to_16_bits(np.array([0, 700])), to_16_bits(np.array([0.0, 0.5, np.nan]))
    (array([  0, 700], dtype=uint16), array([    0, 65535,     0], dtype=uint16))
    """
    small = np.issubdtype(values.dtype, np.unsignedinteger) and values.dtype.itemsize <= 2
    if small:
        whole: np.ndarray = values.astype(np.uint16)
        if outside is not None:
            whole[outside] = 0
        return whole
    inside = np.isfinite(values)
    if outside is not None:
        inside &= ~outside
    floats = np.clip(values.astype(np.float64), -_HUGE, _HUGE)  # differences are finite too
    if not inside.any():
        return np.zeros(values.shape, dtype=np.uint16)
    dark = min(0.0, float(np.percentile(floats[inside], _DARK_PERCENTILE)))
    floats = np.maximum(np.where(inside, floats, dark) - dark, 0)
    bright = float(floats.max())
    if dark == 0 and bright <= _LARGEST and (floats == np.floor(floats)).all():
        return floats.astype(np.uint16)
    usual = float(np.percentile(floats[inside], _BRIGHT_PERCENTILE))
    if usual > 0:
        bright = min(bright, _MOST_TIMES * usual)
    shares = np.minimum(floats / max(bright, 1e-300), 1.0)
    scaled: np.ndarray = np.rint(shares * _LARGEST).astype(np.uint16)
    return scaled
