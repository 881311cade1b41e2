"""Which DICOM files make one series, and in what order its images lie in space.

Files are read for their headers alone, by any order of their names. A series is refused whole
rather than mended: a missing slice, a second series or a second image at one place would shift or
mix anatomy without anyone noticing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
from pydicom.dataset import Dataset

from gitract_core.clinic.dicom_files import (
    DAMAGE,
    first_line,
    images_of,
    no_warnings,
    open_dicom,
    read_header,
)
from gitract_core.clinic.file_kinds import is_dicom
from gitract_core.errors import DataError, NoScanError, counted
from gitract_core.files.limits import MOST_PIXELS, MOST_VOXELS

_UNIT = 0.01  # how far direction cosines may be from unit length and right angles
_MOST_SCOUTS = 0.2  # share of images across the others that are left aside
_SAME = 1e-3  # cosines and millimeters of numbers that should be equal
_UNEVEN = 0.05  # of the slice distance: how far a slice may lie from its place
Image: TypeAlias = tuple[Path, Dataset]  # a file and the header of an image in it
_NEEDED = (
    "SOPInstanceUID",
    "SeriesInstanceUID",
    "Rows",
    "Columns",
    "PixelSpacing",
    "ImageOrientationPatient",
    "ImagePositionPatient",
)
_NO_IMAGES_OF_THE_BODY = (  # objects that lie beside a series and are none of its images
    "RTDOSE",
    "RTSTRUCT",
    "RTPLAN",
    "RTIMAGE",
    "RTRECORD",
    "RTSEGANN",
    "SEG",
    "REG",
    "FID",
    "PR",
    "KO",
    "SR",
    "DOC",
    "RWV",
    "PLAN",
)


@dataclass(frozen=True)
class Series:
    """One series, in order along the normal of its images.

    Attributes:
        files: of each image; an enhanced file holds many.
        headers: of the images, without pixels; see ``dicom_files``.
        affine: float (4, 4), from (image, row, column) to millimeters, RAS.
        notes: which files were left aside, a line each.
    """

    files: tuple[Path, ...]
    headers: tuple[Dataset, ...]
    affine: np.ndarray
    notes: tuple[str, ...] = ()

    @property
    def shape(self) -> tuple[int, int, int]:
        """Images, rows, columns."""
        return len(self.files), int(self.headers[0].Rows), int(self.headers[0].Columns)


def read_series(path: Path, modality: str | None = "MR") -> Series:
    """The one series that lies in a folder, or the series that a file is of.

    Localizers and other objects (doses, structures, segmentations, reports) are left aside, with a
    note.

    Args:
        path: folder with the files; or one of the files, beside which other series may lie.
        modality: of the images; others are refused, unless it is None.

    Raises:
        DataError: no image, several series, images that do not form one even stack, damage.
        NoScanError: nothing but objects that are left aside.
    """
    with no_warnings():
        folder, series = path, None
        if path.is_file():
            folder, series = path.parent, str(read_header(path).get("SeriesInstanceUID"))
        found, aside = _images_in(folder, modality, series)
        if len(found) < 2:
            kind = DataError if found or not aside else NoScanError
            got = counted(len(found), "image") + (f" ({'; '.join(aside)})" if aside else "")
            raise kind(folder, "a DICOM series of two images or more", got, "pass its folder")
        _check_alike(folder, found)
        normal = np.cross(*_directions(found[0][1]))
        found.sort(key=lambda pair: float(normal @ position(pair[1])))
        step = _step(folder, found, normal)
        files, headers = zip(*found, strict=True)
        return Series(files, headers, _affine(headers[0], step), tuple(aside))


def _images_in(
    folder: Path, modality: str | None, series: str | None
) -> tuple[list[Image], list[str]]:
    """The images in a folder, checked one by one, and what was left aside, a line each."""
    found: list[Image] = []
    beside: dict[str, list[str]] = {}  # kind -> names of files
    for file in sorted(f for f in folder.iterdir() if f.is_file() and is_dicom(f)):
        header = read_header(file)
        try:
            if series is not None and header.get("SeriesInstanceUID") != series:
                continue
            if kind := kind_beside(header):
                beside.setdefault(kind, []).append(file.name)
                continue
            found += [(file, image) for image in images_of(header)]
        except DAMAGE as error:
            got = first_line(error)
            raise DataError(file, "a readable DICOM header", got, "export it again") from None
    if others := _of_another_modality(found, modality):
        beside.setdefault(others, []).extend(file.name for file, _ in found)
        found = []
    for file, image in found:
        _check_image(file, image, modality)
    if scouts := [file.name for file, image in found if is_localizer(image)]:
        beside["a localizer"] = scouts
        found = [(file, image) for file, image in found if not is_localizer(image)]
    if across := _across(found):
        beside["an image across the others"] = [file.name for file, _ in across]
        found = [pair for pair in found if not any(pair is other for other in across)]
    return found, [_aside(kind, names) for kind, names in beside.items()]


def _of_another_modality(found: list[Image], wanted: str | None) -> str:
    """The one modality of images that are all of another than the wanted one; else empty."""
    kinds = {str(image.get("Modality") or "") for _, image in found}
    return kinds.pop() if wanted is not None and len(kinds) == 1 and wanted not in kinds else ""


def _aside(kind: str, names: list[str]) -> str:
    """A line about files that are left aside."""
    if len(names) == 1:
        return f"{names[0]} left aside: {kind}"
    return f"{counted(len(names), 'file')} left aside: {kind} ({names[0]}, ...)"


def _across(found: list[Image]) -> list[Image]:
    """A few images across all others: localizers that do not say so."""
    across: dict[tuple[float, ...], list[Image]] = {}
    for pair in found:
        normal = np.cross(*_directions(pair[1])).round(1) + 0.0
        across.setdefault(tuple(abs(normal).tolist()), []).append(pair)
    most = max(across.values(), key=len, default=[])
    few = [pair for pairs in across.values() if pairs is not most for pair in pairs]
    if not few or len(few) > _MOST_SCOUTS * len(found) or len(most) < 3:
        return []
    if any(np.abs(np.cross(_normal(p[1]), _normal(most[0][1]))).max() < 0.5 for p in few):
        return []  # a little tilted: that is a fault, and is said as one
    return few


def _normal(header: Dataset) -> np.ndarray:
    normal: np.ndarray = np.cross(*_directions(header))
    return normal


def is_localizer(header: Dataset) -> bool:
    """Whether an image says that it is one to plan others by."""
    return any(str(part).upper() == "LOCALIZER" for part in header.get("ImageType") or ())


def kind_beside(header: Dataset) -> str:
    """What an object is that is no image of a series; empty for an image, also one cut short."""
    modality = str(header.get("Modality") or "")
    if modality in _NO_IMAGES_OF_THE_BODY:
        return modality
    stored_as = getattr(header.get("SOPClassUID"), "name", "")
    if "Secondary Capture" in stored_as:
        return "a secondary capture"
    if "Rows" in header or _should_be_image(header):
        return ""
    return modality or "no image"


def holds_images(folder: Path) -> bool:
    """Whether a DICOM file directly in a folder holds an image; a damaged one counts as one."""
    tags = ["Rows", "Modality"]
    for file in sorted(f for f in folder.iterdir() if f.is_file() and is_dicom(f)):
        try:
            header = open_dicom(file, stop_before_pixels=True, specific_tags=tags)
            if "Rows" in header and header.get("Modality") not in _NO_IMAGES_OF_THE_BODY:
                return True
        except DAMAGE:
            return True
    return False


def position(header: Dataset) -> np.ndarray:
    """The center of an image's first pixel in the patient, millimeters, LPS."""
    return np.array(header.ImagePositionPatient, dtype=np.float64)


