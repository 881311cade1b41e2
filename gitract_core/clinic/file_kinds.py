"""What kind of scans lies below a path; needs no optional package."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, TypeAlias

from gitract_core.errors import DataError

Kind: TypeAlias = Literal["contest", "nifti", "dicom"]
NIFTI_SUFFIXES = (".nii", ".nii.gz")
FORMATS: dict[Kind, str] = {"contest": "csv", "nifti": "nifti", "dicom": "rtstruct"}
"""What masks are written as if nothing else is asked for."""

_PREAMBLE_BYTES = 128
_EXPECTED = "NIfTI files, a DICOM series or contest images (caseN/caseN_dayN/scans/*.png)"


def kind_of(path: Path) -> Kind:
    """What a user means by a path: the first file of a known kind decides.

    Raises:
        DataError: nothing is there, or no file of a known kind.
    """
    if path.is_file():
        if is_nifti(path):
            return "nifti"
        got, remedy = "another file", "pass the folder that holds it"
        raise DataError(path, "a NIfTI file (.nii, .nii.gz) or a folder", got, remedy)
    if not path.is_dir():
        raise DataError(path, "a folder of scans or a NIfTI file", "nothing", "check the path")
    for file in files_below(path):
        if is_nifti(file) and file.parent == path:
            return "nifti"
        if file.suffix.lower() == ".png" and file.parent.name == "scans":
            return "contest"
        if is_dicom(file):
            return "dicom"
    raise DataError(path, _EXPECTED, "no such file", "check the path")


def is_empty(folder: Path) -> bool:
    """Whether no file lies below a folder but hidden ones."""
    return all(file.name.startswith(".") for file in files_below(folder))


def format_of(path: Path, kind: Kind, asked: str | None) -> str:
    """What to write for scans of a kind: ``csv``, ``nifti`` or ``rtstruct``.

    >>> format_of(Path("scans"), "dicom", None)
    'rtstruct'

    Raises:
        DataError: a submission of scans that are not the contest's, an RTSTRUCT without a series.
    """
    if asked == "csv" and kind != "contest":
        expected = "contest images for a submission"
        raise DataError(path, expected, kind, "pass --format nifti, or leave it out")
    if asked == "rtstruct" and kind != "dicom":
        expected = "a DICOM series for an RTSTRUCT to refer to"
        raise DataError(path, expected, kind, "pass --format nifti")
    return asked or FORMATS[kind]


def is_nifti(file: Path) -> bool:
    """Whether a file's name is that of a NIfTI volume; hidden files are not.

    >>> is_nifti(Path("scans/a.nii.gz")), is_nifti(Path("scans/._a.nii.gz"))
    (True, False)
    """
    return file.name.endswith(NIFTI_SUFFIXES) and not file.name.startswith(".")


def is_dicom(file: Path) -> bool:
    """Whether a file says that it is DICOM: by its preamble, or else by its name."""
    if file.name == "DICOMDIR" or file.name.startswith("."):
        return False
    if file.suffix.lower() in (".dcm", ".ima"):
        return True
    try:
        with file.open("rb") as content:
            return content.read(_PREAMBLE_BYTES + 4)[_PREAMBLE_BYTES:] == b"DICM"
    except OSError:
        return False


def files_below(folder: Path) -> Iterator[Path]:
    """Every file below a folder, folder by folder, in the order of names; links are followed."""
    seen: set[str] = set()
    for root, folders, files in os.walk(folder, followlinks=True):
        place = os.path.realpath(root)
        if place in seen:  # links may lead in circles
            folders.clear()
            continue
        seen.add(place)
        folders.sort()
        for name in sorted(files):
            yield Path(root) / name
