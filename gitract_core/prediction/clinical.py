"""Predicts clinical scans into NIfTI or RTSTRUCT files, scan by scan, and lists the files.

All scans are read before the first is predicted, and once more when it is their turn: reading
takes little beside networks, and one bad scan among many is found before anything is written.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np

from gitract_core.clinic.nifti import write_nifti
from gitract_core.clinic.rtstruct import check_series, write_rtstruct
from gitract_core.clinic.scan import Scan
from gitract_core.clinic.unlike_mr import CT_QUESTION
from gitract_core.data.cache import network_images
from gitract_core.data.contents import Extent
from gitract_core.data.gray import CURRENT_GRAY, FIRST_GRAY
from gitract_core.data.native import AXES, along, axes_along, back_along
from gitract_core.data.sources import Source
from gitract_core.errors import DataError, NoScanError, RunError
from gitract_core.files.atomic import write_json
from gitract_core.prediction.members import Predictor
from gitract_core.prediction.postprocess import NativeGrid
from gitract_core.progress import Progress, silent
from gitract_core.view import View, Window

FileFormat: TypeAlias = Literal["nifti", "rtstruct"]
_WRITERS = {"nifti": write_nifti, "rtstruct": write_rtstruct}
_MM3_IN_ML = 1000
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


def native_grid(scan: Scan, axis: str = AXES[0]) -> NativeGrid:
    """The pixels of a scan's masks along an axis, with its own slice distance."""
    height, width = along(scan.images, axis).shape[1:]
    _, high_mm, wide_mm = axes_along(scan.placing.spacing_mm, axis)
    return NativeGrid(height, width, scan.placing.voxel_mm3, (high_mm, wide_mm))


def network_input(
    images: np.ndarray,
    size: int,
    *,
    gray: str = CURRENT_GRAY,
    axis: str = AXES[0],
    window: Window | None = None,
) -> np.ndarray:
    """A scan as networks see it, scaled as training scans were; see ``network_images``.

    Args:
        images: (slices, height, width), or (channels, slices, height, width) of several.
        size: side in pixels.
        gray: name of the gray scaling.
        axis: along which networks know slices.
        window: what is seen of each slice along that axis; by default all of it.
    """
    if images.ndim == 3:
        return network_images(along(images, axis), size, gray=gray, window=window)
    channels = np.stack([along(channel, axis) for channel in images], axis=1)
    return network_images(channels, size, gray=gray, window=window)


def doubts_about(
    scan: Scan, learned: Extent | None = None, axis: str = AXES[0], views: Sequence[View] = ()
) -> tuple[str, ...]:
    """What a reader noticed, and what differs by more than half from training, a line each.

    Pixels that are finer than what networks see, and what lies outside of it, make no difference.

    Args:
        scan: to be predicted.
        learned: of the training data; by default the contest's.
        axis: along which networks know slices.
        views: what networks see of a slice; by default all of it.
    """
    known = learned or Extent()
    distance, *pixel = axes_along(scan.placing.spacing_mm, axis)
    _, *pixels = axes_along(scan.placing.turned_shape, axis)
    sides = [n * mm for n, mm in zip(pixels, pixel, strict=True)]
    usual, *usual_pixel = known.spacing_mm
    lines = [*scan.notes]
    if _is_unusual(distance / usual):
        lines.append(f"slices {distance:.2f} mm apart; networks learned from {usual:g}")
    spaced = views and all(view.spacing_mm for view in views)
    finest = min(view.spacing_mm for view in views) if spaced else 0.0
    widest = max(view.size * view.spacing_mm for view in views) if spaced else math.inf
    seen_pixels = [
        (max(p, finest), max(u, finest)) for p, u in zip(pixel, usual_pixel, strict=True)
    ]
    seen_sides = [
        (min(s, widest), min(u, widest)) for s, u in zip(sides, known.field_mm, strict=True)
    ]
    if any(_is_unusual(mm / was) for mm, was in seen_pixels):
        lines.append(
            f"pixels of {pixel[0]:.2f} x {pixel[1]:.2f} mm (height x width); "
            f"networks learned from about {usual_pixel[0]:g} x {usual_pixel[1]:g}"
        )
    if any(_is_unusual(side / was) for side, was in seen_sides):
        lines.append(
            f"field of view {sides[0]:.0f} x {sides[1]:.0f} mm (height x width); "
            f"networks learned from about {known.field_mm[0]:.0f} x {known.field_mm[1]:.0f}"
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
        if scan.name != source.name:  # that of its file, which ends with the channel
            scan = replace(scan, name=source.name)
        gray, axis = predictor.members.gray, predictor.members.axis
        grid, values = native_grid(scan, axis), scan.images
        if source.others:
            values = _with_channels(scan, [read() for read in source.others])
        windows = {view: grid.seen_by(view).window for view in predictor.views}
        images = {
            view: network_input(values, view.size, gray=gray, axis=axis, window=window)
            for view, window in windows.items()
        }
        numbers = np.array(scan.numbers) if scan.numbers else None
        masks = back_along(predictor.masks_of(images, grid, numbers), axis)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pydicom's, of names in characters that are none
            files = _WRITERS[file_format](scan, masks, folder, organs=predictor.members.organs)
        ml = masks.sum(axis=(1, 2, 3)) * (grid.voxel_mm3 / _MM3_IN_ML)
        names, volumes = tuple(f.name for f in files), tuple(float(v) for v in ml)
        extent, seen_in = predictor.members.extent, predictor.views
        doubts = doubts_about(_questioned(scan, gray), extent, axis, seen_in)
        made.append(PredictedScan(scan.name, names, volumes, doubts))
        progress(done, len(sources))
    _write_list(predictor, made, folder)
    return made


def _with_channels(first: Scan, others: Sequence[Scan]) -> np.ndarray:
    """All channels of a scan, (channels, slices, height, width)."""
    for other in others:
        alike = np.allclose(other.placing.affine, first.placing.affine, atol=0.01)
        if other.images.shape != first.images.shape or not alike:
            expected = f"voxels at the places of {first.name}"
            raise DataError(other.name, expected, "other places", "resample it to the first")
    return np.stack([first.images, *(other.images for other in others)])


def _questioned(scan: Scan, gray: str) -> Scan:
    """A scan without the question for its modality where networks know other values than MR's."""
    if gray == FIRST_GRAY:
        return scan
    notes = tuple(note for note in scan.notes if not note.startswith(CT_QUESTION))
    return replace(scan, notes=notes)


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
