"""Tissues by number, with their signal as a low-field TrueFISP sequence shows it.

Fat and fluid are bright, solid organs and bowel lie close together in the dark half, gas and lung
are black: no threshold tells bowel from liver, muscle or vessels.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np


class Tissue(IntEnum):
    """What a pixel shows."""

    AIR = 0
    SKIN_FAT = 1
    FAT = 2
    MUSCLE = 3
    MARROW = 4
    CORTEX = 5
    FLUID = 6
    LIVER = 7
    SPLEEN = 8
    KIDNEY = 9
    VESSEL = 10
    LUNG = 11
    HEART = 12
    WALL = 13
    STOMACH_CONTENT = 14
    LARGE_CONTENT = 15
    SMALL_CONTENT = 16
    GAS = 17
    GLAND = 18
    CONTENT_FLUID = 19


_SIGNAL: dict[Tissue, tuple[float, float, float, float]] = {
    # mean, coarse texture, fine texture, specks; skin fat is about 1
    Tissue.AIR: (0.0, 0.0, 0.0, 0.00),
    Tissue.SKIN_FAT: (0.92, 0.05, 0.03, -0.08),
    Tissue.FAT: (0.66, 0.025, 0.02, -0.22),
    Tissue.MUSCLE: (0.20, 0.02, 0.03, 0.16),
    Tissue.MARROW: (0.40, 0.04, 0.03, 0.05),
    Tissue.CORTEX: (0.10, 0.0, 0.02, 0.00),
    Tissue.FLUID: (0.80, 0.04, 0.02, 0.00),
    Tissue.LIVER: (0.32, 0.012, 0.015, 0.05),
    Tissue.SPLEEN: (0.29, 0.012, 0.015, 0.00),
    Tissue.KIDNEY: (0.34, 0.03, 0.03, 0.05),
    Tissue.VESSEL: (0.36, 0.03, 0.02, 0.00),
    Tissue.LUNG: (0.05, 0.005, 0.014, 0.10),
    Tissue.HEART: (0.46, 0.09, 0.04, 0.10),
    Tissue.WALL: (0.27, 0.02, 0.02, 0.00),
    Tissue.STOMACH_CONTENT: (0.34, 0.09, 0.04, 0.12),
    Tissue.LARGE_CONTENT: (0.36, 0.07, 0.05, 0.10),
    Tissue.SMALL_CONTENT: (0.35, 0.07, 0.04, 0.08),
    Tissue.GAS: (0.05, 0.01, 0.01, 0.00),
    Tissue.GLAND: (0.36, 0.05, 0.07, 0.12),
    Tissue.CONTENT_FLUID: (0.62, 0.08, 0.03, 0.00),
}


def signal_table(rng: np.random.Generator) -> np.ndarray:
    """Mean, coarse and fine texture and specks of every tissue in one scan, float32 (256, 4)."""
    table = np.zeros((256, 4), dtype=np.float32)
    for tissue, values in _SIGNAL.items():
        table[tissue] = values
    table[:, 0] *= np.exp(0.07 * rng.normal(size=256)).astype(np.float32)
    fat = float(np.exp(0.10 * rng.normal()))
    table[[Tissue.FAT, Tissue.SKIN_FAT], 0] *= np.float32(fat)
    return table
