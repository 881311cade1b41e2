"""The images of slices as they were taken: a row of the slice index says where to find them.

The kind of file at ``path`` decides how it is read: a PNG is one slice; a NIfTI file, a folder of
DICOM files, or one of the files of a DICOM series is a whole scan, of which a slice is taken by its
number. Images of several channels have one path a line.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from gitract_core.clinic.file_kinds import is_nifti
from gitract_core.data.gray import gray_scaling
from gitract_core.data.images import read_image, resize_image
from gitract_core.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

_T = TypeVar("_T")
AXES = ("axial", "coronal", "sagittal")
"""Along which slices lie: from head to feet, from front to back, from right to left."""


def native_images(root: Path, rows: pd.DataFrame) -> Iterator[np.ndarray] | np.ndarray:
    """The slices of one scan as they were taken.

    Args:
        root: folder that paths are relative to.
        rows: of the slice index, all of one scan.

    Returns:
        (height, width) each, uint8 or uint16, one by one where every slice is a file; else an
        array of any real dtype, (slices, height, width), or (slices, channels, height, width)
        where there are several channels.

    Raises:
        DataError: a file is missing, damaged, or of another size.
    """
    first = str(rows["path"].iloc[0])
    size = (int(rows["height"].iloc[0]), int(rows["width"].iloc[0]))
    if first.lower().endswith(".png"):
        return (read_image(root / path, *size) for path in rows["path"])
    axis = str(rows["axis"].iloc[0]) if "axis" in rows.columns else AXES[0]
    places = rows["slice"].to_numpy() - 1
    volumes = [_of_volume(root / path, axis, places, size) for path in first.split("\n")]
    return volumes[0] if len(volumes) == 1 else np.stack(volumes, axis=1)


def native_scan(root: Path, rows: pd.DataFrame) -> np.ndarray:
    """As ``native_images``, always an array."""
    images = native_images(root, rows)
    return images if isinstance(images, np.ndarray) else np.stack(list(images))


def picture(root: Path, rows: pd.DataFrame, gray: str) -> np.ndarray:
    """Slices of a scan to look at, at their own size, scaled together; of channels the first.

    Args:
        root: folder that paths are relative to.
        rows: of the slice index, all of one scan.
        gray: name of the gray scaling.

    Returns:
        uint8 (slices, height, width).

    Raises:
        DataError: as ``native_images``.
    """
    images = native_scan(root, rows)
    first = images[:, 0] if images.ndim == 4 else images
    return gray_scaling(gray.split("+")[0])(first)


def along(volume: np.ndarray, axis: str) -> np.ndarray:
    """A volume with slices along another axis.

    Args:
        volume: (feet, back, left): axial slices, as ``clinic.orientation`` turns them.
        axis: one of ``AXES``.

    Returns:
        (slices, height, width); rows of coronal and sagittal slices go from head to feet.
    """
    order = {"axial": (0, 1, 2), "coronal": (1, 0, 2), "sagittal": (2, 0, 1)}[axis]
    return np.ascontiguousarray(volume.transpose(order))


def axes_along(of_axes: tuple[_T, _T, _T], axis: str) -> tuple[_T, _T, _T]:
    """Three values of axial slices, rows and columns, in the order of another axis; see ``along``.

    >>> axes_along(("feet", "back", "left"), "sagittal")
    ('left', 'feet', 'back')
    """
    feet, back, left = of_axes
    if axis == "axial":
        return feet, back, left
    return (back, feet, left) if axis == "coronal" else (left, feet, back)


def back_along(masks: np.ndarray, axis: str) -> np.ndarray:
    """The inverse of ``along`` for masks, (organs, slices, height, width)."""
    order = {"axial": (0, 1, 2, 3), "coronal": (0, 2, 1, 3), "sagittal": (0, 2, 3, 1)}[axis]
    return np.ascontiguousarray(masks.transpose(order))


def resized(images: Iterable[np.ndarray], size: int) -> np.ndarray:
    """Slices (height, width) at network size, (slices, size, size)."""
    return np.stack([resize_image(image, size) for image in images])


def _of_volume(path: Path, axis: str, places: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Some slices of a volume, (slices, height, width)."""
    if not path.exists():
        raise DataError(path, "the images of a scan", "nothing there", "restore them")
    if is_nifti(path):
        from gitract_core.clinic.nifti import read_nifti

        scan = read_nifti(path, raw=True)
    else:
        from gitract_core.clinic.dicom import read_dicom

        scan = read_dicom(path, path.name, raw=True, modality=None)
    volume = along(scan.images, axis)
    if volume.shape[1:] != size or places.max() >= len(volume):
        expected = f"slices of {size[0]} x {size[1]}, number {places.max() + 1} among them"
        raise DataError(path, expected, f"a volume of {volume.shape}", "restore the file")
    return np.asarray(volume[places])
