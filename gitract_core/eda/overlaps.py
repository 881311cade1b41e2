"""How large organs are and how far they overlap: areas in pixels, and the paper's figure 12."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_QUANTILES = {"p5": 0.05, "p25": 0.25, "p50": 0.5, "p75": 0.75, "p95": 0.95}
_MOST_BINS = 50


@dataclass(frozen=True)
class AreaProfile:
    """Areas in pixels at native size, over slices where the area is not zero.

    Attributes:
        slices: how many such slices there are.
        sum_px: of all areas.
        quantiles_px: p5, p25, p50, p75, p95; None without any such slice.
        max_px: the largest area, 0 without any.
        max_id: the first slice that has it; None without any.
        bin_width_px: width of the histogram's bins.
        histogram: slices whose area is in bin_width_px * k, ..., bin_width_px * (k + 1) - 1.
    """

    slices: int
    sum_px: int
    quantiles_px: dict[str, float] | None
    max_px: int
    max_id: str | None
    bin_width_px: int
    histogram: tuple[int, ...]


@dataclass(frozen=True)
class OverlapProfile(AreaProfile):
    """Areas of the overlap of a group of organs.

    Attributes:
        slices_together: slices that hold all organs of the group, overlapping or not.
    """

    slices_together: int


def area_profile(areas: np.ndarray, ids: np.ndarray) -> AreaProfile:
    """Quantiles, maximum and histogram of an area over slices.

    Args:
        areas: pixels, int (slices,).
        ids: of the slices.
    """
    return AreaProfile(*_figures(areas, ids))


def overlap_profile(areas: np.ndarray, ids: np.ndarray, together: int) -> OverlapProfile:
    """``area_profile`` of an overlap; ``together`` slices hold all of its organs."""
    return OverlapProfile(*_figures(areas, ids), slices_together=together)


def bin_width(largest: int) -> int:
    """The smallest of 1, 2, 5, 10, 20, 50, ... with which ``largest`` needs at most 50 bins.

    >>> bin_width(49), bin_width(50), bin_width(659)
    (1, 2, 20)
    """
    power = 1
    while largest // (5 * power) >= _MOST_BINS:
        power *= 10
    return next(f * power for f in (1, 2, 5) if largest // (f * power) < _MOST_BINS)


def _figures(
    areas: np.ndarray, ids: np.ndarray
) -> tuple[int, int, dict[str, float] | None, int, str | None, int, tuple[int, ...]]:
    filled = areas[areas > 0]
    if not len(filled):
        return 0, 0, None, 0, None, 1, ()
    levels = np.quantile(filled, list(_QUANTILES.values())).tolist()
    largest, width = int(filled.max()), bin_width(int(filled.max()))
    histogram = np.bincount(filled // width).tolist()
    quantiles = dict(zip(_QUANTILES, levels, strict=True))
    name = str(ids[int(areas.argmax())])
    return len(filled), int(filled.sum()), quantiles, largest, name, width, tuple(histogram)
