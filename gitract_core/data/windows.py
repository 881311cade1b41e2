"""Slices through a window of their pixels: cut out, padded beyond the slice, and resized."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from gitract_core.data.volumes import drawn_masks, scan_size, scan_spacing_mm
from gitract_core.view import View, Window

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pandas as pd

    from gitract_core.data.slices import SliceIndex


def window_of_scan(rows: pd.DataFrame, view: View) -> Window | None:
    """The pixels of a scan's slices that a view shows; None: all of them.

    Args:
        rows: of the slice index, all of one scan.
        view: what the network sees.
    """
    _, *pixel_mm = scan_spacing_mm(rows)
    return view.window(*scan_size(rows), (pixel_mm[0], pixel_mm[1]))


def seen_through(
    image: np.ndarray, window: Window, shape: tuple[int, int], *, dark: int = 0
) -> np.ndarray:
    """A window of a slice, resized; of the same dtype.

    Args:
        image: (height, width), uint8.
        window: of its pixels.
        shape: height and width of what is returned.
        dark: what pixels beyond the slice are.
    """
    inside = window.within(*image.shape)
    part = image[inside.top : inside.bottom, inside.left : inside.right]
    if (inside.height, inside.width) != (window.height, window.width):
        whole = np.full((window.height, window.width), dark, image.dtype)
        top, left = inside.top - window.top, inside.left - window.left
        whole[top : top + inside.height, left : left + inside.width] = part
        part = whole
    return resized_to(part, shape)


def mask_through(mask: np.ndarray, window: Window, shape: tuple[int, int]) -> np.ndarray:
    """As ``seen_through`` for a boolean mask: pixels at least half covered."""
    return seen_through(mask.view(np.uint8) * 255, window, shape) > 127


def resized_to(image: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Area-averaged along the sides that shrink, interpolated along those that grow.

    Args:
        image: (height, width), uint8 or float32.
        shape: height and width of what is returned.
    """
    height, width = (min(pair) for pair in zip(image.shape, shape, strict=True))
    if image.shape != (height, width):
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    if (height, width) != shape:
        image = cv2.resize(image, shape[::-1], interpolation=cv2.INTER_LINEAR)
    return image


def annotated_outside(index: SliceIndex, views: Iterable[View]) -> dict[View, float]:
    """The share of annotated pixels that each view does not show, 0 to 1.

    Args:
        index: annotated slices.
        views: those without a spacing show everything.

    Raises:
        RleError: an annotation cannot be read.
    """
    spaced = [view for view in dict.fromkeys(views) if view.spacing_mm]
    drawn, shown = 0, dict.fromkeys(spaced, 0)
    for scan in index.scans if spaced else ():
        rows = index.rows_of_scan(scan)
        insides = {v: _inside(window_of_scan(rows, v), scan_size(rows)) for v in spaced}
        for _, _, mask in drawn_masks(rows, organs=index.organs):
            drawn += int(np.count_nonzero(mask))
            for view, inside in insides.items():
                shown[view] += int(np.count_nonzero(mask[inside]))
    return {view: 1 - count / drawn if drawn else 0.0 for view, count in shown.items()}


def _inside(window: Window | None, shape: tuple[int, int]) -> tuple[slice, slice]:
    part = (window or Window(0, 0, *shape)).within(*shape)
    return slice(part.top, part.bottom), slice(part.left, part.right)
