"""Scans as volumes: slices stacked in order, at native size, with their spacing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from gitract_core.data import rle
from gitract_core.data.native import native_scan
from gitract_core.data.slices import SLICE_THICKNESS_MM
from gitract_core.errors import DataError, RleError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd

    from gitract_core.data.slices import SliceIndex
    from gitract_core.organs import Organs


@dataclass(frozen=True)
class ScanVolume:
    """One scan.

    Attributes:
        scan: its name, ``case123_day20``.
        ids: the slices' ids in order.
        images: (slices, height, width), uint8 or uint16 in the contest's layout, else of any real
            dtype; (slices, channels, height, width) where there are several channels.
        masks: boolean (organs, slices, height, width), or None without annotations.
        spacing_mm: distance of neighbors along slices, rows (y) and columns (x).
        organs: of the data set, in the order of the masks.
    """

    scan: str
    ids: tuple[str, ...]
    images: np.ndarray
    masks: np.ndarray | None
    spacing_mm: tuple[float, float, float]
    organs: Organs

    def __post_init__(self) -> None:
        if self.images.ndim not in (3, 4) or len(self.images) != len(self.ids):
            expected = f"images of shape ({len(self.ids)}, height, width)"
            raise DataError(self.scan, expected, self.images.shape, "stack one image a slice")
        shape = (len(self.organs), len(self.ids), *self.images.shape[-2:])
        if self.masks is not None and self.masks.shape != shape:
            expected = f"masks of shape {shape}"
            raise DataError(self.scan, expected, self.masks.shape, "decode one mask an organ")


def load_scan(index: SliceIndex, scan: str) -> ScanVolume:
    """Read one scan's images and, if the index is annotated, masks.

    Raises:
        DataError: no such scan, slices of several sizes, an unreadable image.
        RleError: a mask's text is not a mask of the image's size.
    """
    rows = index.rows_of_scan(scan)
    scan_size(rows)
    images = native_scan(index.root, rows)
    masks = scan_masks(rows, organs=index.organs) if index.annotated else None
    spacing = scan_spacing_mm(rows)
    return ScanVolume(scan, tuple(rows["id"]), images, masks, spacing, index.organs)


def scan_spacing_mm(rows: pd.DataFrame) -> tuple[float, float, float]:
    """Distance of neighbors along slices, rows (y) and columns (x) of a scan.

    Args:
        rows: of the index; without a column ``spacing_z_mm``, as the contest's, slices are
            ``SLICE_THICKNESS_MM`` apart.
    """
    first = rows.iloc[0]
    z_mm = first.get("spacing_z_mm", SLICE_THICKNESS_MM)
    return float(z_mm), float(first["spacing_y_mm"]), float(first["spacing_x_mm"])


def scan_size(rows: pd.DataFrame) -> tuple[int, int]:
    """The one (height, width) of a scan's rows of the index.

    Raises:
        DataError: its slices have several sizes.
    """
    sizes = rows[["height", "width"]].drop_duplicates()
    if len(sizes) != 1:
        got = f"sizes {sizes.to_numpy().tolist()}"
        raise DataError(rows["scan"].iloc[0], "slices of one size", got, "exclude the scan")
    return int(sizes["height"].iloc[0]), int(sizes["width"].iloc[0])


def scan_masks(rows: pd.DataFrame, *, organs: Organs) -> np.ndarray:
    """Decode a scan's masks, boolean (organs, slices, height, width).

    Raises:
        RleError: a text is not a mask of the image's size; names the slice and class.
    """
    masks = np.zeros((len(organs), len(rows), *scan_size(rows)), dtype=bool)
    for channel, place, mask in drawn_masks(rows, organs=organs):
        masks[channel, place] = mask
    return masks


def drawn_masks(rows: pd.DataFrame, *, organs: Organs) -> Iterator[tuple[int, int, np.ndarray]]:
    """A scan's masks that are not empty, one by one.

    Yields:
        Number of the organ, place of the slice in the scan, boolean (height, width).

    Raises:
        RleError: a text is not a mask of the image's size; names the slice and class.
    """
    height, width = scan_size(rows)
    for channel, organ in enumerate(organs):
        for place, (text, name) in enumerate(zip(rows[organ], rows["id"], strict=True)):
            if text:
                try:
                    yield channel, place, rle.decode(text, height, width)
                except RleError as error:
                    raise error.within(f"train.csv, id {name}, {organ}") from None
