"""Which layout lies in a folder; told by its content."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

from gitract_core.clinic.file_kinds import files_below, is_dicom, is_nifti
from gitract_core.data.contents import Contents
from gitract_core.data.contest.reading import read_contest_data
from gitract_core.data.layouts.description import NAME as DESCRIPTION
from gitract_core.data.layouts.description import read_description
from gitract_core.errors import DataError
from gitract_core.optional_packages import require

LAYOUTS = (
    "train.csv and train/, dataset.json and imagesTr/ (nnU-Net), images/ and labels/ (NIfTI), "
    "or folders of DICOM files"
)

_MOST_LOOKED_AT = 5000  # files that are of no kind, as of a home folder


def read_contents(root: Path, patients: str | None = None) -> Contents:
    """What a data set holds.

    Args:
        root: its folder.
        patients: which patient a scan is of, see ``patients``; by default what ``dataset.yaml``
            says.

    Raises:
        DataError: no folder, no known layout, or a faulty data set.
    """
    if not root.is_dir():
        raise DataError(root, "a folder", "nothing there", "check the path")
    layout = layout_of(root)
    if layout == "contest":
        if patients is not None:
            got, remedy = f"--patients {patients}", "leave it out: names of folders tell patients"
            raise DataError(root, "no rule for patients in the contest's layout", got, remedy)
        return read_contest_data(root)
    require("nibabel", str(root), "clinic", DataError)
    said = read_description(root)
    rule = patients or said.patients
    if layout == "nnunet":
        from gitract_core.data.layouts.nnunet import read_nnunet

        return read_nnunet(root, said, rule)
    if layout == "dicom":
        require("pydicom", str(root), "clinic", DataError)
        from gitract_core.data.layouts.dicom.dicom_studies import read_dicom_studies

        return read_dicom_studies(root, said, rule)
    from gitract_core.data.layouts.nifti_pairs import read_nifti_images, read_nifti_pairs

    if layout == "pairs":
        return read_nifti_pairs(root, said, rule)
    folder = root / "images" if (root / "images").is_dir() else root
    return read_nifti_images(root, said, rule, folder)


def layout_of(root: Path) -> str:
    """``contest``, ``nnunet``, ``pairs`` (images and labels), ``images`` or ``dicom``.

    Raises:
        DataError: a description of a data set lies there, and nothing else of one.
    """
    if (root / "train.csv").exists() or (root / "train").is_dir():
        return "contest"
    if (root / "dataset.json").is_file() or (root / "imagesTr").is_dir():
        return "nnunet"
    if (root / "images").is_dir() and (root / "labels").is_dir():
        return "pairs"
    for folder in (root / "images", root):
        if folder.is_dir() and any(is_nifti(file) for file in folder.iterdir()):
            return "images"
    if _is_dicom_below(root):
        return "dicom"
    if (root / DESCRIPTION).is_file():
        raise DataError(root, LAYOUTS, "none of them", "check the path")
    return "contest"


def _is_dicom_below(root: Path) -> bool:
    """Whether the first file of a known kind below a folder is DICOM."""
    for file in islice(files_below(root), _MOST_LOOKED_AT):
        if file.suffix == ".png" and file.parent.name == "scans":
            return False
        if is_dicom(file):
            return True
    return False
