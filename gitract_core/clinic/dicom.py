"""A DICOM series as a scan: pixels decompressed and rescaled by pydicom."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from pydicom.pixels.processing import apply_rescale

from gitract_core.clinic.orientation import Placing
from gitract_core.clinic.scan import Scan, to_16_bits
from gitract_core.clinic.series import DAMAGE, first_line, open_dicom, read_series
from gitract_core.errors import DataError


def read_dicom(folder: Path, name: str, *, raw: bool = False) -> Scan:
    """The MR series in a folder, in any orientation and order of files.

    Args:
        folder: with the files of one series in it.
        name: of the scan; patients' names in the files are not used.
        raw: give the file's own values, not 16 bits of them.

    Raises:
        DataError: not one whole even series of gray MR images; damaged or unknown pixels.
    """
    series = read_series(folder)
    volume = np.stack([_pixels(file, series.shape[1:]) for file in series.files])
    try:
        placing = Placing(series.shape, series.affine)
    except DataError as error:
        raise error.within(folder) from None
    images = placing.turned(volume if raw else to_16_bits(volume))
    return Scan(name, images, placing, series=series.headers)


def _pixels(file: Path, shape: tuple[int, int]) -> np.ndarray:
    """Values of one image, (rows, columns): integers, or float64 if they are rescaled."""
    try:
        dataset = open_dicom(file)
        syntax = dataset.file_meta.TransferSyntaxUID
    except DAMAGE as error:
        got = first_line(error)
        raise DataError(file, "a readable DICOM file", got, "restore the file") from None
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            values: np.ndarray = apply_rescale(dataset.pixel_array, dataset)
    except (*DAMAGE, RuntimeError) as error:
        expected = f"pixels in {syntax.name}"
        remedy = "restore the file"
        if syntax.is_compressed:
            remedy = "restore the file, or decompress it first (gdcmconv --raw, dcmdjpeg)"
        raise DataError(file, expected, first_line(error), remedy) from None
    if not np.isfinite(values).all():
        raise DataError(file, "finite pixels", "infinity or NaN", "export the series again")
    if values.shape != shape:
        raise DataError(file, f"pixels of shape {shape}", values.shape, "restore the file")
    return values
