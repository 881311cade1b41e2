"""At which slice numbers organs lie: the paper's figure 6, and gaps within a scan."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from gitract_core.eda.annotations import Annotations


@dataclass(frozen=True)
class Spread:
    """Minimum, median and maximum of counts."""

    min: int
    median: float
    max: int


@dataclass(frozen=True)
class PositionProfile:
    """Where in a scan slices of one kind lie; without any, all but the first three are None.

    Attributes:
        scans: scans with such a slice.
        slices: such slices in all.
        histogram: for each slice number from 1 up to the data set's largest, the scans whose
            slice of that number holds the organ.
        peak_slice: the first slice number of the greatest count.
        peak_scans: that count.
        first_median: over scans, the number of the first such slice.
        last_median: over scans, the number of the last such slice.
        slices_per_scan: over scans that have such a slice.
    """

    scans: int
    slices: int
    histogram: tuple[int, ...]
    peak_slice: int | None = None
    peak_scans: int | None = None
    first_median: float | None = None
    last_median: float | None = None
    slices_per_scan: Spread | None = None


@dataclass(frozen=True)
class Gap:
    """An organ that is missing between two slices of a scan that hold it.

    Attributes:
        scan: name of the scan.
        organ: name of the organ.
        slices: numbers of the slices in between that lack it.
    """

    scan: str
    organ: str
    slices: tuple[int, ...]


def position_profile(
    present: np.ndarray, numbers: np.ndarray, scans: np.ndarray
) -> PositionProfile:
    """Numbers and positions of slices of one kind.

    Args:
        present: whether a slice is of the kind, boolean (slices,).
        numbers: slice numbers, from 1, int (slices,).
        scans: the scan of each slice, as any number, int (slices,).
    """
    histogram = np.bincount(numbers[present], minlength=int(numbers.max()) + 1)[1:]
    if not present.any():
        return PositionProfile(0, 0, tuple(histogram.tolist()))
    held = pd.Series(numbers[present]).groupby(scans[present])
    counts = held.size()
    return PositionProfile(
        scans=len(counts),
        slices=int(present.sum()),
        histogram=tuple(histogram.tolist()),
        peak_slice=int(histogram.argmax()) + 1,
        peak_scans=int(histogram.max()),
        first_median=float(held.min().median()),
        last_median=float(held.max().median()),
        slices_per_scan=Spread(int(counts.min()), float(counts.median()), int(counts.max())),
    )


def gaps(annotations: Annotations, organ: str, present: np.ndarray) -> list[Gap]:
    """Gaps of one organ, in the order of scans; slices without an image are no gap.

    Args:
        annotations: of the data set.
        organ: name for the result.
        present: whether a slice holds the organ, boolean (slices,).
    """
    scans = annotations.scan_codes
    rows = np.arange(len(scans))
    first = np.full(scans.max() + 1, len(scans))
    last = np.full(scans.max() + 1, -1)
    np.minimum.at(first, scans[present], rows[present])
    np.maximum.at(last, scans[present], rows[present])
    missing = ~present & (first[scans] < rows) & (rows < last[scans])
    numbers = annotations.table["slice"].to_numpy()
    names = annotations.scans
    return [
        Gap(names[scan], organ, tuple(numbers[missing & (scans == scan)].tolist()))
        for scan in np.unique(scans[missing]).tolist()
    ]
