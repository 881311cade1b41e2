"""Reads a DICOM segmentation (PS3.3 A.51): binary, fractional, or a label map."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileDataset
from pydicom.pixels.utils import pixel_array

from gitract_core.clinic.dicom_files import DAMAGE, first_line, no_warnings, open_dicom
from gitract_core.clinic.series import axes_mm, position
from gitract_core.clinic.structures.planes import Planes, image_of
from gitract_core.clinic.structures.structure_set import Covered, Region, StructureSet
from gitract_core.errors import DataError, counted

THRESHOLD = 0.5
"""Share from which on a voxel of a fractional segmentation is inside."""
_SAME_STEP = 1e-3  # of a step from pixel to pixel
_SAME_PIXEL = 0.05  # of a pixel: how far grids may lie apart
_GRID = "the pixel grid of its series"
_REMEDY = "resample the segmentation to the series"


def read_seg(file: Path) -> StructureSet:
    """Names of segments and what they refer to.

    Raises:
        DataError: damaged, or without a segment.
    """
    try:
        header = open_dicom(file, stop_before_pixels=True)
        frame = str(header.get("FrameOfReferenceUID") or "")
        series = [
            str(one.SeriesInstanceUID) for one in header.get("ReferencedSeriesSequence") or ()
        ]
        regions = tuple(
            Region(int(one.SegmentNumber), _label(one), frame_of_reference=frame)
            for one in header.get("SegmentSequence") or ()
            if int(one.SegmentNumber) > 0  # 0 is the background of label maps
        )
        fractional = header.get("SegmentationType") == "FRACTIONAL"
    except DAMAGE as error:
        raise _damaged(file, first_line(error)) from None
    if not regions:
        raise DataError(file, "segments (SegmentSequence)", "none", "export it again")
    return StructureSet(file, "SEG", tuple(dict.fromkeys(series)), regions, fractional)


def draw_seg(found: StructureSet, regions: Iterable[Region], planes: Planes) -> Iterator[Covered]:
    """What some segments cover, one by one; a segment without a frame covers nothing.

    Args:
        found: the file.
        regions: which of its segments.
        planes: the images of its series.

    Raises:
        DataError: damaged; frames in no image, or of another grid than the images'.
    """
    try:
        dataset = open_dicom(found.file)
    except DAMAGE as error:
        raise _damaged(found.file, first_line(error)) from None
    for region in regions:
        mask = np.zeros((len(planes.origins), *planes.shape), np.bool_)
        taken: set[int] = set()
        for frame in _frames(found.file, dataset, region.number):
            where = f"{found.file}, frame {frame.number}"
            place = _place(where, frame, planes)
            if place in taken:
                got = f"two at image {place + 1}"
                raise DataError(where, "one frame an image and segment", got, _REMEDY)
            taken.add(place)
            row, column = _corner(where, frame, planes, place)
            height, width = frame.inside.shape
            mask[place, row : row + height, column : column + width] = frame.inside
        yield Covered(mask)


@dataclass(frozen=True)
class _Frame:
    """A frame of one segment.

    Attributes:
        number: in the file, from 1.
        inside: boolean (rows, columns).
        origin: center of the first pixel, millimeters, LPS, or None.
        axes: float (2, 3), steps to the next row and column, or None.
        images: that it was drawn in.
    """

    number: int
    inside: np.ndarray
    origin: np.ndarray | None
    axes: np.ndarray | None
    images: tuple[tuple[str, int], ...]


def _frames(file: Path, dataset: FileDataset, segment: int) -> Iterator[_Frame]:
    """The frames of a segment that hold a voxel; a label map's frame may be of any.

    Raises:
        DataError: damaged.
    """
    try:
        groups = dataset.PerFrameFunctionalGroupsSequence
        if int(dataset.NumberOfFrames) != len(groups):
            raise ValueError(f"{dataset.NumberOfFrames} frames, and {len(groups)} places of them")
        shared = (dataset.get("SharedFunctionalGroupsSequence") or [Dataset()])[0]
        for place, own in enumerate(groups):
            identified = _group(own, shared, "SegmentIdentificationSequence")
            if identified and int(identified.ReferencedSegmentNumber) != segment:
                continue
            values = _pixels(dataset, place)
            inside = _inside(dataset, values) if identified else values == segment
            if inside.any():
                yield _Frame(place + 1, inside, *_where(own, shared))
    except (*DAMAGE, RuntimeError) as error:
        raise _damaged(file, first_line(error)) from None


def _pixels(dataset: FileDataset, place: int) -> np.ndarray:
    """Values of one frame, (rows, columns)."""
    if int(dataset.BitsAllocated) != 1 or dataset.file_meta.TransferSyntaxUID.is_compressed:
        with no_warnings():
            return pixel_array(dataset, index=place)
    rows, columns = int(dataset.Rows), int(dataset.Columns)
    first = place * rows * columns  # bits: a frame may begin within a byte
    start, stop = first // 8, -(-(first + rows * columns) // 8)
    content = np.frombuffer(dataset.PixelData[start:stop], np.uint8)
    bits = np.unpackbits(content, bitorder="little")[first % 8 :]
    return bits[: rows * columns].reshape(rows, columns)


def _inside(dataset: FileDataset, values: np.ndarray) -> np.ndarray:
    if dataset.get("SegmentationType") != "FRACTIONAL":
        return np.asarray(values > 0)
    return np.asarray(values >= THRESHOLD * float(dataset.MaximumFractionalValue))


def _group(own: Dataset, shared: Dataset, name: str) -> Dataset | None:
    found = own.get(name) or shared.get(name)
    return found[0] if found else None


def _where(
    own: Dataset, shared: Dataset
) -> tuple[np.ndarray | None, np.ndarray | None, tuple[tuple[str, int], ...]]:
    """Origin, axes and source images of a frame."""
    origin = axes = None
    plane = _group(own, shared, "PlanePositionSequence")
    if plane is not None and plane.get("ImagePositionPatient"):
        origin = position(plane)
    turn = _group(own, shared, "PlaneOrientationSequence")
    measures = _group(own, shared, "PixelMeasuresSequence")
    if turn is not None and measures is not None and measures.get("PixelSpacing"):
        header = Dataset()
        header.ImageOrientationPatient = turn.ImageOrientationPatient
        header.PixelSpacing = measures.PixelSpacing
        axes = np.stack(axes_mm(header))
    images = [
        image_of(source, "ReferencedSOPInstanceUID")
        for derived in own.get("DerivationImageSequence") or ()
        for source in derived.get("SourceImageSequence") or ()
    ]
    return origin, axes, tuple(images)


def _place(where: str, frame: _Frame, planes: Planes) -> int:
    """The image of a frame: where it lies, else the one that it was drawn in."""
    if frame.axes is not None:
        off = np.abs(frame.axes - planes.axes).max(axis=1)
        if (off > _SAME_STEP * np.linalg.norm(planes.axes, axis=1)).any():
            got = np.array2string(frame.axes, precision=3, separator=",").replace("\n", "")
            raise DataError(where, _GRID, f"steps of {got} mm", _REMEDY)
    if frame.origin is None:
        named = [planes.images[image] for image in frame.images if image in planes.images]
        if len(named) != 1:
            got = f"{counted(len(named), 'image')} of it"
            raise DataError(where, "a place in space or one source image", got, "export it again")
        return named[0]
    depth = float(planes.depth_of(frame.origin[None])[0])
    place = planes.nearest(depth)
    off_mm = abs(depth - float(planes.depths[place]))
    if off_mm > planes.distance_mm / 2:
        expected, got = "frames in the planes of the images", f"one {off_mm:.1f} mm off the nearest"
        raise DataError(where, expected, got, "restore the images, or export it again")
    return place


def _corner(where: str, frame: _Frame, planes: Planes, place: int) -> tuple[int, int]:
    """Row and column of a frame's first pixel in its image."""
    at = np.zeros(2) if frame.origin is None else planes.pixels(frame.origin[None], place)[0]
    corner = np.rint(at)
    beyond = corner + frame.inside.shape > planes.shape
    if (np.abs(at - corner) > _SAME_PIXEL).any() or (corner < 0).any() or beyond.any():
        rows, columns = frame.inside.shape
        got = f"{rows} x {columns} pixels from row {at[0]:.2f}, column {at[1]:.2f}"
        raise DataError(where, _GRID, got, _REMEDY)
    return int(corner[0]), int(corner[1])


def _label(segment: Dataset) -> str:
    name = str(segment.get("SegmentLabel") or "").strip()
    return name or f"segment {int(segment.SegmentNumber)}"


def _damaged(file: Path, got: str) -> DataError:
    return DataError(file, "a whole DICOM segmentation", got, "export it again")
