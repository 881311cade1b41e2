"""Which DICOM files make one series, and in what order its images lie in space.

Files are read for their headers alone, by any order of their names. A series is refused whole
rather than mended: a missing slice, a second series or a second image at one place would shift or
mix anatomy without anyone noticing.
"""

from __future__ import annotations

import struct
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import dcmread
from pydicom.dataset import Dataset, FileDataset
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.filereader import read_file_meta_info

from gitract_core.clinic.file_kinds import is_dicom
from gitract_core.errors import DataError, counted
from gitract_core.files.limits import MOST_PIXELS, MOST_VOXELS

_SAME = 1e-3  # cosines and millimeters of numbers that should be equal
_UNEVEN = 0.05  # of the slice distance: how far a slice may lie from its place
_NEEDED = (
    "SOPInstanceUID",
    "SeriesInstanceUID",
    "Rows",
    "Columns",
    "PixelSpacing",
    "ImageOrientationPatient",
    "ImagePositionPatient",
)
DAMAGE = (
    InvalidDicomError,
    BytesLengthException,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    NotImplementedError,
    OSError,
    OverflowError,
    RecursionError,
    TypeError,
    ValueError,
    struct.error,
)
"""What pydicom raises for files that are not as they should be."""


@dataclass(frozen=True)
class Series:
    """One series, in order along the normal of its images.

    Attributes:
        files: one an image.
        headers: of the files, without pixels.
        affine: float (4, 4), from (image, row, column) to millimeters, RAS.
    """

    files: tuple[Path, ...]
    headers: tuple[Dataset, ...]
    affine: np.ndarray

    @property
    def shape(self) -> tuple[int, int, int]:
        """Images, rows, columns."""
        return len(self.files), int(self.headers[0].Rows), int(self.headers[0].Columns)


def read_series(folder: Path) -> Series:
    """The one MR series that lies in a folder; DICOM files without an image are left aside.

    Raises:
        DataError: no MR image, several series, images that do not form one even stack, damage.
    """
    found = []
    for file in sorted(f for f in folder.iterdir() if f.is_file() and is_dicom(f)):
        header = _header(file)
        if "Rows" in header or _should_be_image(header):
            _check_image(file, header)
            found.append((file, header))
    if len(found) < 2:
        got = counted(len(found), "image")
        raise DataError(folder, "a DICOM series of two images or more", got, "pass its folder")
    _check_alike(folder, found)
    normal = np.cross(*_directions(found[0][1]))
    found.sort(key=lambda pair: float(normal @ position(pair[1])))
    step = _step(folder, found, normal)
    files, headers = zip(*found, strict=True)
    return Series(files, headers, _affine(headers[0], step))


def holds_images(folder: Path) -> bool:
    """Whether a DICOM file directly in a folder holds an image; a damaged one counts as one."""
    for file in sorted(f for f in folder.iterdir() if f.is_file() and is_dicom(f)):
        try:
            if "Rows" in open_dicom(file, stop_before_pixels=True, specific_tags=["Rows"]):
                return True
        except DAMAGE:
            return True
    return False


def open_dicom(file: Path, **how: Any) -> FileDataset:
    """``dcmread`` without its warnings, and without inflating a file that may be a bomb.

    Raises:
        ValueError: the whole file is deflated.
        DAMAGE: whatever pydicom raises.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        syntax = read_file_meta_info(file).get("TransferSyntaxUID")
        if syntax is not None and syntax.is_deflated:
            raise ValueError("a deflated one; decompress it first (dcmconv +te)")
        return dcmread(file, **how)


def position(header: Dataset) -> np.ndarray:
    """The center of an image's first pixel in the patient, millimeters, LPS."""
    return np.array(header.ImagePositionPatient, dtype=np.float64)


