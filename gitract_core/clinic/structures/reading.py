"""Structure sets of either kind: what they say, and what their regions cover."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from gitract_core.clinic.dicom_files import no_warnings
from gitract_core.clinic.structures.planes import Planes
from gitract_core.clinic.structures.rtstruct_reading import draw_rtstruct, read_rtstruct
from gitract_core.clinic.structures.seg_reading import draw_seg, read_seg
from gitract_core.clinic.structures.structure_set import Covered, Form, Region, StructureSet


def read_structure_set(file: Path, form: Form) -> StructureSet:
    """Names of regions and what they refer to; not what they cover.

    Raises:
        DataError: damaged, or without a region.
    """
    with no_warnings():
        return read_rtstruct(file) if form == "RTSTRUCT" else read_seg(file)


def draw(found: StructureSet, regions: Iterable[Region], planes: Planes) -> Iterator[Covered]:
    """What some regions cover, one by one in their order.

    Args:
        found: the file.
        regions: which of its regions.
        planes: the images of its series.

    Raises:
        DataError: damaged, or regions that are not in the images.
    """
    drawing = draw_rtstruct if found.form == "RTSTRUCT" else draw_seg
    with no_warnings():
        yield from drawing(found, regions, planes)
