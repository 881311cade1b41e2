"""Tissues by number, and their signal in a low-field TrueFISP sequence.

Fat and fluid are bright, solid organs and bowel lie close together in the dark half, gas and lung
are black: no threshold separates bowel from liver, muscle or vessels.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np


class Tissue(IntEnum):
    """Number of the tissue in a pixel."""

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
    Tissue.FAT: (0.74, 0.025, 0.02, -0.22),
    Tissue.MUSCLE: (0.20, 0.02, 0.03, 0.06),
    Tissue.MARROW: (0.40, 0.04, 0.03, 0.05),
    Tissue.CORTEX: (0.10, 0.0, 0.02, 0.00),
    Tissue.FLUID: (0.80, 0.04, 0.02, 0.00),
    Tissue.LIVER: (0.32, 0.012, 0.015, 0.02),
    Tissue.SPLEEN: (0.29, 0.012, 0.015, 0.00),
    Tissue.KIDNEY: (0.34, 0.03, 0.03, 0.02),
    Tissue.VESSEL: (0.36, 0.03, 0.02, 0.00),
    Tissue.LUNG: (0.05, 0.005, 0.014, 0.06),
    Tissue.HEART: (0.46, 0.06, 0.04, 0.05),
    Tissue.WALL: (0.27, 0.02, 0.02, 0.00),
    Tissue.STOMACH_CONTENT: (0.34, 0.09, 0.04, 0.12),
    Tissue.LARGE_CONTENT: (0.36, 0.07, 0.05, 0.10),
    Tissue.SMALL_CONTENT: (0.35, 0.07, 0.04, 0.08),
    Tissue.GAS: (0.05, 0.01, 0.01, 0.00),
    Tissue.GLAND: (0.36, 0.05, 0.07, 0.12),
    Tissue.CONTENT_FLUID: (0.62, 0.08, 0.03, 0.00),
}


_SOLID = (
    Tissue.MUSCLE,
    Tissue.LIVER,
    Tissue.SPLEEN,
    Tissue.KIDNEY,
    Tissue.VESSEL,
    Tissue.HEART,
    Tissue.GLAND,
    Tissue.MARROW,
    Tissue.WALL,
)
_CONTENTS = (Tissue.LARGE_CONTENT, Tissue.SMALL_CONTENT, Tissue.STOMACH_CONTENT)
_CONTENT_RANGES = ((0.06, 0.20), (0.20, 0.42), (0.45, 0.95))  # dark stool or gas, mash, fluid
_CONTENT_CHANCES = (0.35, 0.47, 0.18)
_ALIKE = 0.5  # probability that both bowels have the same contents


def signal_table(rng: np.random.Generator) -> np.ndarray:
    """Mean, coarse and fine texture and specks of every tissue in one scan, float32 (256, 4).

    Scans differ more than real ones do, so that a network must learn shape
    and position, not a gray value.
    """
    table = np.zeros((256, 4), dtype=np.float32)
    for tissue, values in _SIGNAL.items():
        table[tissue] = values
    for content, mean in zip(_CONTENTS, _content_means(rng), strict=True):
        table[content, 0] = mean
        table[content, 1:] *= (0.4 + 1.2 * mean) * rng.uniform(0.3, 1.8, size=3)
    table[list(_SOLID), 0] *= np.exp(rng.uniform(-0.5, 0.35)) * np.exp(
        0.16 * rng.normal(size=len(_SOLID))
    )
    table[:, 0] *= np.exp(0.05 * rng.normal(size=256))
    fat = rng.uniform(0.78, 1.3)
    table[Tissue.FAT, 0] *= fat
    table[Tissue.SKIN_FAT, 0] *= fat * rng.uniform(0.85, 1.15)
    table[Tissue.FAT, 1:] *= rng.uniform(0.6, 2.5, size=3)  # vessels and strands of the mesentery
    table[:, 1:] *= rng.uniform(0.5, 1.4)
    return table


def _content_means(rng: np.random.Generator) -> np.ndarray:
    """Signal of the contents of large bowel, small bowel and stomach, float (3,)."""
    kinds = rng.choice(3, size=3, p=_CONTENT_CHANCES)
    means = np.array([rng.uniform(*_CONTENT_RANGES[k]) for k in kinds])
    if rng.random() < _ALIKE:  # a single slice does not separate such bowels
        means[1] = means[0]
    return means
