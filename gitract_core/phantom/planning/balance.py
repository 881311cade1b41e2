"""Move the ends of organ ranges until each combination of organs has the wanted slices.

Moving one end of one range by one slice takes one slice from one combination to another. Such
moves are drawn at random and kept if they do not increase the error, so the ends
stay scattered as they were sampled, and no range ever gets a gap.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gitract_core.errors import DataError
from gitract_core.phantom.planning.scan_plan import ScanPlan

_ENDS = 6  # start and stop of three organs
_FEWEST_SLICES = 2
_TEMPERATURE = 0.15  # of accepting a worse step, which leaves local minima


@dataclass(slots=True)
class _Scan:
    """The movable state of one scan: ends (start, stop) by organ, and the slices of the scan."""

    ends: list[list[int]]
    n_slices: int

    def bits_at(self, position: int) -> int:
        """Organs of one slice as a sum of bits."""
        held = (1 << organ for organ, (a, b) in enumerate(self.ends) if a <= position < b)
        return sum(held)


def balanced(
    scans: tuple[ScanPlan, ...], wanted: np.ndarray, rng: np.random.Generator
) -> tuple[tuple[tuple[int, int], ...], ...]:
    """Ranges of every scan that give the wanted slices by combination, or nearly so.

    Plans of many scans are exact; a plan of one scan may not be able to reach the wanted counts.

    Args:
        scans: the plan as sampled.
        wanted: integer (8,), slices by sum of bits; must add up to the slices of all scans.
        rng: source of the moves.

    Returns:
        For each scan, its ranges by organ.

    Raises:
        DataError: the wanted counts do not add up to the slices of the plan.
    """
    counts = np.zeros(8, dtype=np.int64)
    for scan in scans:
        counts += np.bincount(scan.combinations(), minlength=8)
    states = [_Scan([list(r) for r in s.ranges], s.n_slices) for s in scans]
    excess = [int(v) for v in counts - wanted]
    if sum(excess):
        expected = f"{int(counts.sum())} wanted slices"
        raise DataError("phantom plan", expected, int(wanted.sum()), "mend the counts")
    budget = 4000 + 400 * sum(map(abs, excess))
    for _ in range(budget // 1024 + 1):
        picks = rng.integers(0, (len(states), _ENDS, 2), size=(1024, 3)).tolist()
        chances = rng.random(1024).tolist()
        for (pick, end, side), chance in zip(picks, chances, strict=True):
            if not any(excess):
                break
            _try_move(states[pick], end, 2 * side - 1, excess, chance)
    return tuple(tuple((a, b) for a, b in s.ends) for s in states)


def _try_move(scan: _Scan, end: int, step: int, excess: list[int], chance: float) -> None:
    """Move one end by one slice where that does not worsen the counts (or, rarely, does)."""
    organ, is_stop = divmod(end, 2)
    place = scan.ends[organ][is_stop]
    position = place if (step > 0) else place - 1  # the slice that the end passes over
    start, stop = (place + step if end_ == is_stop else scan.ends[organ][end_] for end_ in (0, 1))
    if start < 0 or stop > scan.n_slices or stop - start < _FEWEST_SLICES:
        return
    before = scan.bits_at(position)
    after = before ^ (1 << organ)
    change = abs(excess[before] - 1) - abs(excess[before])
    change += abs(excess[after] + 1) - abs(excess[after])
    if change < 0 or (change == 0 and chance < _TEMPERATURE):
        scan.ends[organ][is_stop] += step
        excess[before] -= 1
        excess[after] += 1
