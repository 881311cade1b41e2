"""From probabilities at network size to masks at native size, organ by organ.

In this order: smoothing along slices, enlargement and threshold, filling of gaps between slices,
removal of small parts. Parts are 26-connected in three dimensions. Nothing but smoothing and gap
filling looks beyond a slice, and the defaults of ``PostprocessKnobs`` leave all of them out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import cv2
import numpy as np
import pandas as pd
from scipy import ndimage

from gitract_core.data.volumes import scan_size, scan_spacing_mm
from gitract_core.data.windows import resized_to
from gitract_core.errors import DataError
from gitract_core.knobs import PostprocessKnobs
from gitract_core.view import View, Window

Rules = Sequence[PostprocessKnobs]
"""One setting an organ, in the data set's order of organs."""


@dataclass(frozen=True, slots=True)
class NativeGrid:
    """The pixels of a scan's masks.

    Attributes:
        height, width: pixels.
        voxel_mm3: area of a pixel times the distance of slices.
        pixel_mm: height and width of a pixel; None where only whole slices are seen.
        window: the pixels that probabilities are of; None: all of them.
    """

    height: int
    width: int
    voxel_mm3: float
    pixel_mm: tuple[float, float] | None = None
    window: Window | None = None

    @classmethod
    def of_scan(cls, rows: pd.DataFrame, view: View | None = None) -> NativeGrid:
        """From a scan's rows of the slice index.

        Args:
            rows: of one scan.
            view: what probabilities are of; by default whole slices.
        """
        height, width = scan_size(rows)
        z_mm, y_mm, x_mm = scan_spacing_mm(rows)
        grid = cls(height, width, y_mm * x_mm * z_mm, (y_mm, x_mm))
        return grid.seen_by(view) if view else grid

    def seen_by(self, view: View) -> NativeGrid:
        """The same pixels for probabilities of a view.

        Raises:
            DataError: sizes of pixels are needed and not known.
        """
        if view.spacing_mm and self.pixel_mm is None:
            remedy = "use input.spacing_mm 0"
            raise DataError("a scan's pixels", "their sizes in mm", "none", remedy)
        window = view.window(self.height, self.width, self.pixel_mm or (1.0, 1.0))
        return replace(self, window=window)

    @property
    def seen(self) -> Window:
        """The pixels that probabilities are of."""
        return self.window or Window(0, 0, self.height, self.width)


def native_masks(
    probabilities: np.ndarray, grid: NativeGrid, rules: Rules | PostprocessKnobs
) -> np.ndarray:
    """Masks of a scan.

    Args:
        probabilities: uint8, or float in units of 1/255, (organs, slices, size, size).
        grid: the scan's own pixels; outside of its window there is no organ.
        rules: one for all organs, or one each.

    Returns:
        boolean (organs, slices, height, width).

    Raises:
        DataError: not one rule an organ.
    """
    each = [rules] * len(probabilities) if isinstance(rules, PostprocessKnobs) else list(rules)
    if len(each) != len(probabilities):
        expected = f"{len(probabilities)} rules, one an organ"
        raise DataError("post-processing", expected, len(each), "make the ensemble anew")
    shape = (len(each), probabilities.shape[1], grid.height, grid.width)
    masks = np.empty(shape, dtype=bool)
    for organ, rule in enumerate(each):
        masks[organ] = organ_mask(probabilities[organ], grid, rule)
    return masks


def organ_mask(probabilities: np.ndarray, grid: NativeGrid, rule: PostprocessKnobs) -> np.ndarray:
    """One organ's mask, boolean (slices, height, width), by its rule; see ``native_masks``."""
    if rule.z_sigma > 0:
        probabilities = smoothed(probabilities, rule.z_sigma)
    mask = enlarged(probabilities, grid, rule.threshold)
    if rule.fill_gaps:
        fill_gaps(mask, rule.fill_gaps)
    if rule.smallest_mm3 > 0 or rule.parts == "largest":
        drop_parts(mask, rule.smallest_mm3 / grid.voxel_mm3, largest=rule.parts == "largest")
    return mask


