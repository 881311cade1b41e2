"""NIfTI volumes, read and written through nibabel.

Masks are written in the voxels, orientation and header of the scan they belong to, one file an
organ, because organs overlap: ``NAME_stomach.nii.gz``, uint8, 1 inside.
"""

from __future__ import annotations

import gzip
import math
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.nifti1 import Nifti1Header, Nifti1Image
from nibabel.nifti2 import Nifti2Header, Nifti2Image
from nibabel.spatialimages import HeaderDataError

from gitract_core.clinic.background import check_contrast, filled, outside_of
from gitract_core.clinic.file_kinds import NIFTI_SUFFIXES
from gitract_core.clinic.orientation import Placing
from gitract_core.clinic.scan import Scan, to_16_bits
from gitract_core.clinic.unlike_mr import gray_notes, looks_like_labels
from gitract_core.errors import DataError
from gitract_core.files.atomic import write_bytes
from gitract_core.files.limits import MOST_VOXELS
from gitract_core.organs import Organs

_CHUNK_BYTES = 2**20
_SAME_PLACE_MM = 1.0
_MOST_CHUNKS = 16 * MOST_VOXELS // _CHUNK_BYTES  # no voxel has more bytes
_DAMAGE = (
    ImageFileError,
    HeaderDataError,
    OSError,
    EOFError,
    ValueError,
    OverflowError,
    KeyError,
    zlib.error,
)


def read_nifti(file: Path, *, raw: bool = False) -> Scan:
    """A scan in any orientation.

    Args:
        file: the volume.
        raw: give the file's own values, with the darkest one outside of the body, not 16 bits
            of them.

    Raises:
        DataError: damaged, not one gray volume of two slices or more, or of unknown orientation:
            neither a qform nor an sform says where right and left are.
        NoScanError: all voxels have one value.
    """
    volume = read_volume(file)
    outside, labels = outside_of(volume.values), looks_like_labels(volume.values)
    images = filled(volume.values, outside) if raw else to_16_bits(volume.values, outside)
    check_contrast(file, images, outside)
    notes = gray_notes(volume.values, outside, labels=labels)
    notes += _form_notes(volume.header, volume.placing)
    return Scan(
        scan_name(file), images, volume.placing, header=volume.header, notes=notes, labels=labels
    )


@dataclass(frozen=True)
class Volume:
    """What a NIfTI file holds, intensities or labels.

    Attributes:
        values: as they stand in the file, (slices, height, width), turned as the contest's scans.
        placing: of the file's own array.
        header: of the file.
    """

    values: np.ndarray
    placing: Placing
    header: Nifti1Header


def read_volume(file: Path) -> Volume:
    """A volume in any orientation.

    Raises:
        DataError: as ``read_nifti``.
    """
    with _damage_told(file), np.errstate(all="ignore"):
        image = _checked(file)
        _check_gzip(file)
        array = np.asanyarray(image.dataobj)
    placing = _placing(file, image)
    return Volume(placing.turned(array.reshape(placing.shape)), placing, image.header.copy())


def read_placing(file: Path) -> Placing:
    """Where the voxels of a volume are, from its header alone.

    Raises:
        DataError: as ``read_nifti``.
    """
    with _damage_told(file):
        image = _checked(file)
    return _placing(file, image)


def _checked(file: Path) -> Nifti1Image:
    image = nib.load(file)
    if not isinstance(image, Nifti1Image):
        raise DataError(file, "a NIfTI file", type(image).__name__, "convert it")
    _check_header(file, image.header)
    _check_shape(file, image)
    return image


def _placing(file: Path, image: Nifti1Image) -> Placing:
    a, b, c = image.shape[:3]
    try:
        return Placing((a, b, c), np.asarray(image.affine, dtype=np.float64))
    except DataError as error:
        raise error.within(file) from None


def _form_notes(header: Nifti1Header, placing: Placing) -> tuple[str, ...]:
    """Where the two forms of a header put voxels at different places; else what is unusual."""
    if int(header["sform_code"]) and int(header["qform_code"]):
        try:
            other = np.asarray(header.get_qform(), dtype=np.float64)
        except (HeaderDataError, ValueError):
            return (*placing.notes, "its qform is no rotation; the sform is used")
        corners = np.array(list(product(*((0, n - 1) for n in placing.shape))))
        away = corners @ (other - placing.affine)[:3, :3].T + (other - placing.affine)[:3, 3]
        if not (farthest := float(np.linalg.norm(away, axis=1).max())) <= _SAME_PLACE_MM:
            said = f"its qform and sform differ by up to {farthest:.1f} mm; the sform is used"
            return (*placing.notes, said)
    return placing.notes


def scan_name(file: Path) -> str:
    """A file's name without its suffix.

    >>> scan_name(Path("lab/ward.3_a.nii.gz"))
    'ward.3_a'
    """
    suffix = next(s for s in reversed(NIFTI_SUFFIXES) if file.name.endswith(s))
    return file.name.removesuffix(suffix)


def write_nifti(scan: Scan, masks: np.ndarray, out: Path, *, organs: Organs) -> list[Path]:
    """Masks of a scan from anywhere, one file an organ.

    Args:
        scan: for names, orientation and, if it came from a NIfTI file, the header.
        masks: boolean (organs, slices, height, width), as predicted.
        out: folder.
        organs: of the masks.

    Returns:
        the files, in the order of the organs.
    """
    files = [out / f"{scan.name}_{organ}.nii.gz" for organ in organs]
    for file, organ, mask in zip(files, organs, masks, strict=True):
        values = scan.placing.turned_back(mask).astype(np.uint8)
        header = _mask_header(scan.header, organ)
        affine, second = scan.placing.affine, isinstance(header, Nifti2Header)
        make = Nifti2Image if second else Nifti1Image
        image: Nifti1Image = make(values, affine, header)  # type: ignore[no-untyped-call]
        if scan.header is None:  # some readers look at one form alone
            image.set_sform(scan.placing.affine, code=1)
            # A qform has right angles alone: of a sheared box it would put masks elsewhere.
            image.set_qform(scan.placing.affine, code=int(not scan.placing.is_sheared))
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


def _check_shape(file: Path, image: Nifti1Image) -> None:
    """Raise unless the header claims one gray volume that fits into memory."""
    shape, kind = image.shape, image.get_data_dtype()
    gray = np.issubdtype(kind, np.integer) or np.issubdtype(kind, np.floating)
    if len(shape) < 3 or min(shape[:3]) < 2 or not set(shape[3:]) <= {1} or not gray:
        expected = "one gray volume of at least 2 voxels a side"
        raise DataError(file, expected, f"{kind.name} of shape {shape}", "extract one volume")
    if math.prod(shape) > MOST_VOXELS:
        expected = f"at most {MOST_VOXELS} voxels"
        raise DataError(file, expected, f"shape {shape}", "restore or resample the scan")


def _check_gzip(file: Path) -> None:
    """Raise where a compressed file is not whole: nibabel stops before the checksum."""
    if file.suffix == ".gz":
        with gzip.open(file) as content:
            for _ in range(_MOST_CHUNKS):
                if not content.read(_CHUNK_BYTES):
                    return
        raise DataError(file, "a volume", "far more than one", "restore the file")


@contextmanager
def _damage_told(file: Path) -> Iterator[None]:
    """Whatever nibabel finds wrong as one line; what it merely doubts is not said."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except _DAMAGE as error:
        got = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(file, "a readable NIfTI file", got, "restore the file") from None
