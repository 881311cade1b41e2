"""The images of a folder that networks shall predict: no labels, and no question about patients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from gitract_core.clinic.file_kinds import is_nifti
from gitract_core.data.contents import ONE_CHANNEL, Contents
from gitract_core.data.layouts.description import Description
from gitract_core.data.layouts.detecting import layout_of, read_contents
from gitract_core.data.layouts.patients import ONE_A_FILE
from gitract_core.errors import DataError
from gitract_core.optional_packages import require

_TEST_FOLDERS = ("test", "imagesTs")


def test_folder(data: Path) -> Path:
    """Where a data set's scans without annotation lie: ``test``, or nnU-Net's ``imagesTs``."""
    there = (data / name for name in _TEST_FOLDERS)
    full = (folder for folder in there if folder.is_dir() and any(folder.iterdir()))
    return next(full, data / _TEST_FOLDERS[0])


def images_below(folder: Path) -> Path:
    """Where the NIfTI images of a folder lie: ``imagesTs``, ``imagesTr``, ``images``, or itself."""
    places = (folder / name for name in ("imagesTs", "imagesTr", "images"))
    return next((p for p in places if p.is_dir() and any(map(is_nifti, p.iterdir()))), folder)


def read_to_predict(
    root: Path, channels: Sequence[str] = ONE_CHANNEL, axis: str = "axial"
) -> Contents:
    """The images of a folder, in any layout.

    Args:
        root: the folder: a data set, whose labels are not looked at, or images alone.
        channels: that the networks know; of several, and in nnU-Net's folders, files end with
            ``_0000`` and so on.
        axis: along which the networks know slices, one of ``native.AXES``.

    Raises:
        DataError: no folder, no images, or a faulty one.
    """
    if not root.is_dir():
        raise DataError(root, "a folder", "nothing there", "check the path")
    layout = layout_of(root)
    if layout == "contest":
        return read_contents(root)
    require("nibabel", str(root), "clinic", DataError)
    if layout == "dicom":
        return read_contents(root, ONE_A_FILE)
    from gitract_core.data.layouts.nifti_pairs import read_nifti_images

    folder = images_below(root)
    said = Description(slice_axis=axis)
    numbered = any(file.name.partition(".")[0].endswith("_0000") for file in folder.iterdir())
    if len(channels) > 1 or numbered:
        ends = {name: f"_{number:04d}" for number, name in enumerate(channels)}
        said = replace(said, channels=ends)
    return read_nifti_images(root, said, ONE_A_FILE, folder)
