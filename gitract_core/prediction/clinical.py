"""Predicts clinical scans into NIfTI or RTSTRUCT files, scan by scan, and lists the files.

All scans are read before the first is predicted, and once more when it is their turn: reading
takes little beside networks, and one bad scan among many is found before anything is written.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np

from gitract_core.clinic.nifti import write_nifti
from gitract_core.clinic.rtstruct import check_series, write_rtstruct
from gitract_core.clinic.scan import Scan
from gitract_core.data.cache import network_images
from gitract_core.data.gray import CURRENT_GRAY
from gitract_core.data.slices import SLICE_THICKNESS_MM
from gitract_core.data.sources import Source
from gitract_core.errors import DataError, NoScanError, RunError
from gitract_core.files.atomic import write_json
from gitract_core.prediction.members import Predictor
from gitract_core.prediction.postprocess import NativeGrid
from gitract_core.progress import Progress, silent

FileFormat: TypeAlias = Literal["nifti", "rtstruct"]
_WRITERS = {"nifti": write_nifti, "rtstruct": write_rtstruct}
_MM3_IN_ML = 1000
FIELD_OF_VIEW_MM = 400.0  # of two thirds of the contest's slices: 266 pixels of 1.5 mm
PIXEL_MM = 1.5
_UNUSUAL = 1.5  # times what networks were trained on, or a part of it


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


def native_grid(scan: Scan) -> NativeGrid:
    """The pixels of a scan's masks, with its own slice distance."""
    height, width = scan.images.shape[1:]
    return NativeGrid(height, width, scan.placing.voxel_mm3)


def network_input(scan: Scan, size: int, *, gray: str = CURRENT_GRAY) -> np.ndarray:
    """A scan as networks see it: uint8 (slices, size, size), scaled as contest scans are."""
    return network_images(scan.images, size, gray=gray)


def doubts_about(scan: Scan) -> tuple[str, ...]:
    """What a reader noticed, and what differs by more than half from training, a line each."""
    distance, *pixel = scan.placing.spacing_mm
    sides = [n * mm for n, mm in zip(scan.images.shape[1:], pixel, strict=True)]
    lines = [*scan.notes]
    if _is_unusual(distance / SLICE_THICKNESS_MM):
        lines.append(
            f"slices {distance:.2f} mm apart; networks learned from {SLICE_THICKNESS_MM:.0f}"
        )
    if any(_is_unusual(mm / PIXEL_MM) for mm in pixel):
        lines.append(
            f"pixels of {pixel[0]:.2f} x {pixel[1]:.2f} mm (height x width); "
            f"networks learned from about {PIXEL_MM} x {PIXEL_MM}"
        )
    if any(_is_unusual(side / FIELD_OF_VIEW_MM) for side in sides):
        lines.append(
            f"field of view {sides[0]:.0f} x {sides[1]:.0f} mm (height x width); "
            f"networks learned from about {FIELD_OF_VIEW_MM:.0f} x {FIELD_OF_VIEW_MM:.0f}"
        )
    return tuple(lines)


def _is_unusual(ratio: float) -> bool:
    return max(ratio, 1 / ratio) > _UNUSUAL


@dataclass(frozen=True, slots=True)
class Checked:
    """What can be predicted of the sources below a path.

    Attributes:
        sources: the scans.
        left_aside: what is no scan, a line each: label maps, images of one value, localizers.
    """

    sources: tuple[Source, ...]
    left_aside: tuple[str, ...] = ()


def check_sources(
    sources: Sequence[Source], file_format: FileFormat, progress: Progress = silent
) -> Checked:
    """Read every scan, pixels included, and keep none; so ``predict_sources`` can go through.

    Beside scans, what is none is left aside; alone, it is refused, or predicted with a doubt.

    Args:
        sources: the scans.
        file_format: what is to be written of them.
        progress: called with (scans done, all scans).

    Raises:
        DataError: a scan is at fault, or lacks what its masks must refer to; or there is none.
    """
    kept: list[Source] = []
    aside: list[str] = []
    refused: list[NoScanError] = []
    for done, source in enumerate(sources, 1):
        try:
            scan = source.read()
        except NoScanError as error:
            refused.append(error)
            aside.append(f"{source.name} left aside: {error}")
        else:
            if scan.labels and len(sources) > 1:
                aside.append(f"{source.name} left aside: it looks like a label map")
                continue
            if file_format == "rtstruct":
                check_series(scan)
            kept.append(source)
        progress(done, len(sources))
    if kept:
        return Checked(tuple(kept), tuple(aside))
    if refused:
        raise refused[0]
    where, got = ", ".join(source.name for source in sources[:3]), f"{len(sources)} label maps"
    raise DataError(where, "images to segment", got, "pass one of them alone to segment it")


def predict_sources(
    predictor: Predictor,
    sources: Sequence[Source],
    folder: Path,
    file_format: FileFormat,
    progress: Progress = silent,
) -> list[PredictedScan]:
    """Predict scans into a folder of files and, at the end, their list, ``predictions.json``.

    Args:
        predictor: the networks.
        sources: the scans.
        folder: where the files are written.
        file_format: ``nifti`` or ``rtstruct``.
        progress: called with (scans done, all scans).

    Raises:
        DataError: a scan is at fault; files of those before it stay, whole. After
            ``check_sources`` that is a scan that has changed since.
        RunError: the folder is one that scans are read from.
    """
    made = []
    for done, source in enumerate(sources, 1):
        scan = source.read()
        sizes = {member.candidate.input.size for member in predictor.members.members}
        grid = native_grid(scan)
        gray = predictor.members.gray
        images = {size: network_input(scan, size, gray=gray) for size in sizes}
        masks = predictor.masks_of(images, grid)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pydicom's, of names in characters that are none
            files = _WRITERS[file_format](scan, masks, folder, organs=predictor.members.organs)
        ml = masks.sum(axis=(1, 2, 3)) * (grid.voxel_mm3 / _MM3_IN_ML)
        names, volumes = tuple(f.name for f in files), tuple(float(v) for v in ml)
        made.append(PredictedScan(scan.name, names, volumes, doubts_about(scan)))
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
