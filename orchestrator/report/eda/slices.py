"""Slices of the exploratory analysis as pictures: typical masks, and masks that overlap most."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from gitract_core.data import native, rle
from gitract_core.eda.counting import group_name, spoken_name
from gitract_core.errors import DataError
from gitract_core.organs import Organs
from orchestrator.report.eda.charts import combination_figure, overlap_figure, position_figure
from orchestrator.report.organ_names import organ_name
from orchestrator.report.overlay import overlay
from orchestrator.report.style import new_figure, organ_legend, picture_axes, save_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from gitract_core.data.slices import SliceIndex
    from gitract_core.eda.exploration import Exploration, ShownSlice

_LEAST_ZOOM_PX = 64  # side of a zoomed part, in pixels of the slice
_MOST_AREAS = 4
_ZOOMED_PX = 480  # its side in the picture, about


@dataclass(frozen=True)
class SlicePicture:
    """A slice to be shown.

    Attributes:
        title: names of the organs.
        caption: which slice, and its areas.
        gray: the slice alone, RGB uint8 (height, width, 3).
        drawn: with its masks drawn over it, of the same shape.
        organs: those that are drawn.
    """

    title: str
    caption: str
    gray: np.ndarray
    drawn: np.ndarray
    organs: tuple[str, ...]


def typical_pictures(index: SliceIndex, exploration: Exploration) -> list[SlicePicture]:
    """Figure 4's slices, whole."""
    pictures = []
    for shown in exploration.figure_4:
        image, masks = _read(index, shown.id)
        caption = f"{shown.id}: {_areas_in_words(shown)}"
        title = spoken_name(group_name(shown.organs), exploration.organs)
        drawn = _Masks(masks, index.organs)
        pictures.append(_picture(title, caption, image, drawn, scale=2))
    return pictures


def _areas_in_words(shown: ShownSlice) -> str:
    """The area of each organ that a slice is an example of; of many the largest ones."""
    order = shown.organs
    if len(order) > _MOST_AREAS:
        order = tuple(sorted(order, key=lambda organ: -shown.areas_px[organ]))[:_MOST_AREAS]
    areas = [f"{organ_name(organ)} {shown.areas_px[organ]:,} px" for organ in order]
    more = len(shown.organs) - len(order)
    return ", ".join([*areas, *[f"{more} smaller ones"] * (more > 0)])


def overlapping_pictures(index: SliceIndex, exploration: Exploration) -> list[SlicePicture]:
    """Figure 5's slices, the part around the overlap."""
    pictures = []
    for shown in exploration.figure_5:
        image, masks = _read(index, shown.id)
        rows, columns = _around(masks[[index.organs.place(o) for o in shown.organs]])
        part = image[rows, columns], _Masks(masks[:, rows, columns], index.organs)
        caption = f"{shown.id}: {shown.overlap_px:,} px in common"
        title = spoken_name(group_name(shown.organs), exploration.organs)
        scale = max(1, round(_ZOOMED_PX / max(part[0].shape)))
        pictures.append(_picture(title, caption, *part, scale=scale))
    return pictures


def slices_figure(pictures: list[SlicePicture], columns: int, empty: str, organs: Organs) -> Figure:
    """Pairs of a slice and its masks, ``columns`` pairs a line; a line of text if there are none.

    Args:
        pictures: of slices.
        columns: how many pairs stand beside each other.
        empty: text that stands there when there is no picture.
        organs: of the data set.
    """
    if not pictures:
        figure, (axes,) = new_figure(height=1.2)
        picture_axes(axes).text(0.5, 0.5, empty, ha="center", va="center")
        return figure
    columns = min(columns, len(pictures))
    lines = -(-len(pictures) // columns)
    figure, panels = new_figure(2 * lines, columns, width=3.1, height=3.1)
    for axes in panels:
        picture_axes(axes)
    for place, picture in enumerate(pictures):
        first = place // columns * 2 * columns + place % columns
        name, _, areas = picture.caption.partition(": ")
        picture_axes(panels[first], f"{picture.title}\n{name}").imshow(picture.gray)
        below = picture_axes(panels[first + columns], areas.replace(" px, ", " px\n"))
        below.imshow(picture.drawn)
    organ_legend(figure, organs, shown={o for picture in pictures for o in picture.organs})
    return figure


def write_figures(directory: Path, index: SliceIndex, exploration: Exploration) -> list[Path]:
    """Write figures 3, 4, 5, 6 and 12 as PNG; the files' paths."""
    typical = typical_pictures(index, exploration)
    overlapping = overlapping_pictures(index, exploration)
    figures = {
        3: combination_figure(exploration),
        4: slices_figure(typical, 3, "no annotated slice", index.organs),
        5: slices_figure(overlapping, 4, "no organs overlap", index.organs),
        6: position_figure(exploration),
        12: overlap_figure(exploration),
    }
    return [save_figure(figure, directory / f"figure_{n}.png") for n, figure in figures.items()]


@dataclass(frozen=True)
class _Masks:
    """Masks, boolean (organs, height, width), and the organs that they belong to."""

    masks: np.ndarray
    organs: Organs


def _picture(
    title: str, caption: str, image: np.ndarray, drawn: _Masks, scale: int
) -> SlicePicture:
    masks, organs = drawn.masks, drawn.organs
    there = tuple(o for o, mask in zip(organs, masks, strict=True) if mask.any())
    gray = overlay(image, np.zeros_like(masks), organs, scale=scale)
    over = overlay(image, masks, organs, fill=0.4, scale=scale)
    return SlicePicture(title, caption, gray, over, there)


def _read(index: SliceIndex, name: str) -> tuple[np.ndarray, np.ndarray]:
    """A slice, uint8 (height, width), and its masks, boolean (organs, height, width)."""
    rows = index.table[index.table["id"] == name]
    if not len(rows):
        raise DataError("slice", "a slice of the data set", name, "pass the data set explored")
    row = rows.iloc[0]
    height, width = int(row["height"]), int(row["width"])
    masks = np.stack([rle.decode(row[organ], height, width) for organ in index.organs])
    return native.picture(index.root, rows, index.gray)[0], masks


def _around(masks: np.ndarray) -> tuple[slice, slice]:
    """A square part of the slice around the masks' overlap, twice as wide as the overlap."""
    common = np.logical_and.reduce(masks)
    bounds = [(int(p.min()), int(p.max()) + 1) for p in np.nonzero(common)]
    side = max(_LEAST_ZOOM_PX, *(2 * (stop - start) for start, stop in bounds))
    parts = []
    for (start, stop), length in zip(bounds, common.shape, strict=True):
        first = min(max(0, (start + stop - side) // 2), max(0, length - side))
        parts.append(slice(first, min(length, first + side)))
    return parts[0], parts[1]
