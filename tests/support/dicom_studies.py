"""A data set of DICOM studies, small and without any of the project's own code."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from pydicom import Dataset
from pydicom.dataset import FileDataset
from pydicom.uid import generate_uid

from tests.support.clinic_files import AXIAL, dicom_slice
from tests.support.structure_files import box, contour, rtstruct

SIZE = (20, 24)  # rows, columns
SLICES = 5
Boxes = Mapping[str, tuple[int, int, int, int]]
"""Of each region top, bottom, left and right, pixels as in Python's ranges, in images 1 to 3."""
ORGANS: Boxes = {"Small Bowel": (2, 7, 3, 9), "stomach": (5, 12, 6, 15)}


def series(
    patient: str, seed: int = 0, modality: str = "MR", uid: str | None = None
) -> list[FileDataset]:
    """Axial slices from the feet up: noise, of which the last row and column are known."""
    random = np.random.default_rng(seed)
    series_uid = uid or generate_uid(entropy_srcs=[patient, str(seed), modality])
    made = []
    for place in range(SLICES):
        image = dicom_slice(random.integers(1, 500, SIZE), (-20.0, -30.0, 3.0 * place), AXIAL)
        image.PatientID, image.Modality, image.SeriesInstanceUID = patient, modality, series_uid
        image.StudyInstanceUID = generate_uid(entropy_srcs=[patient, str(seed)])
        image.FrameOfReferenceUID = generate_uid(entropy_srcs=["frame", patient, str(seed)])
        made.append(image)
    return made


def write(folder: Path, images: list[FileDataset]) -> list[FileDataset]:
    """Files whose names say nothing."""
    folder.mkdir(parents=True, exist_ok=True)
    for place, image in enumerate(images):
        name = f"{image.Modality}{(place * 3) % len(images):03d}_{image.SeriesInstanceUID[-6:]}"
        image.save_as(folder / name, enforce_file_format=True)
    return images


def structures(
    images: list[FileDataset], regions: Boxes = ORGANS, kinds: Mapping[str, str] | None = None
) -> FileDataset:
    """An RTSTRUCT of boxes; one of a height of 0 has no contours."""
    drawn: dict[str, list[Dataset]] = {}
    for name, (top, bottom, left, right) in regions.items():
        planes = images[1:4] if bottom > top else []
        edges = ((top - 0.5, bottom - 0.5), (left - 0.5, right - 0.5))
        drawn[name] = [contour(box(image, *edges), image) for image in planes]
    return rtstruct(images[0], drawn, kinds)


def study(
    folder: Path, patient: str, seed: int = 0, regions: Boxes = ORGANS, within: str = "."
) -> list[FileDataset]:
    """A series, in a folder of its own if asked for, and an RTSTRUCT beside it."""
    images = write(folder / within, series(patient, seed))
    structures(images, regions).save_as(folder / "RS", enforce_file_format=True)
    return images


def mask(box_of: tuple[int, int, int, int]) -> np.ndarray:
    """Of a box, boolean (slices, rows, columns), from the head down."""
    made = np.zeros((SLICES, *SIZE), np.bool_)
    top, bottom, left, right = box_of
    made[1:4, top:bottom, left:right] = True
    return made
