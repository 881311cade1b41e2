"""Images as NIfTI, the same bytes each time."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
from nibabel.nifti1 import Nifti1Image

from gitract_core.clinic.orientation import Placing
from gitract_core.files.atomic import write_bytes

_COMPRESSION = 1  # noise does not shrink


def write_volume(file: Path, values: np.ndarray, placing: Placing) -> None:
    """Write whole numbers as a volume.

    Args:
        file: ``.nii.gz``.
        values: (slices, height, width), turned as networks see scans.
        placing: where they lie.
    """
    turned = placing.turned_back(values)
    image = Nifti1Image(turned, placing.affine)
    image.set_sform(placing.affine, code=1)
    image.set_qform(placing.affine, code=1)
    image.header.set_xyzt_units(xyz="mm")
    write_bytes(file, gzip.compress(image.to_bytes(), compresslevel=_COMPRESSION, mtime=0))
