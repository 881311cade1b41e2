"""Faults of scans that nothing need be decoded for: gaps, spacings and depths that contradict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from gitract_core.data.png_header import png_bits
from gitract_core.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

_MOST_NUMBERS = 8  # that a line names


@dataclass(frozen=True, slots=True)
class Gap:
    """Slices that a scan lacks between its first and its last.

    Attributes:
        scan: its name.
        missing: their numbers.
        slices: how many there are.
    """

    scan: str
    missing: tuple[int, ...]
    slices: int

    @property
    def is_sparse(self) -> bool:
        """Whether more are missing than are there: slices were chosen, none was lost."""
        return len(self.missing) > self.slices

    def __str__(self) -> str:
        named = ", ".join(map(str, self.missing[:_MOST_NUMBERS]))
        more = len(self.missing) - _MOST_NUMBERS
        named += f" and {more} more" if more > 0 else ""
        return f"slice {named}" if len(self.missing) == 1 else f"slices {named}"


def gap_of(scan: str, numbers: np.ndarray) -> Gap | None:
    """The slices that a scan lacks; None if it has no gap.

    Args:
        scan: its name.
        numbers: of its slices.

    >>> print(gap_of("case1_day0", np.array([1, 2, 4])))
    slice 3
    """
    there = np.unique(numbers)
    if not len(there) or there[-1] - there[0] + 1 == len(there):
        return None
    missing = np.setdiff1d(np.arange(there[0], there[-1]), there)
    return Gap(scan, tuple(missing.tolist()), len(there))


def gap_fault(gap: Gap) -> DataError:
    """A gap as a fault."""
    expected, got = "slices without a gap", f"no {gap}"
    return DataError(gap.scan, expected, got, "restore the images, or exclude the scan")


def scan_doubts(root: Path, rows: pd.DataFrame) -> list[str]:
    """What makes masks of a scan doubtful as far as its table and headers tell, a line each.

    Args:
        root: folder that paths are relative to.
        rows: of the slice index, all of one scan.
    """
    gap = gap_of(str(rows["scan"].iloc[0]), rows["slice"].to_numpy())
    lines = [f"no {gap}; its neighbors are segmented without"] if gap else []
    wrong = spacing_faults(root, rows)
    files = [root / path for path in rows["path"]]
    if all(file.suffix.lower() == ".png" for file in files):
        wrong += depth_faults([(file, png_bits(file)) for file in files])
    more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
    return [*lines, f"{wrong[0]}{more}"] if wrong else lines


def depth_faults(bits: Sequence[tuple[Path, int]]) -> list[DataError]:
    """Images of another depth than most of their scan: they are brighter or darker.

    Args:
        bits: each file and the bits of its pixels.
    """
    depths = [depth for _, depth in bits]
    if len(set(depths)) < 2:
        return []
    usual = max(sorted(set(depths), reverse=True), key=depths.count)
    expected, remedy = f"{usual} bits, as the scan's other slices", "export the slice again"
    return [DataError(f, expected, f"{depth} bits", remedy) for f, depth in bits if depth != usual]


def spacing_faults(root: Path, rows: pd.DataFrame) -> list[DataError]:
    """Slices of one scan whose pixel spacing is 0, or not that of most of its slices.

    Args:
        root: folder that paths are relative to.
        rows: of the slice index, all of one scan.
    """
    pairs = [tuple(pair) for pair in rows[["spacing_x_mm", "spacing_y_mm"]].to_numpy().tolist()]
    if len(set(pairs)) == 1 and min(pairs[0]) > 0:
        return []
    sound = [pair for pair in pairs if min(pair) > 0]
    usual = max(set(sound), key=sound.count) if sound else None
    faults = []
    for path, pair in zip(rows["path"], pairs, strict=True):
        got = f"{pair[0]:.2f} x {pair[1]:.2f}"
        if min(pair) <= 0:
            expected = "a pixel spacing above 0 mm in its name"
        elif pair != usual and usual is not None:
            expected = f"the pixel spacing of the scan's other slices ({usual[0]:.2f} x "
            expected += f"{usual[1]:.2f} mm)"
        else:
            continue
        faults.append(DataError(root / path, expected, got, "correct the file's name"))
    return faults
