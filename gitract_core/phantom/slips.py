"""Annotation slips: part of one organ also marked as another, as in a few of the real slices.

The paper prints slices where all three masks share over 300 pixels, and where the two bowels share
over 600; a plan names the scans that carry such a slip.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gitract_core.phantom.anatomy.tubes import Tube
from gitract_core.phantom.planning.scan_plan import ScanPlan

LARGE, SMALL, STOMACH = 0, 1, 2
_ALL_BITS, _BOWEL_BITS = 7, 3
_THREE_WAY_PIXELS = 360
_LARGE_SMALL_PIXELS = 680


def slip_positions(plan: ScanPlan, tubes: Sequence[Tube]) -> dict[int, str]:
    """For each slip of a plan, the slice in which the confused organ is largest."""
    chosen = {}
    bits = plan.combinations()
    for slip in plan.slips:
        organ, wanted = (STOMACH, _ALL_BITS) if slip == "three_way" else (LARGE, _BOWEL_BITS)
        shape = (plan.height, plan.width)
        positions = np.flatnonzero((bits & wanted) == wanted).tolist()
        areas = [int(tubes[organ].cross_section(p, shape).sum()) for p in positions]
        if areas:
            chosen[int(positions[int(np.argmax(areas))])] = slip
    return chosen


def slipped(masks: np.ndarray, slip: str) -> np.ndarray:
    """Masks with one annotation slip added.

    Args:
        masks: bool (3, height, width).
        slip: ``"three_way"``: part of the stomach also marked as both bowels; ``"large_small"``:
            part of the large bowel also marked as small bowel.

    Returns:
        Bool (3, height, width), a new array.
    """
    result = masks.copy()
    if slip == "three_way":
        part = _leftmost(masks[STOMACH], _THREE_WAY_PIXELS)
        result[LARGE] |= part
        result[SMALL] |= part
    else:
        result[SMALL] |= _leftmost(masks[LARGE], _LARGE_SMALL_PIXELS)
    return result


def _leftmost(mask: np.ndarray, n_pixels: int) -> np.ndarray:
    """The leftmost ``n_pixels`` pixels of a mask, bool (height, width)."""
    columns, rows = np.nonzero(mask.T)
    part = np.zeros_like(mask)
    part[rows[:n_pixels], columns[:n_pixels]] = True
    return part
