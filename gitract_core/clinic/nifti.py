"""NIfTI volumes, read and written through nibabel.

Masks are written in the voxels, orientation and header of the scan they belong to, one file an
organ, because organs overlap: ``NAME_stomach.nii.gz``, uint8, 1 inside.
"""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.nifti1 import Nifti1Header, Nifti1Image
from nibabel.nifti2 import Nifti2Header, Nifti2Image
from nibabel.spatialimages import HeaderDataError

from gitract_core.clinic.kinds import NIFTI_SUFFIXES
from gitract_core.clinic.placing import Placing
from gitract_core.clinic.scan import Scan, to_16_bits
from gitract_core.errors import DataError
from gitract_core.files import write_bytes
from gitract_core.organs import ORGANS

_DAMAGE = (ImageFileError, HeaderDataError, OSError, EOFError, ValueError, zlib.error)


def read_nifti(file: Path) -> Scan:
    """A scan in any orientation.

    Raises:
        DataError: damaged, not one gray volume of two slices or more, or of unknown orientation:
            neither a qform nor an sform says where right and left are.
    """
    try:
        image = nib.load(file)
        array = np.asanyarray(image.dataobj) if isinstance(image, Nifti1Image) else None
    except _DAMAGE as error:
        got = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(file, "a readable NIfTI file", got, "restore the file") from None
    if not isinstance(image, Nifti1Image) or array is None:
        raise DataError(file, "a NIfTI file", type(image).__name__, "convert it")
    _check_header(file, image.header)
    volume = _one_volume(file, array)
    try:
        placing = Placing(volume.shape, np.asarray(image.affine, dtype=np.float64))
    except DataError as error:
        raise error.within(file) from None
    images = placing.turned(to_16_bits(volume))
    return Scan(scan_name(file), images, placing, header=image.header.copy())


def scan_name(file: Path) -> str:
    """A file's name without its suffix.

    >>> scan_name(Path("lab/ward.3_a.nii.gz"))
    'ward.3_a'
    """
    suffix = next(s for s in reversed(NIFTI_SUFFIXES) if file.name.endswith(s))
    return file.name.removesuffix(suffix)


def write_nifti(scan: Scan, masks: np.ndarray, out: Path) -> list[Path]:
    """Masks of a scan from anywhere, one file an organ.

    Args:
        scan: for names, orientation and, if it came from a NIfTI file, the header.
        masks: boolean (organs, slices, height, width), as predicted.
        out: folder.

    Returns:
        the files, in the order of ``ORGANS``.
    """
    files = [out / f"{scan.name}_{organ}.nii.gz" for organ in ORGANS]
    for file, organ, mask in zip(files, ORGANS, masks, strict=True):
        values = scan.placing.turned_back(mask).astype(np.uint8)
        header = _mask_header(scan.header, organ)
        affine, second = scan.placing.affine, isinstance(header, Nifti2Header)
        make = Nifti2Image if second else Nifti1Image
        image: Nifti1Image = make(values, affine, header)  # type: ignore[no-untyped-call]
        if scan.header is None:  # some readers look at one form alone
            image.set_sform(scan.placing.affine, code=1)
            image.set_qform(scan.placing.affine, code=1)
        write_bytes(file, gzip.compress(image.to_bytes(), compresslevel=6, mtime=0))
    return files


def _mask_header(header: Nifti1Header | None, organ: str) -> Nifti1Header:
    """The scan's own header, so that both its forms stay, but nothing about the patient."""
    made = Nifti1Header() if header is None else header.copy()
    made.extensions.clear()
    made.set_data_dtype(np.uint8)
    made.set_slope_inter(1, 0)
    made["cal_min"], made["cal_max"] = 0, 1
    made["descrip"] = f"gitract-cv {organ}".encode()
    for name in ("data_type", "db_name", "aux_file", "intent_name"):
        if name in made:  # the second version of NIfTI has fewer
            made[name] = b""
    made.set_xyzt_units(xyz="mm")
    return made


def _check_header(file: Path, header: Nifti1Header) -> None:
    if not int(header["sform_code"]) and not int(header["qform_code"]):
        expected = "a known orientation (qform or sform)"
        raise DataError(file, expected, "codes 0", "convert the scan again with its orientation")
    unit = header.get_xyzt_units()[0]
    if unit not in ("mm", "unknown"):
        raise DataError(file, "millimeters", unit, "convert the scan again")


def _one_volume(file: Path, array: np.ndarray) -> np.ndarray:
    volume = array.reshape(array.shape[:3]) if set(array.shape[3:]) == {1} else array
    gray = np.issubdtype(volume.dtype, np.integer) or np.issubdtype(volume.dtype, np.floating)
    if volume.ndim != 3 or min(volume.shape) < 2 or not gray:
        expected = "one gray volume of at least 2 voxels a side"
        got = f"{volume.dtype.name} of shape {array.shape}"
        raise DataError(file, expected, got, "extract one volume")
    return volume
