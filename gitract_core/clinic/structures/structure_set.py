"""What a structure set says of its regions, and what a region covers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np

Form: TypeAlias = Literal["RTSTRUCT", "SEG"]


@dataclass(frozen=True, slots=True)
class Region:
    """A region in a structure set.

    Attributes:
        number: by which the file calls it.
        name: as a person or a system named it.
        kind: RTROIInterpretedType (ORGAN, PTV, EXTERNAL, ...), empty where it is not said.
        frame_of_reference: in which it was drawn, empty where it is not said.
    """

    number: int
    name: str
    kind: str = ""
    frame_of_reference: str = ""


@dataclass(frozen=True)
class StructureSet:
    """A file of regions; what they cover is read by ``reading.draw``.

    Attributes:
        file: the RTSTRUCT or the segmentation.
        form: which of them.
        series: SeriesInstanceUIDs that it refers to.
        regions: in the file's order.
        fractional: whether voxels have shares, not yes or no.
    """

    file: Path
    form: Form
    series: tuple[str, ...]
    regions: tuple[Region, ...]
    fractional: bool = False

    @property
    def frames_of_reference(self) -> tuple[str, ...]:
        """Those of its regions, each once."""
        return tuple(dict.fromkeys(r.frame_of_reference for r in self.regions))


@dataclass(frozen=True)
class Covered:
    """What a region covers.

    Attributes:
        mask: boolean (images, rows, columns), in the order of the series.
        looked: whether that says something: there are outlines of areas, or none at all. Points
            and open lines alone say nothing of voxels.
        notes: what was left aside, a few words each.
    """

    mask: np.ndarray
    looked: bool = True
    notes: tuple[str, ...] = ()