def axes_mm(header: Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Steps to the next row and to the next column, millimeters, LPS."""
    along_row, along_column = _directions(header)
    between_rows, between_columns = (float(v) for v in header.PixelSpacing)
    return along_column * between_rows, along_row * between_columns


def first_line(error: Exception) -> str:
    """An error of a library as one short line."""
    text = str(error).strip("'\" \n")
    return text.splitlines()[0][:120] if text else type(error).__name__


def _directions(header: Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors along a row (to the next column) and along a column, LPS."""
    cosines = np.array(header.ImageOrientationPatient, dtype=np.float64)
    return cosines[:3], cosines[3:]


def _header(file: Path) -> Dataset:
    try:
        return open_dicom(file, stop_before_pixels=True)
    except DAMAGE as error:
        got = first_line(error)
        raise DataError(file, "a readable DICOM file", got, "restore the file") from None


def _should_be_image(header: Dataset) -> bool:
    """Whether a header without Rows is that of an image cut short, not of another object."""
    uid = getattr(header, "file_meta", {}).get("MediaStorageSOPClassUID")
    return not uid or uid.name.endswith("Image Storage")


def _check_image(file: Path, header: Dataset) -> None:
    """Raise unless the header is of a gray MR image, one a file, with its place in space."""
    try:
        modality, frames = header.get("Modality"), int(header.get("NumberOfFrames") or 1)
        if modality != "MR":
            remedy = "the networks know MR alone"
            raise DataError(file, "Modality MR", modality, remedy)
        if frames > 1:
            remedy = "convert it to NIfTI, with dcm2niix for example"
            raise DataError(file, "one image a file", f"{frames} frames", remedy)
        kind = header.get("PhotometricInterpretation")
        if int(header.get("SamplesPerPixel") or 1) != 1 or kind != "MONOCHROME2":
            raise DataError(file, "a gray image, MONOCHROME2", kind, "export the original images")
        for name in _NEEDED:
            if not header.get(name):
                raise DataError(file, name, "none", "export the original images")
        if int(header.Rows) * int(header.Columns) > MOST_PIXELS:
            got = f"{header.Rows} x {header.Columns}"
            raise DataError(file, f"at most {MOST_PIXELS} pixels", got, "export it again")
        places = np.concatenate([position(header), *axes_mm(header)])
        if len(places) != 9 or not np.isfinite(places).all():
            raise ValueError("a place in space that is not finite")
    except DAMAGE as error:
        got = first_line(error)
        raise DataError(file, "a readable DICOM header", got, "export it again") from None


def _check_alike(folder: Path, found: list[tuple[Path, Dataset]]) -> None:
    """Raise unless all images are of one series, size, spacing, orientation and frame."""
    first_file, first = found[0]
    if len(found) * int(first.Rows) * int(first.Columns) > MOST_VOXELS:
        got = f"{counted(len(found), 'image')} of {first.Rows} x {first.Columns}"
        raise DataError(folder, f"at most {MOST_VOXELS} voxels", got, "export the series again")
    instances: dict[str, Path] = {}
    for file, header in found:
        other_file = instances.setdefault(str(header.SOPInstanceUID), file)
        if other_file != file:
            got = f"that of {other_file.name} too"
            raise DataError(file, "a SOPInstanceUID of its own", got, "remove one of them")
    for file, header in found[1:]:
        if header.SeriesInstanceUID != first.SeriesInstanceUID:
            got = f"several: {first_file.name} and {file.name} differ"
            raise DataError(folder, "one series", got, "put each series in a folder of its own")
        for name in ("Rows", "Columns", "FrameOfReferenceUID"):
            if header.get(name) != first.get(name):
                got = f"{header.get(name)} and {first.get(name)} in {first_file.name}"
                raise DataError(file, f"one {name} in a series", got, "export the series again")
        for name in ("PixelSpacing", "ImageOrientationPatient"):
            one, other = (np.array(h[name].value, dtype=float) for h in (first, header))
            if np.abs(one - other).max() > _SAME:
                got = f"{other.tolist()} and {one.tolist()} in {first_file.name}"
                raise DataError(file, f"one {name} in a series", got, "export the series again")


def _step(folder: Path, found: list[tuple[Path, Dataset]], normal: np.ndarray) -> np.ndarray:
    """From an image to the next, millimeters, LPS; raise unless it is the same everywhere."""
    places = np.array([position(header) for _, header in found])
    gaps = np.diff(places @ normal)
    usual = float(np.median(gaps))
    for (before, _), (after, _), gap in zip(found, found[1:], gaps, strict=False):
        where = f"{folder}, {before.name} to {after.name}"
        if gap < _SAME:
            remedy = "keep one image a place, of one echo and one time"
            raise DataError(where, "images at different places", "two at the same", remedy)
        if abs(gap - usual) > _UNEVEN * usual:
            expected, got = f"images {usual:.2f} mm apart", f"{gap:.2f} mm"
            raise DataError(where, expected, got, "restore the missing images")
    step: np.ndarray = (places[-1] - places[0]) / (len(places) - 1)
    off = np.abs(places - places[0] - np.outer(np.arange(len(places)), step)).max()
    if off > 2 * _UNEVEN * usual:
        got = f"one {off:.2f} mm beside it"
        raise DataError(folder, "images on one line", got, "export the series again")
    return step


def _affine(first: Dataset, step: np.ndarray) -> np.ndarray:
    affine = np.eye(4)
    columns: Iterable[np.ndarray] = (step, *axes_mm(first), position(first))
    affine[:3] = np.stack(list(columns), axis=1)
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine  # LPS to RAS
