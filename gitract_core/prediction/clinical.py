"""Scans to masks to files, scan by scan, with a list of what was made.

All scans are read before the first is predicted, and once more when it is their turn: reading
takes little beside networks, and one bad scan among many is found before anything is written.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from gitract_core.clinic.nifti import write_nifti
from gitract_core.clinic.rtstruct import check_series, write_rtstruct
from gitract_core.data.sources import Source
from gitract_core.errors import RunError
from gitract_core.files.atomic import write_json
from gitract_core.prediction.members import Predictor
from gitract_core.progress import Progress, silent

FileFormat: TypeAlias = Literal["nifti", "rtstruct"]
_WRITERS = {"nifti": write_nifti, "rtstruct": write_rtstruct}
_MM3_IN_ML = 1000


@dataclass(frozen=True, slots=True)
class PredictedScan:
    """What was made of a scan.

    Attributes:
        scan: its name.
        files: names of the files, in the folder of the list.
        volumes_ml: of each organ, in the members' order of organs.
        doubts: how it differs from what networks were trained on, a line each.
    """

    scan: str
    files: tuple[str, ...]
    volumes_ml: tuple[float, ...]
    doubts: tuple[str, ...]


def check_sources(
    sources: Sequence[Source], file_format: FileFormat, progress: Progress = silent
) -> None:
    """Read every scan, pixels included, and keep none; so ``predict_sources`` can go through.

    Args:
        sources: the scans.
        file_format: what is to be written of them.
        progress: called with (scans done, all scans).

    Raises:
        DataError: a scan is at fault, or lacks what its masks must refer to.
    """
    for done, source in enumerate(sources, 1):
        scan = source.read()
        if file_format == "rtstruct":
            check_series(scan)
        progress(done, len(sources))


def predict_sources(
    predictor: Predictor,
    sources: Sequence[Source],
    target: tuple[Path, FileFormat],
    progress: Progress = silent,
) -> list[PredictedScan]:
    """Predict scans into a folder of files and, at the end, their list, ``predictions.json``.

    Args:
        predictor: the networks.
        sources: the scans.
        target: the folder and what to write.
        progress: called with (scans done, all scans).

    Raises:
        DataError: a scan is at fault; files of those before it stay, whole. After
            ``check_sources`` that is a scan that has changed since.
        RunError: the folder is one that scans are read from.
    """
    folder, file_format = target
    made = []
    for done, source in enumerate(sources, 1):
        scan = source.read()
        sizes = {member.candidate.input.size for member in predictor.members.members}
        images = {size: scan.at_size(size, gray=predictor.members.gray) for size in sizes}
        masks = predictor.masks_of(images, scan.grid)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pydicom's, of names in characters that are none
            files = _WRITERS[file_format](scan, masks, folder, organs=predictor.members.organs)
        ml = masks.sum(axis=(1, 2, 3)) * (scan.grid.voxel_mm3 / _MM3_IN_ML)
        names, volumes = tuple(f.name for f in files), tuple(float(v) for v in ml)
        made.append(PredictedScan(scan.name, names, volumes, scan.doubts))
        progress(done, len(sources))
    _write_list(predictor, made, folder)
    return made


def check_folder(images: Path, out: Path) -> None:
    """Refuse to write masks where scans are read, or the next run would take them for scans.

    Raises:
        RunError: both are one folder.
    """
    folder = images.parent if images.is_file() else images
    if folder.resolve() == out.resolve():
        raise RunError(out, "another folder than the images'", "the same", "pass --out DIR")


def _write_list(predictor: Predictor, made: list[PredictedScan], folder: Path) -> None:
    members = [{"trial": m.trial, "sha256": m.sha256} for m in predictor.members.members]
    organs = predictor.members.organs
    named = {"format": 1, "organs": list(organs), "colors": organs.colors}
    values = {**named, "members": members, "scans": [asdict(m) for m in made]}
    write_json(folder / "predictions.json", values)
