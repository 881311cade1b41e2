"""A DICOM series as a scan: pixels decompressed and rescaled by pydicom."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileDataset
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.processing import apply_rescale
from pydicom.uid import UID

from gitract_core.clinic.background import check_contrast, filled, outside_of, padding_of
from gitract_core.clinic.dicom_files import DAMAGE, first_line, no_warnings, open_dicom
from gitract_core.clinic.orientation import Placing
from gitract_core.clinic.scan import Scan, to_16_bits
from gitract_core.clinic.series import Series, read_series
from gitract_core.clinic.unlike_mr import gray_notes
from gitract_core.errors import DataError


def read_dicom(path: Path, name: str, *, raw: bool = False, modality: str | None = "MR") -> Scan:
    """The series in a folder, in any orientation and order of files.

    Args:
        path: folder with the files of one series in it, or one of its files.
        name: of the scan; patients' names in the files are not used.
        raw: give the files' own values, with the darkest one outside of the body, not 16 bits of
            them.
        modality: of the images; None for any.

    Raises:
        DataError: not one whole even series of gray images; damaged or unknown pixels.
        NoScanError: nothing but localizers and other objects, or one value in all voxels.
    """
    series = read_series(path, modality)
    images = _pixels(series)
    volume = np.stack([image.values for image in images])
    padding = None
    if any(image.padding is not None for image in images):
        none = np.zeros(series.shape[1:], np.bool_)
        padding = np.stack([none if i.padding is None else i.padding for i in images])
    try:
        placing = Placing(series.shape, series.affine)
    except DataError as error:
        raise error.within(path) from None
    outside = outside_of(volume, padding)
    made = filled(volume, outside) if raw else to_16_bits(volume, outside)
    check_contrast(path, made, outside)
    unlike = gray_notes(volume, outside, labels=False) if modality == "MR" else ()
    notes = (*series.notes, *unlike, *placing.notes)
    return Scan(name, placing.turned(made), placing, series=series.headers, notes=notes)


@dataclass(frozen=True, slots=True)
class _Image:
    """Values of one image, (rows, columns): integers, or float64 if they are rescaled.

    ``padding`` is boolean, pixels that the file calls padding, or None.
    """

    values: np.ndarray
    padding: np.ndarray | None


def _pixels(series: Series) -> list[_Image]:
    """The images of a series in its order; files of many frames are opened once."""
    made: list[_Image] = []
    pairs = zip(series.files, series.headers, strict=True)
    for file, group in groupby(pairs, key=lambda pair: pair[0]):
        stored, dataset = _stored(file)
        for _, header in group:
            made.append(_image(file, header, stored, dataset, series.shape[1:]))
    return made


def _stored(file: Path) -> tuple[np.ndarray, FileDataset]:
    """Pixels of a file as they are stored: (rows, columns), or (frames, rows, columns)."""
    try:
        dataset = open_dicom(file)
        syntax = dataset.file_meta.TransferSyntaxUID
    except DAMAGE as error:
        got = first_line(error)
        raise DataError(file, "a readable DICOM file", got, "restore the file") from None
    try:
        with no_warnings(), np.errstate(all="ignore"):
            stored: np.ndarray = dataset.pixel_array
    except (*DAMAGE, RuntimeError) as error:
        expected, (got, remedy) = f"pixels in {syntax.name}", _undecoded(syntax, error)
        raise DataError(file, expected, got, remedy) from None
    return stored, dataset


def _undecoded(syntax: UID, error: Exception) -> tuple[str, str]:
    """What went wrong in decoding, and what to do."""
    if not syntax.is_compressed:
        return first_line(error), "restore the file"
    try:
        known = get_decoder(syntax).is_available
    except NotImplementedError:
        return "a compression that pydicom does not know", "decompress it first (gdcmconv --raw)"
    if known:
        return first_line(error), "restore the file"
    return "no decoder for it", "pip install 'gitract-cv[jpeg]', or decompress it (gdcmconv --raw)"


def _image(
    file: Path, header: Dataset, stored: np.ndarray, dataset: FileDataset, shape: tuple[int, ...]
) -> _Image:
    frame = header.get("ReferencedFrameNumber")
    pixels = stored if frame is None or stored.ndim == 2 else stored[int(frame) - 1]
    if pixels.shape != shape:
        raise DataError(file, f"pixels of shape {shape}", pixels.shape, "restore the file")
    try:
        with no_warnings(), np.errstate(all="ignore"):
            padding = padding_of(pixels, header)
            values: np.ndarray = apply_rescale(pixels, dataset if frame is None else header)
    except (*DAMAGE, RuntimeError) as error:
        got = first_line(error)
        raise DataError(file, "a readable rescaling", got, "export the series again") from None
    if not np.isfinite(values).all():
        raise DataError(file, "finite pixels", "infinity or NaN", "export the series again")
    return _Image(values, padding)
