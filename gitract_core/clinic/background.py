"""Which voxels of a volume hold no measurement: padding, and far-off constants around the body.

A scanner or a program that corrects, turns or crops a scan fills what it does not know with one
value. DICOM may name it (Pixel Padding Value, PS3.3 C.7.5.1.1.2); NIfTI cannot. Where that value is
far from those of tissue it would set the gray scale, so readers make it background.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from gitract_core.errors import NoScanError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_LEAST_OF_FACES = 0.05  # share of the outermost voxels that a constant outside holds
_MOST_OF_FACES = 0.5  # of a constant that lies amid the values of tissue
_LEAST_OF_ALL = 0.002
_LEAST_OF_CORNERS = 0.5  # of a bright constant: one that is not around the body is in it
_FAR_ABOVE, _FAR_BELOW = 0.1, 0.02  # of the range of the other values: no tissue is as near
_STRAY = 1e-4  # share of other values that may be
_SAMPLE = 2_000_000  # voxels from which percentiles are taken


def outside_of(values: np.ndarray, padding: np.ndarray | None = None) -> np.ndarray | None:
    """Voxels outside of what was measured.

    These are padding, voxels that are not finite, and constants on the faces of the volume that
    are below zero or above all other values with a gap between (these in the corners too), or that
    fill most of the faces
    amid other values (as 0 in an image that was standardized within a mask). A background that is
    merely the darkest value, as 0 in most scans, is left alone, and so are saturated voxels.

    Args:
        values: of a volume, three axes.
        padding: boolean, voxels that the file itself names.

    Returns:
        boolean of the volume's shape; None if there are none.

    >>> padded = np.pad(np.arange(64.0).reshape(4, 4, 4), 1, constant_values=-1024)
    >>> outside_of(padded).sum() == padded.size - 64
    np.True_
    """
    outside = ~np.isfinite(values)
    if padding is not None:
        outside |= padding
    constants = _constants_on_faces(values, outside)
    corners = values[np.ix_(*[(0, -1)] * values.ndim)]
    rest = values[~outside & ~np.isin(values, list(constants))]
    if rest.size:
        step = max(1, rest.size // _SAMPLE)
        sample = rest[::step].astype(np.float64)
        low, tenth, high = np.percentile(sample, (0.5, 10.0, 99.5)).tolist()
        for value, share in constants.items():
            above = value - sample
            beside = above if value > high else -above  # how far tissue is, on the tissue's side
            gap = (_FAR_ABOVE if value > high else _FAR_BELOW) * (high - low)
            alone = np.mean((beside > 0) & (beside < gap)) <= _STRAY
            corner = value <= high or np.mean(corners == value) >= _LEAST_OF_CORNERS
            far = (value > high or (value < 0 and value < low)) and alone and corner
            amid = share >= _MOST_OF_FACES and value > tenth
            held = values == value
            if (far or amid) and held.mean() >= _LEAST_OF_ALL:
                outside |= held
    elif constants and min(constants) < 0:  # nothing but constants
        outside |= values == min(constants)
    return outside if outside.any() else None


def filled(values: np.ndarray, outside: np.ndarray | None) -> np.ndarray:
    """Values with the lowest of those inside wherever nothing was measured.

    Args:
        values: intensities.
        outside: boolean, of the same shape; None if there are none.

    >>> filled(np.array([np.nan, 3.0, 5.0]), np.array([True, False, False])).tolist()
    [3.0, 3.0, 5.0]
    """
    if outside is None:
        return values
    made: np.ndarray = values.copy()
    made[outside] = values[~outside].min() if not outside.all() else 0
    return made


def _constants_on_faces(values: np.ndarray, outside: np.ndarray) -> dict[float, float]:
    """Values that many of the outermost voxels hold, with their share of these, 0 to 1."""
    known: dict[float, float] = {}
    ends = [(axis, end) for axis in range(values.ndim) for end in (0, -1)]
    faces = np.concatenate([np.take(values, end, axis).ravel() for axis, end in ends])
    hidden = np.concatenate([np.take(outside, end, axis).ravel() for axis, end in ends])
    found, times = np.unique(faces[~hidden], return_counts=True)
    for value, count in zip(found.tolist(), times.tolist(), strict=True):
        if count >= _LEAST_OF_FACES * faces.size:
            known[value] = count / faces.size
    return known


def padding_of(stored: np.ndarray, header: Dataset) -> np.ndarray | None:
    """Pixels that a DICOM image calls padding, boolean of the shape of ``stored``; None if none.

    Args:
        stored: pixels before they are rescaled.
        header: may hold PixelPaddingValue and PixelPaddingRangeLimit, both in the range. Values of
            the wrong sign, a common slip, are read as what their bits are in the image.
    """
    value = _in_range(stored, header.get("PixelPaddingValue"))
    if value is None:
        return None
    limit = _in_range(stored, header.get("PixelPaddingRangeLimit"))
    low, high = sorted((value, value if limit is None else limit))
    padding: np.ndarray = (stored >= low) & (stored <= high)
    return padding if padding.any() else None


def _in_range(stored: np.ndarray, value: object) -> int | None:
    """A padding value as the image's own integers hold it; None if it is none."""
    if isinstance(value, bytes) and len(value) == 2:  # where no one said which sign it has
        value = int.from_bytes(value, "little")
    if not isinstance(value, int) or not np.issubdtype(stored.dtype, np.integer):
        return None
    limits = np.iinfo(stored.dtype)
    if value > limits.max:
        value -= 2**16
    elif value < limits.min:
        value += 2**16
    return value


def check_contrast(where: Path, images: np.ndarray, outside: np.ndarray | None = None) -> None:
    """Check that a scan shows anything.

    Args:
        where: what errors name as the place.
        images: of the scan.
        outside: boolean, voxels that hold no measurement.

    Raises:
        NoScanError: all its voxels, but those outside, are of one value.
    """
    inside = images if outside is None else images[~outside]
    if not inside.size or inside.min() == inside.max():
        got = "one value in all voxels" if inside.any() else "nothing but background"
        raise NoScanError(where, "a scan with contrast", got, "export it again, or leave it out")
