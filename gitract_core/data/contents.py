"""What a reader of a layout gives, whatever the layout."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypedDict

from gitract_core.data.gray import CURRENT_GRAY
from gitract_core.organs import CONTEST, Organs

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

ONE_CHANNEL = ("image",)
"""The channels of a data set whose images have one."""


MORE_COLUMNS = ("spacing_z_mm", "axis")
"""What tables may hold beside ``IMAGE_COLUMNS``: distance of slices, and the axis they lie along.

Without them slices are 3 mm apart, as the contest's, and axial.
"""


class ExtentShape(TypedDict):
    """An ``Extent`` in JSON."""

    spacing_mm: tuple[float, float, float]
    field_mm: tuple[float, float]


@dataclass(frozen=True)
class Extent:
    """How finely and how far images show the body: medians over the scans of a data set.

    Attributes:
        spacing_mm: distance of neighbors along slices, rows (y) and columns (x).
        field_mm: height and width of a slice.
    """

    spacing_mm: tuple[float, float, float] = (3.0, 1.5, 1.5)
    field_mm: tuple[float, float] = (400.0, 400.0)  # 266 pixels, as in two thirds of the slices

    @classmethod
    def of(cls, values: ExtentShape | None) -> Extent:
        """From JSON; files that do not say it are of the contest."""
        return cls() if values is None else cls(values["spacing_mm"], values["field_mm"])


@dataclass(frozen=True)
class Contents:
    """A data set as ``SliceIndex`` takes it.

    Attributes:
        table: one row a slice in the order of scan and number: ``IMAGE_COLUMNS``, maybe
            ``spacing_z_mm`` and ``axis``, and one column an organ where there are masks. ``path``
            is relative to the data set's folder; of several channels one path a line.
        organs: in channel order.
        known: boolean (slices, organs), where the annotation is known; None where it is throughout.
        scan_columns: more that is known of scans, index scan, or None.
        gray: name of the gray scaling, see ``gray``.
        channels: names of the images' channels.
        layout: its name in words.
        assumed: what the reader took for granted, a sentence each.
    """

    table: pd.DataFrame
    organs: Organs = CONTEST
    known: np.ndarray | None = None
    scan_columns: pd.DataFrame | None = None
    gray: str = CURRENT_GRAY
    channels: tuple[str, ...] = ONE_CHANNEL
    layout: str = "contest"
    assumed: tuple[str, ...] = ()
