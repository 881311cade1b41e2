"""NIfTI files of predictions: a label map a scan, or one mask file an organ.

Where the scans of the data set are volumes, a file must hold the voxels of its image, in whatever
order its axes have them.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gitract_core.clinic.file_kinds import is_nifti
from gitract_core.clinic.nifti import read_placing, scan_name
from gitract_core.clinic.orientation import Placing
from gitract_core.data.layouts.description import NAME as DESCRIPTION
from gitract_core.data.layouts.description import read_description
from gitract_core.data.layouts.label_maps import SAME_MM, Labels, read_labels
from gitract_core.data.layouts.nnunet import NAME as DATASET
from gitract_core.data.layouts.nnunet import labels_of
from gitract_core.data.native import AXES
from gitract_core.data.slices import SliceIndex
from gitract_core.errors import DataError
from gitract_core.files.atomic import read_json
from gitract_core.prediction.rivals.predicted import Predicted, strange_scan, visible


def label_values(places: tuple[Path, ...], index: SliceIndex) -> Labels:
    """The label values of a data set's organs, in its order.

    Args:
        places: folders that may have a ``dataset.json`` or ``dataset.yaml``; the first that has one
            decides.
        index: of the data set.

    Raises:
        DataError: no such file, or one that lacks an organ.
    """
    for folder in places:
        found = _labels_in(folder)
        if found is None:
            continue
        where, labels = found
        missing = [organ for organ in index.organs if organ not in labels.values]
        if missing:
            remedy = "name the organs as the run does"
            got = f"{', '.join(labels.values)}"
            raise DataError(where, f"a label of {missing[0]}", got, remedy)
        return Labels({organ: labels.values[organ] for organ in index.organs}, labels.ignore)
    expected = f"{DATASET} or {DESCRIPTION}, which say the label values of organs"
    remedy = "put one beside the predictions, as in labels: {background: 0, stomach: 1}"
    raise DataError(places[0], expected, "none", remedy)


def _labels_in(folder: Path) -> tuple[Path, Labels] | None:
    file = folder / DATASET
    organs = read_description(folder).organs
    if organs and all(isinstance(v, int) for values in organs.values() for v in values):
        values = {n: tuple(v for v in vs if isinstance(v, int)) for n, vs in organs.items()}
        return folder / DESCRIPTION, Labels(values)
    if file.is_file():
        return file, labels_of(file, read_json(file, dict[str, Any], "restore the file"))
    return None


def label_maps(folder: Path, form: str, index: SliceIndex, labels: Labels) -> Predicted:
    """Predictions with a label map ``NAME.nii.gz`` a scan.

    Raises:
        DataError: a file of no scan of the data set.
    """
    files = {scan_name(file): file for file in visible(folder) if is_nifti(file)}

    def read(scan: str) -> np.ndarray:
        values = _in_index(files[scan], index, index.rows_of_scan(scan))
        return labels.masks(files[scan], values)

    return Predicted(folder, form, index, frozenset(files), read)


def nifti_folder(folder: Path, index: SliceIndex) -> Predicted:
    """Predictions as label maps ``NAME.nii.gz``, or as one file ``NAME_ORGAN.nii.gz`` an organ.

    Raises:
        DataError: a file of no scan, label maps without label values, an organ without a file.
    """
    scans, masks = set(index.scans), dict[str, dict[str, Path]]()
    for file in (file for file in visible(folder) if is_nifti(file)):
        name = scan_name(file)
        if name in scans:
            return label_maps(
                folder,
                "label maps",
                index,
                label_values((folder, index.root, index.root.parent), index),
            )
        organ = next((o for o in index.organs if name.removesuffix(f"_{o}") in scans), None)
        if organ is None:
            raise strange_scan(file, name, index)
        masks.setdefault(name.removesuffix(f"_{organ}"), {})[organ] = file
    for scan, files in masks.items():
        for organ in (organ for organ in index.organs if organ not in files):
            where, remedy = folder / f"{scan}_{organ}.nii.gz", "write an empty mask if it is that"
            raise DataError(where, "a mask of every organ", "none", remedy)
    return Predicted(folder, "masks", index, frozenset(masks), partial(_organ_files, masks, index))


def _organ_files(files: dict[str, dict[str, Path]], index: SliceIndex, scan: str) -> np.ndarray:
    rows, found = index.rows_of_scan(scan), []
    for organ in index.organs:
        values = _in_index(files[scan][organ], index, rows)
        held = set(np.unique(values).tolist())
        if not held <= {0, 1} and len(held - {0}) > 1:
            got = f"values {', '.join(map(str, sorted(held)[:5]))}"
            remedy = "write one mask file an organ, or label maps alone"
            raise DataError(files[scan][organ], "a mask: 0 and one value inside", got, remedy)
        found.append(values != 0)
    return np.stack(found)


def _in_index(file: Path, index: SliceIndex, rows: pd.DataFrame) -> np.ndarray:
    """A file's labels in the slices of a scan, integers (slices, height, width)."""
    axis = str(rows["axis"].iloc[0]) if "axis" in rows.columns else AXES[0]
    image = _placing(index.root / str(rows["path"].iloc[0]).split("\n")[0])
    values = read_labels(file, None, axis)
    if image is None:  # slices are files of their own: the volume must have as many
        return values
    _check_place(file, image)
    return np.asarray(values[rows["slice"].to_numpy() - 1])


def _check_place(file: Path, image: Placing) -> None:
    """Raise a ``DataError`` unless a file holds the image's voxels, in whatever order."""
    labels = read_placing(file)
    if labels.turned_shape != image.turned_shape:
        expected = f"the image's (slices, height, width) {image.turned_shape}"
        raise DataError(file, expected, labels.turned_shape, "resample it to the image")
    away = np.linalg.norm(labels.turned_corners_mm - image.turned_corners_mm, axis=1).max()
    if away > SAME_MM:
        got = f"a corner {away:.1f} mm away from the image's"
        raise DataError(file, "the image's place in space", got, "resample it to the image")


def _placing(image: Path) -> Placing | None:
    """Where a scan's voxels are; None where its slices are files of their own."""
    if image.suffix == ".png":
        return None
    if is_nifti(image):
        return read_placing(image)
    from gitract_core.clinic.series import read_series

    series = read_series(image, modality=None)
    return Placing(series.shape, series.affine)
