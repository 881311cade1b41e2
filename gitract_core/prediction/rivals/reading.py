"""Which form predictions have; told by what lies there.

- nnU-Net's results: ``fold_0/validation/NAME.nii.gz``, ``fold_1/...``, with a ``dataset.json``;
- a table ``id, class, predicted`` (or ``segmentation``), as a submission;
- a folder of NIfTI label maps ``NAME.nii.gz``, or of masks ``NAME_ORGAN.nii.gz``;
- ``npz`` archives of probabilities, an array (organs, slices, height, width) a scan.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gitract_core.clinic.file_kinds import is_nifti
from gitract_core.data.slices import SliceIndex
from gitract_core.errors import DataError
from gitract_core.optional_packages import require
from gitract_core.prediction.rivals.predicted import Predicted, visible
from gitract_core.prediction.rivals.probability_files import read_archives
from gitract_core.prediction.rivals.tables import read_table

FORMS = (
    "nnU-Net's fold_0/validation/*.nii.gz, a table id,class,predicted, NIfTI label maps or masks, "
    "or npz probabilities"
)
TREE = "nnU-Net tree"
_FOLD = re.compile(r"fold_(\d{1,4})", re.ASCII)
_VALIDATION = "validation"


@dataclass(frozen=True)
class Tree:
    """nnU-Net's results.

    Attributes:
        where: the folder.
        folds: by nnU-Net's number of the fold, the predictions of the scans it was validated on.
    """

    where: Path
    folds: Mapping[int, Predicted]


def read_predictions(path: Path, index: SliceIndex) -> Tree | Predicted:
    """Predictions in any form.

    Args:
        path: file or folder.
        index: of the data set that they are of.

    Raises:
        DataError: no known form, or faulty files.
    """
    if path.is_file():
        if path.suffix == ".npz":
            return read_archives([path], path, index)
        if path.suffix == ".csv":
            return read_table(path, index)
        raise DataError(path, FORMS, "another file", "pass the folder or file that holds them")
    if not path.is_dir():
        raise DataError(path, FORMS, "nothing there", "check the path")
    folds = _fold_folders(path)
    if folds:
        return _read_tree(path, folds, index)
    files = list(visible(path))
    if any(is_nifti(file) for file in files):
        require("nibabel", str(path), "clinic", DataError)
        from gitract_core.prediction.rivals.label_files import nifti_folder

        return nifti_folder(path, index)
    archives = [file for file in files if file.suffix == ".npz"]
    if archives:
        return read_archives(archives, path, index)
    tables = [file for file in files if file.suffix == ".csv"]
    if len(tables) == 1:
        return read_table(tables[0], index)
    raise DataError(path, FORMS, "none of them", "pass the folder or file that holds them")


def _fold_folders(path: Path) -> dict[int, Path]:
    found = {}
    for folder in sorted(path.iterdir()):
        number = _FOLD.fullmatch(folder.name)
        if number and (folder / _VALIDATION).is_dir():
            found[int(number[1])] = folder / _VALIDATION
    return found


def _read_tree(path: Path, folds: Mapping[int, Path], index: SliceIndex) -> Tree:
    require("nibabel", str(path), "clinic", DataError)
    from gitract_core.prediction.rivals.label_files import label_maps, label_values

    labels = label_values((path, index.root), index)
    return Tree(path, {n: label_maps(f, TREE, index, labels) for n, f in folds.items()})
