"""Predictions as probabilities in ``npz`` archives.

One array (organs, slices, height, width) a scan, under the scan's name.
"""

from __future__ import annotations

import math
import zipfile
import zlib
from pathlib import Path

import numpy as np

from gitract_core.data.slices import SliceIndex
from gitract_core.errors import DataError
from gitract_core.files.limits import MOST_VOXELS
from gitract_core.prediction.rivals.predicted import Predicted, mask_shape

THRESHOLD = 0.5
_DAMAGE = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error)


def read_archives(files: list[Path], where: Path, index: SliceIndex) -> Predicted:
    """Predictions in one or more archives, whose keys are the scans.

    Pixels of ``THRESHOLD`` and more are inside.

    Raises:
        DataError: damaged, a scan twice, or a key that is no scan.
    """
    place: dict[str, Path] = {}
    for file in files:
        for scan in _keys(file):
            if scan in place:
                got = f"in {place[scan].name} too"
                raise DataError(f"{file}, key {scan}", "a scan once", got, "remove one")
            place[scan] = file

    def shares(scan: str) -> np.ndarray:
        wanted = mask_shape(index, index.rows_of_scan(scan))
        return probabilities(place[scan], scan, wanted)

    def read(scan: str) -> np.ndarray:
        return np.asarray(shares(scan) >= THRESHOLD)

    return Predicted(where, "probabilities", index, frozenset(place), read, shares)


def probabilities(file: Path, scan: str, shape: tuple[int, ...]) -> np.ndarray:
    """One array, float32 in 0..1.

    Args:
        file: the archive.
        scan: the key.
        shape: that it must have.

    Raises:
        DataError: damaged, of another shape, or no probabilities.
    """
    where = f"{file}, key {scan}"
    try:
        with zipfile.ZipFile(file) as archive, archive.open(f"{scan}.npy") as member:
            np.lib.format.read_magic(member)
            claimed, _, dtype = np.lib.format.read_array_header_1_0(member)
        if claimed != shape or math.prod(claimed) > MOST_VOXELS * shape[0]:
            expected, remedy = f"(organs, slices, height, width) {shape}", "predict at native size"
            raise DataError(where, expected, claimed, remedy)
        if dtype.kind not in "fb":
            expected = "probabilities, floats from 0 to 1"
            raise DataError(where, expected, str(dtype), "divide by the largest value")
        with np.load(file, allow_pickle=False) as store:
            values = np.asarray(store[scan], np.float32)
    except _DAMAGE as error:
        got = (str(error) or type(error).__name__).splitlines()[0]
        raise DataError(where, "an array of probabilities", got, "restore the file") from None
    low, high = float(values.min()), float(values.max())
    if not (low >= 0 and high <= 1):  # NaN is neither
        got = f"{low:g} to {high:g}"
        raise DataError(where, "probabilities from 0 to 1", got, "apply the sigmoid or softmax")
    return values


def _keys(file: Path) -> list[str]:
    try:
        with zipfile.ZipFile(file) as archive:
            names = archive.namelist()
    except _DAMAGE as error:
        got = (str(error) or type(error).__name__).splitlines()[0]
        raise DataError(file, "an npz archive", got, "restore the file") from None
    return [name.removesuffix(".npy") for name in names]
