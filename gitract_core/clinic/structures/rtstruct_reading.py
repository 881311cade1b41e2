"""Reads an RTSTRUCT (PS3.3 A.19): names, references, and closed planar contours as voxels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset

from gitract_core.clinic.dicom_files import DAMAGE, first_line, open_dicom
from gitract_core.clinic.structures.planes import Planes, image_of
from gitract_core.clinic.structures.polygons import filled
from gitract_core.clinic.structures.structure_set import Covered, Region, StructureSet
from gitract_core.errors import DataError

_AREAS = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR")
_ROI_CONTOURS = 0x30060039
_SAME_PLANE_MM = 0.01


def read_rtstruct(file: Path) -> StructureSet:
    """Names of regions and what they refer to.

    Raises:
        DataError: damaged, cut short, or without a region.
    """
    dataset = _opened(file)
    try:
        found = StructureSet(file, "RTSTRUCT", tuple(_series_of(dataset)), tuple(_regions(dataset)))
    except DAMAGE as error:
        raise _damaged(file, first_line(error)) from None
    if not found.regions:
        raise DataError(file, "regions (StructureSetROISequence)", "none", "export it again")
    return found


def draw_rtstruct(
    found: StructureSet, regions: Iterable[Region], planes: Planes
) -> Iterator[Covered]:
    """What some regions cover, one by one.

    Contours belong to the image that they name, and where they name none of the series, to the
    image nearest to their plane.

    Args:
        found: the file.
        regions: which of its regions.
        planes: the images of its series.

    Raises:
        DataError: damaged; contours that lie in no image.
    """
    dataset = _opened(found.file)
    for region in regions:
        where = f"{found.file}, region {region.name}"
        try:
            contours = list(_contours(dataset, region.number))
        except DAMAGE as error:
            raise _damaged(where, first_line(error)) from None
        yield _covered(where, contours, planes)


@dataclass(frozen=True)
class _Contour:
    """One contour: its kind, points (points, 3) in millimeters, and the images that it names."""

    kind: str
    points: np.ndarray
    images: tuple[tuple[str, int], ...]


def _opened(file: Path) -> Dataset:
    try:
        dataset = open_dicom(file)
        whole = any(tag > _ROI_CONTOURS for tag in dataset.keys())  # noqa: SIM118
    except DAMAGE as error:
        raise _damaged(file, first_line(error)) from None
    if not whole:  # pydicom reads what is there of a file that ends among contours
        raise _damaged(file, "one that ends before or among its contours")
    return dataset


def _damaged(where: object, got: str) -> DataError:
    return DataError(where, "a whole RTSTRUCT", got, "export it again")


def _series_of(dataset: Dataset) -> Iterator[str]:
    for frame in dataset.get("ReferencedFrameOfReferenceSequence") or ():
        for study in frame.get("RTReferencedStudySequence") or ():
            for series in study.get("RTReferencedSeriesSequence") or ():
                yield str(series.SeriesInstanceUID)


def _regions(dataset: Dataset) -> Iterator[Region]:
    observed = dataset.get("RTROIObservationsSequence") or ()
    kinds = {
        int(one.ReferencedROINumber): str(one.get("RTROIInterpretedType") or "").upper()
        for one in observed
    }
    frames = list(dataset.get("ReferencedFrameOfReferenceSequence") or ())
    only = str(frames[0].get("FrameOfReferenceUID") or "") if len(frames) == 1 else ""
    for roi in dataset.StructureSetROISequence:
        number = int(roi.ROINumber)
        frame = str(roi.get("ReferencedFrameOfReferenceUID") or only)
        name = str(roi.get("ROIName") or "").strip()
        yield Region(number, name or f"ROI {number}", kinds.get(number, ""), frame)


def _contours(dataset: Dataset, number: int) -> Iterator[_Contour]:
    for roi in dataset.ROIContourSequence:
        if int(roi.ReferencedROINumber) != number:
            continue
        for contour in roi.get("ContourSequence") or ():
            values = np.atleast_1d(np.array(contour.get("ContourData") or [], np.float64))
            named = contour.get("NumberOfContourPoints")
            if values.size % 3 or (named is not None and values.size != 3 * int(named)):
                raise ValueError(f"a contour of {values.size} numbers for {named} points")
            if not np.isfinite(values).all():
                raise ValueError("a contour with a point that is not finite")
            images = contour.get("ContourImageSequence") or ()
            names = tuple(image_of(image, "ReferencedSOPInstanceUID") for image in images)
            kind = str(contour.get("ContourGeometricType") or "")
            yield _Contour(kind, values.reshape(-1, 3), names)


def _covered(where: str, contours: list[_Contour], planes: Planes) -> Covered:
    mask = np.zeros((len(planes.origins), *planes.shape), np.bool_)
    areas = [c for c in contours if c.kind in _AREAS and len(c.points) > 2]
    others = Counter(c.kind or "unknown kind" for c in contours if c.kind not in _AREAS)
    others.update(
        "less than three points" for c in contours if c.kind in _AREAS and len(c.points) < 3
    )
    notes = [f"{times} contours left aside ({kind})" for kind, times in sorted(others.items())]
    of_images: dict[int, list[_Contour]] = {}
    for contour in areas:
        of_images.setdefault(_place(where, contour, planes), []).append(contour)
    between = 0
    for place, all_of_image in of_images.items():
        kept = _in_nearest_plane(all_of_image, planes, place)
        between += len(all_of_image) - len(kept)
        mask[place] = filled([planes.pixels(c.points, place) for c in kept], planes.shape)
    if between:
        notes.append(f"{between} contours left aside (between images)")
    return Covered(mask, bool(areas) or not contours, tuple(notes))


def _place(where: str, contour: _Contour, planes: Planes) -> int:
    """The image of a contour."""
    depths = planes.depth_of(contour.points)
    named = [planes.images[image] for image in contour.images if image in planes.images]
    place = named[0] if len(named) == 1 else planes.nearest(float(depths.mean()))
    off = float(np.abs(depths - planes.depths[place]).max())
    if off > planes.distance_mm / 2 + _SAME_PLANE_MM:
        expected = "contours in the planes of the images"
        got = f"one {off:.1f} mm off the nearest image"
        if len(named) == 1:
            got = f"one {off:.1f} mm off the image that it names"
        raise DataError(where, expected, got, "restore the images, or export it again")
    return place


def _in_nearest_plane(contours: list[_Contour], planes: Planes, place: int) -> list[_Contour]:
    """Of contours around an image those in one plane: contours may lie closer than images."""
    depths = [float(planes.depth_of(contour.points).mean()) for contour in contours]
    offs = np.abs(np.array(depths) - planes.depths[place])
    nearest = depths[int(offs.argmin())]
    near = [
        abs(depth - nearest) <= max(_SAME_PLANE_MM, planes.distance_mm / 20) for depth in depths
    ]
    return [contour for contour, is_near in zip(contours, near, strict=True) if is_near]