def smoothed(probabilities: np.ndarray, z_sigma: float) -> np.ndarray:
    """Gaussian along slices; the outermost slices are repeated beyond the scan. Float32."""
    values = np.asarray(probabilities, dtype=np.float32)
    smooth: np.ndarray = ndimage.gaussian_filter1d(values, z_sigma, axis=0, mode="nearest")
    return smooth


def enlarged(probabilities: np.ndarray, grid: NativeGrid, threshold: float) -> np.ndarray:
    """Pixels whose bilinearly enlarged probability reaches the threshold.

    Where a window's pixels are coarser than the probabilities', those are averaged instead.

    Returns:
        boolean (slices, height, width).
    """
    mask = np.zeros((len(probabilities), grid.height, grid.width), dtype=bool)
    level = np.float32(threshold * 255)
    for place in np.flatnonzero(probabilities.max(axis=(1, 2)) >= level):
        plane = probabilities[place].astype(np.float32)
        if grid.window is None:
            large = cv2.resize(plane, (grid.width, grid.height), interpolation=cv2.INTER_LINEAR)
            np.greater_equal(large, level, out=mask[place])
        else:
            _paste(
                resized_to(plane, (grid.window.height, grid.window.width)) >= level,
                grid,
                mask[place],
            )
    return mask


def _paste(part: np.ndarray, grid: NativeGrid, mask: np.ndarray) -> None:
    """Put what a window shows, as far as it lies on the slice, into a slice's mask."""
    window, inside = grid.seen, grid.seen.within(grid.height, grid.width)
    top, left = inside.top - window.top, inside.left - window.left
    there = mask[inside.top : inside.bottom, inside.left : inside.right]
    there[...] = part[top : top + inside.height, left : left + inside.width]


def fill_gaps(mask: np.ndarray, longest: int) -> None:
    """Fill runs of at most ``longest`` empty slices between two that hold the organ, in place.

    The filling is the shape between its neighbors: the zero level of their signed distances,
    weighted by nearness (Raya and Udupa 1990, doi 10.1109/42.52980). Shapes that do not overlap
    may leave a slice empty.

    Args:
        mask: boolean (slices, height, width).
        longest: slices.
    """
    held = np.flatnonzero(mask.any(axis=(1, 2)))
    for before, after in pairwise(held.tolist()):
        gap = after - before - 1
        if 0 < gap <= longest:
            start, end = (_signed_distance_px(mask[place]) for place in (before, after))
            for step in range(1, gap + 1):
                share = step / (gap + 1)
                mask[before + step] = (1 - share) * start + share * end > 0


def _signed_distance_px(mask: np.ndarray) -> np.ndarray:
    """Distance to the border, positive inside; half a pixel at pixels beside it."""
    inside, outside = (
        cv2.distanceTransform(side.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        for side in (mask, ~mask)
    )
    distance: np.ndarray = np.where(mask, inside - 0.5, 0.5 - outside)
    return distance


def drop_parts(mask: np.ndarray, smallest_voxels: float, *, largest: bool = False) -> None:
    """Remove connected parts of fewer voxels, or all but the largest one, in place.

    Args:
        mask: boolean (slices, height, width).
        smallest_voxels: parts of at least this many stay.
        largest: keep the largest part alone (and that only if it is not too small).
    """
    held = [np.flatnonzero(mask.any(axis=axes)) for axes in ((1, 2), (0, 2), (0, 1))]
    if not len(held[0]):
        return
    mask = mask[tuple(slice(places[0], places[-1] + 1) for places in held)]  # a view: its box
    labels, _ = ndimage.label(mask, np.ones((3, 3, 3)))
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    stays = sizes >= max(smallest_voxels, 1)
    if largest:
        stays &= np.arange(len(sizes)) == sizes.argmax()
    np.copyto(mask, stays[labels])