def axes_mm(header: Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Steps to the next row and to the next column, millimeters, LPS."""
    along_row, along_column = _directions(header)
    between_rows, between_columns = (float(v) for v in header.PixelSpacing)
    return along_column * between_rows, along_row * between_columns


def _directions(header: Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors along a row (to the next column) and along a column, LPS."""
    cosines = np.array(header.ImageOrientationPatient, dtype=np.float64)
    return cosines[:3], cosines[3:]


def _should_be_image(header: Dataset) -> bool:
    """Whether a header without Rows is that of an image cut short, not of another object."""
    uid = getattr(header, "file_meta", {}).get("MediaStorageSOPClassUID")
    name = getattr(uid, "name", "")  # damaged, it may be several
    return not name or str(name).endswith("Image Storage")


def _check_image(file: Path, header: Dataset, wanted: str | None) -> None:
    """Raise unless the header is of one gray image of a modality, with its place in space."""
    try:
        modality, frames = header.get("Modality"), int(header.get("NumberOfFrames") or 1)
        if wanted is not None and modality != wanted:
            remedy = f"take it out of the folder; only {wanted} is read here"
            raise DataError(file, f"Modality {wanted}", modality or "none", remedy)
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
        _check_place(file, header)
    except DAMAGE as error:
        got = first_line(error)
        raise DataError(file, "a readable DICOM header", got, "export it again") from None


def _check_place(file: Path, header: Dataset) -> None:
    """Raise unless a header says soundly where its image is in the patient."""
    places = np.concatenate([position(header), *axes_mm(header)])
    if len(places) != 9 or not np.isfinite(places).all():
        raise ValueError("a place in space that is not finite")
    remedy = "export the original images"
    cosines = np.array([*_directions(header)])
    off = [*(np.linalg.norm(cosines, axis=1) - 1), cosines[0] @ cosines[1]]
    if np.abs(off).max() > _UNIT:
        got = "\\".join(f"{value:g}" for value in cosines.ravel())
        raise DataError(file, "direction cosines of length 1, at right angles", got, remedy)
    spacing = [float(value) for value in header.PixelSpacing]
    if min(spacing) <= 0:
        raise DataError(file, "a PixelSpacing above 0", spacing, remedy)


def _check_alike(folder: Path, found: list[Image]) -> None:
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
                remedy = "take it out if it is a localizer, or export the series again"
                raise DataError(file, f"one {name} in a series", got, remedy)


def _step(folder: Path, found: list[Image], normal: np.ndarray) -> np.ndarray:
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
