"""Shift whole scans along z until each organ's profile peaks where the published one does.

Moving all ranges of a scan together changes no count of a combination: slices only lie
a slice or two higher or lower in the scan.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from gitract_core.errors import DataError
from gitract_core.phantom.planning.scan_plan import ScanPlan, position_profile

_LONGEST_SHIFT = 3
_TRIES = 20_000


def with_peaks(
    scans: Sequence[ScanPlan], peaks: Sequence[int], tolerance: int, rng: np.random.Generator
) -> tuple[ScanPlan, ...]:
    """Scans whose profiles peak near the wanted slices.

    Args:
        scans: a plan.
        peaks: for each organ the wanted slice of the peak, from 1.
        tolerance: how far from it a peak may lie, in slices.
        rng: source of the shifts.

    Raises:
        DataError: no shifts were found that do.
    """
    moved = list(scans)
    profile = position_profile(tuple(moved))
    lack = _lack(profile, peaks, tolerance)
    for _ in range(_TRIES):
        if lack == 0:
            return tuple(moved)
        pick = int(rng.integers(len(moved)))
        other = _shifted(moved[pick], int(rng.integers(-_LONGEST_SHIFT, _LONGEST_SHIFT + 1)))
        trial = profile - position_profile((moved[pick],)) + position_profile((other,))
        now = _lack(trial, peaks, tolerance)
        if now <= lack:
            moved[pick], profile, lack = other, trial, now
    raise DataError("phantom plan", f"peaks at {tuple(peaks)}", "others", "try another seed")


def _shifted(scan: ScanPlan, shift: int) -> ScanPlan:
    """The scan with all ranges moved, as far as it has room."""
    room = (-min(start for start, _ in scan.ranges), scan.n_slices - max(b for _, b in scan.ranges))
    step = min(max(shift, room[0]), room[1])
    return replace(scan, ranges=tuple((a + step, b + step) for a, b in scan.ranges))


def _lack(profile: np.ndarray, peaks: Sequence[int], tolerance: int) -> int:
    """Scans by which the profiles outside the windows reach or exceed the peaks, summed."""
    lack = 0
    for row, peak in zip(profile, peaks, strict=True):
        window = slice(peak - 1 - tolerance, peak + tolerance)
        excess = np.maximum(row + 1 - row[window].max(), 0)
        excess[window] = 0
        lack += int(excess.sum())
    return lack
