"""The image series and the structure sets below a folder, from headers alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pydicom.dataset import Dataset

from gitract_core.clinic.dicom_files import DAMAGE, first_line, no_warnings, open_dicom
from gitract_core.clinic.file_kinds import files_below, is_dicom
from gitract_core.clinic.series import is_localizer, kind_beside
from gitract_core.clinic.structures.reading import read_structure_set
from gitract_core.clinic.structures.structure_set import Form, StructureSet
from gitract_core.errors import DataError

HELD_OUT = "test"
"""A folder beside the studies that is no part of the data set: scans that nobody trains on."""
_FORMS: tuple[Form, ...] = ("RTSTRUCT", "SEG")
_FRAMES = "PerFrameFunctionalGroupsSequence"
_TAGS = [
    "FrameOfReferenceUID",
    "ImagePositionPatient",
    "ImageType",
    "Modality",
    "NumberOfFrames",
    "PatientID",
    _FRAMES,
    "Rows",
    "SeriesInstanceUID",
    "StudyInstanceUID",
]


@dataclass(frozen=True)
class ImageSeries:
    """Images of one series in one folder.

    Attributes:
        uid: SeriesInstanceUID.
        files: in the order of their names.
        modality: MR, CT, ...
        study: StudyInstanceUID.
        patient: PatientID, maybe empty.
        frame_of_reference: FrameOfReferenceUID, maybe empty.
        alone: whether no image of another series lies in its folder.
    """

    uid: str
    files: tuple[Path, ...]
    modality: str
    study: str
    patient: str
    frame_of_reference: str
    alone: bool = True

    @property
    def folder(self) -> Path:
        """That holds the files."""
        return self.files[0].parent

    @property
    def path(self) -> Path:
        """By which the images are read: the folder, or one file if others lie there too."""
        return self.folder if self.alone else self.files[0]


@dataclass(frozen=True)
class Inventory:
    """What lies below a folder.

    Attributes:
        series: by their folders.
        structure_sets: by their files.
        held_out: number of files in ``HELD_OUT`` that were not looked at.
        aside: how many DICOM files were left aside, by kind.
        faults: what could not be read.
    """

    series: tuple[ImageSeries, ...]
    structure_sets: tuple[StructureSet, ...]
    held_out: int
    aside: Counter[str]
    faults: tuple[DataError, ...]


@dataclass(frozen=True)
class _Image:
    """A file of images and its header."""

    file: Path
    header: Dataset
    frames: int


def take_inventory(root: Path) -> Inventory:
    """The series and structure sets below a folder, but for those in ``HELD_OUT``."""
    with no_warnings():
        return _taken(root)


def _taken(root: Path) -> Inventory:
    files = [file for file in files_below(root) if is_dicom(file)]
    held_out = root / HELD_OUT
    studied = [file for file in files if held_out not in file.parents]
    images: dict[tuple[Path, str], list[_Image]] = {}
    sets: list[StructureSet] = []
    aside: Counter[str] = Counter()
    faults: list[DataError] = []
    for file in studied or files:
        try:
            header = _header(file)
            modality = str(header.get("Modality") or "")
            form = next((form for form in _FORMS if form == modality), None)
            if form is not None:
                sets.append(read_structure_set(file, form))
                continue
            if kind := kind_beside(header) or _unlike_a_slice(header):
                aside[kind] += 1
                continue
            series = str(header.get("SeriesInstanceUID") or "")
            frames = int(header.get("NumberOfFrames") or 1)
            images.setdefault((file.parent, series), []).append(_Image(file, header, frames))
        except DataError as error:
            faults.append(error)
        except DAMAGE as error:
            faults.append(_unreadable(file, error))
    found = list(_series(images, aside))
    held = len(files) - len(studied) if studied else 0
    return Inventory(tuple(found), tuple(sets), held, aside, (*faults, *_twice(found)))


def _header(file: Path) -> Dataset:
    try:
        header = open_dicom(file, stop_before_pixels=True, specific_tags=_TAGS)
        for _ in header:  # values are read when they are asked for: now
            pass
    except DAMAGE as error:
        raise _unreadable(file, error) from None
    return header


def _unreadable(file: Path, error: Exception) -> DataError:
    return DataError(file, "a readable DICOM file", first_line(error), "restore the file")


def _unlike_a_slice(header: Dataset) -> str:
    """What an image is that is none of a volume; empty for others."""
    if is_localizer(header):
        return "localizer"
    placed = header.get("ImagePositionPatient") or header.get(_FRAMES)
    return "" if placed else "image without a place in the patient"


def _series(
    images: dict[tuple[Path, str], list[_Image]], aside: Counter[str]
) -> Iterator[ImageSeries]:
    """Series of two images or more; a lone image is left aside."""
    in_folder = Counter(folder for folder, _ in images)
    for (folder, uid), found in images.items():
        header = found[0].header
        if len(found) == 1 and found[0].frames < 2:
            aside["single image"] += 1
            continue
        yield ImageSeries(
            uid,
            tuple(image.file for image in found),
            str(header.get("Modality") or ""),
            str(header.get("StudyInstanceUID") or ""),
            str(header.get("PatientID") or "").strip(),
            str(header.get("FrameOfReferenceUID") or ""),
            in_folder[folder] == 1,
        )


def _twice(found: Iterable[ImageSeries]) -> Iterator[DataError]:
    """A fault for each series that lies in several folders."""
    folders: dict[str, Path] = {}
    for series in found:
        first = folders.setdefault(series.uid, series.folder)
        if first != series.folder:
            expected = f"a series of its own (SeriesInstanceUID {series.uid})"
            remedy = "keep one copy, or put all of its images in one folder"
            yield DataError(series.folder, expected, f"that of {first} too", remedy)
