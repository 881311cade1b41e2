"""Structure sets of either kind: what they say, and what their regions cover."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from gitract_core.clinic.structures.planes import Planes
from gitract_core.clinic.structures.rtstruct_reading import draw_rtstruct, read_rtstruct
from gitract_core.clinic.structures.seg_reading import draw_seg, read_seg
from gitract_core.clinic.structures.structure_set import Covered, Form, Region, StructureSet


def read_structure_set(file: Path, form: Form) -> StructureSet:
    """Names of regions and what they refer to; not what they cover.

    Raises:
        DataError: damaged, or without a region.
    """
    return read_rtstruct(file) if form == "RTSTRUCT" else read_seg(file)


def draw(found: StructureSet, regions: Iterable[Region], planes: Planes) -> dict[int, Covered]:
    """What some regions cover, by number.

    Raises:
        DataError: damaged, or regions that are not in the images.
    """
    drawing = draw_rtstruct if found.form == "RTSTRUCT" else draw_seg
    return drawing(found, regions, planes)
