"""One DICOM file: opened without warnings and without surprises, and the images in it.

A header here is that of one image. An enhanced multi-frame file holds many images; each gets a
header as if it had a file of its own, with the number of its frame in ReferencedFrameNumber.
"""

from __future__ import annotations

import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any

from pydicom import dcmread
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.filereader import read_file_meta_info
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from gitract_core.errors import DataError

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

_MOST_FRAMES = 100_000
_LONGEST_LINE = 120
_IDENTIFYING_GROUP = b"\x08\x00"  # of the first element, where a file has no preamble
_PREAMBLE = 128
_OF_FRAMES = {  # functional groups (PS3.3 C.7.6.16.2, C.8.13.5) and what an image takes from them
    "PlanePositionSequence": ("ImagePositionPatient",),
    "PlaneOrientationSequence": ("ImageOrientationPatient",),
    "PixelMeasuresSequence": ("PixelSpacing", "SliceThickness"),
    "PixelValueTransformationSequence": ("RescaleSlope", "RescaleIntercept"),
}


class _Quiet:
    """Warnings are off while any thread is inside: filters of warnings are the whole process's."""

    def __init__(self) -> None:
        self._lock, self._inside = Lock(), 0
        self._filters = warnings.catch_warnings()

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._filters = warnings.catch_warnings()
                self._filters.__enter__()
                warnings.simplefilter("ignore")
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._filters.__exit__(None, None, None)


_quiet = _Quiet()


@contextmanager
def no_warnings() -> Iterator[None]:
    """Keeps pydicom's warnings of values that are not quite as the standard wants them."""
    with _quiet:
        yield


def open_dicom(file: Path, **how: Any) -> FileDataset:
    """``dcmread``, also of a file without the preamble, and without inflating a possible bomb.

    Raises:
        ValueError: the whole file is deflated.
        DAMAGE: whatever pydicom raises.
    """
    with no_warnings():
        bare = _is_bare(file)
        syntax = None if bare else read_file_meta_info(file).get("TransferSyntaxUID")
        if syntax is not None and syntax.is_deflated:
            raise ValueError("a deflated one; decompress it first (dcmconv +te)")
        opened = dcmread(file, force=bare, **how)
        if bare and "TransferSyntaxUID" not in opened.file_meta:
            implicit = opened.original_encoding[0]
            opened.file_meta = opened.file_meta or FileMetaDataset()
            made = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
            opened.file_meta.TransferSyntaxUID = made
        return opened


def _is_bare(file: Path) -> bool:
    """Whether a file starts with a DICOM data set at once, as older systems store it."""
    with file.open("rb") as content:
        start = content.read(_PREAMBLE + 4)
    return start[_PREAMBLE:] != b"DICM" and start.startswith(_IDENTIFYING_GROUP)


def read_header(file: Path) -> FileDataset:
    """A file without its pixels.

    Raises:
        DataError: damaged.
    """
    try:
        return open_dicom(file, stop_before_pixels=True)
    except InvalidDicomError:
        got, remedy = "a file without a DICOM header", "restore the file"
        raise DataError(file, "a readable DICOM file", got, remedy) from None
    except DAMAGE as error:
        got = first_line(error)
        raise DataError(file, "a readable DICOM file", got, "restore the file") from None


def images_of(header: FileDataset) -> list[Dataset]:
    """A header an image: the file's own, or one for each frame of an enhanced file.

    Raises:
        DAMAGE: functional groups that are not as they should be.
    """
    frames = int(header.get("NumberOfFrames") or 1)
    groups = header.get("PerFrameFunctionalGroupsSequence") or []
    if not groups or frames != len(groups) or frames > _MOST_FRAMES:
        return [header]
    shared = (header.get("SharedFunctionalGroupsSequence") or [Dataset()])[0]
    plain = Dataset()
    for element in header:
        if not element.keyword.endswith("FunctionalGroupsSequence"):
            plain.add(element)
    plain.NumberOfFrames = 1
    return [_of_frame(plain, own, shared, number) for number, own in enumerate(groups, 1)]


def _of_frame(plain: Dataset, own: Dataset, shared: Dataset, number: int) -> Dataset:
    made = Dataset()
    made.update(plain)
    made.ReferencedFrameNumber = number
    for group, names in _OF_FRAMES.items():
        found = own.get(group) or shared.get(group)
        for name in names if found else ():
            if name in found[0]:
                made[name] = found[0][name]
    return made


def first_line(error: Exception) -> str:
    """An error of a library as one short line, cut between words."""
    text = str(error).strip("'\" \n")
    if not text:
        return type(error).__name__
    line = text.splitlines()[0]
    return line if len(line) <= _LONGEST_LINE else line[:_LONGEST_LINE].rpartition(" ")[0] + " ..."
