"""The organs of every slice of every scan, fixed before anything is drawn.

Counts of a plan can therefore be exact: they are balanced first, and anatomy is drawn to fit.
Slice numbers here count from 0 and ranges are half open, as in Python.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gitract_core.errors import DataError
from gitract_core.organs import CONTEST


@dataclass(frozen=True, slots=True)
class ScanPlan:
    """One scan to be drawn.

    Attributes:
        case, day: numbers of patient and day.
        height, width: pixels.
        spacing_mm: side of a pixel.
        slice_spacing_mm: distance of neighboring slices.
        n_slices: slices.
        ranges: for each organ (channel order) its first slice and the one after its last.
        slips: annotation slips to be drawn: ``"three_way"`` or ``"large_small"``.
    """

    case: int
    day: int
    height: int
    width: int
    spacing_mm: float
    slice_spacing_mm: float
    n_slices: int
    ranges: tuple[tuple[int, int], ...]
    slips: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for organ, (start, stop) in zip(CONTEST, self.ranges, strict=True):
            if not 0 <= start < stop <= self.n_slices:
                where = f"{self.name} {organ}"
                got = f"{start} to {stop}"
                raise DataError(where, f"slices within 0 to {self.n_slices}", got, "plan it anew")

    @property
    def name(self) -> str:
        """The scan's folder, for example ``case123_day20``."""
        return f"case{self.case}_day{self.day}"

    def image_name(self, position: int) -> str:
        """File name of the slice at a position that counts from 0: width, height, spacing."""
        size = f"{self.width}_{self.height}_{self.spacing_mm:.2f}_{self.spacing_mm:.2f}"
        return f"slice_{position + 1:04d}_{size}.png"

    def present(self) -> np.ndarray:
        """Boolean (3, slices): the organs of each slice."""
        positions = np.arange(self.n_slices)
        return np.stack([(positions >= a) & (positions < b) for a, b in self.ranges])

    def combinations(self) -> np.ndarray:
        """Integer (slices,): the organs of each slice as a sum of bits 1, 2, 4."""
        bits: np.ndarray = (1 << np.arange(len(CONTEST))) @ self.present()
        return bits


@dataclass(frozen=True, slots=True)
class PhantomPlan:
    """Every scan of the training folder and of the test folder."""

    train: tuple[ScanPlan, ...]
    test: tuple[ScanPlan, ...]

    def __post_init__(self) -> None:
        names = [scan.name for scan in (*self.train, *self.test)]
        if len(names) != len(set(names)):
            raise DataError("phantom plan", "every scan once", "a scan twice", "plan it anew")


def combination_counts(scans: tuple[ScanPlan, ...]) -> np.ndarray:
    """Slices by combination of organs, integer (8,): the index is a sum of bits 1, 2, 4."""
    counts: np.ndarray = sum(
        (np.bincount(scan.combinations(), minlength=8) for scan in scans),
        start=np.zeros(8, dtype=np.int64),
    )
    return counts


def position_profile(scans: tuple[ScanPlan, ...], n_slices: int = 144) -> np.ndarray:
    """Scans that hold each organ at each slice position, integer (3, n_slices)."""
    profile = np.zeros((len(CONTEST), n_slices), dtype=np.int64)
    for scan in scans:
        profile[:, : scan.n_slices] += scan.present()
    return profile
