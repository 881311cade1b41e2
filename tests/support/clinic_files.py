"""Scans as a clinic's systems write them, made without any of the project's own code.

A **block** is an array with axes x, y, z to the patient's left, back and head (LPS) and a marker in
it that no turn or mirroring maps to itself.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

SHAPE = (12, 10, 6)  # x, y, z
AXIAL = (1, 0, 0, 0, 1, 0)


def block(shape: tuple[int, int, int] = SHAPE) -> np.ndarray:
    """Noise below 100 and an asymmetric L of 1000: uint16 (x, y, z)."""
    made = np.random.default_rng(0).integers(0, 100, shape).astype(np.uint16)
    made[1:9, 2:4, 1:4] = 1000
    made[1:3, 4:8, 1:4] = 1000
    made[1:3, 6:8, 4] = 1000
    return made


def dicom_slice(
    pixels: np.ndarray, place: tuple[float, ...], cosines: tuple[float, ...] = AXIAL
) -> FileDataset:
    """One MR image of spacing 2 mm between rows and 1.5 mm between columns."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = MRImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    made.SOPClassUID, made.SOPInstanceUID = MRImageStorage, meta.MediaStorageSOPInstanceUID
    made.PatientName, made.PatientID, made.Modality = "Doe^Jane", "4711", "MR"
    made.StudyInstanceUID, made.SeriesInstanceUID, made.FrameOfReferenceUID = "1.1", "1.2", "1.3"
    made.Rows, made.Columns = pixels.shape
    made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME2"
    made.BitsAllocated, made.BitsStored, made.HighBit = 16, 16, 15
    made.PixelRepresentation = 0
    made.PixelSpacing, made.SliceThickness = [2.0, 1.5], 3.0
    made.ImageOrientationPatient = list(cosines)
    made.ImagePositionPatient = [float(f"{value:.6f}") for value in place]
    made.PixelData = np.ascontiguousarray(pixels, dtype=np.uint16).tobytes()
    return made


def axial_series(volume: np.ndarray) -> list[FileDataset]:
    """Slices of a block, feet first, 3 mm apart."""
    planes = np.moveaxis(volume, 2, 0).swapaxes(1, 2)  # z, y, x
    return [dicom_slice(p, (-40.0, -30.0, 5.0 + 3 * z)) for z, p in enumerate(planes)]


def write_series(folder: Path, slices: list[FileDataset]) -> Path:
    """Files whose names say nothing of their order, some without a suffix."""
    folder.mkdir(parents=True, exist_ok=True)
    order = np.random.default_rng(1).permutation(len(slices))
    for number, place in enumerate(order):
        name = f"IM{number:04d}" + (".dcm" if number % 2 else "")
        slices[place].save_as(folder / name, enforce_file_format=True)
    return folder


def oriented(volume: np.ndarray, axes: tuple[int, ...], signs: tuple[int, ...]) -> np.ndarray:
    """A block with its axes permuted and mirrored."""
    steps = tuple(slice(None, None, sign) for sign in signs)
    return np.ascontiguousarray(volume.transpose(axes)[steps])


def oriented_affine(
    axes: tuple[int, ...], signs: tuple[int, ...], spacing: tuple[float, ...] = (1.5, 2.0, 3.0)
) -> np.ndarray:
    """From indices of the oriented block to RAS, the unoriented block's corner at (40, 30, 5).

    Worked out by hand, voxel by voxel of the corner, without nibabel.
    """
    lps = np.diag([-1.0, -1.0, 1.0])
    affine = np.eye(4)
    corner = np.zeros(3)
    for new, (old, sign) in enumerate(zip(axes, signs, strict=True)):
        affine[:3, new] = lps[:, old] * spacing[old] * sign
        if sign < 0:
            corner[old] = (SHAPE[old] - 1) * spacing[old]
    affine[:3, 3] = lps @ corner + (40, 30, 5)
    return affine
