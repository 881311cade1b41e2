"""Faults of single slices: breathing, bowel motion, inflow and partial volume.

Each slice of a real scan is exposed on its own. Where the bowel moved during the exposure, its
edges are lost in that slice and sharp in the next one. Spoiled slices are therefore never
neighbors here: the slices beside one show what it hides.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from gitract_core.phantom.anatomy.frame import Frame, fill

_SHARE = 0.22  # of slices that are spoiled
_GAIN_DROP = (0.35, 0.75)


@dataclass(frozen=True, slots=True)
class Spoiled:
    """The faults of one slice.

    Attributes:
        inside: float32 (height, width), 0 to 1: the belly; outside nothing moves.
        patch: float (patches, 4): middle x and y, and half axes, pixels, of smeared places.
        smear: sigma of the smearing, pixels.
        gain: factor of the signal.
        ghost: strength of a copy of the slice, ``shift`` pixels further down.
        shift: pixels.
    """

    inside: np.ndarray
    patch: np.ndarray
    smear: float
    gain: float
    ghost: float
    shift: int

    def apply(self, value: np.ndarray) -> np.ndarray:
        """The slice with its faults, float32 (height, width)."""
        height, width = value.shape
        x = np.arange(width, dtype=np.float32)[None, :]
        y = np.arange(height, dtype=np.float32)[:, None]
        share = np.zeros_like(value)
        for cx, cy, a, b in self.patch.astype(np.float32):
            far = ((x - cx) / a) ** 2 + ((y - cy) / b) ** 2
            np.maximum(share, np.clip(np.float32(2) - 2 * far, 0, 1), out=share)
        share *= self.inside
        # blurred at a quarter of the size, which takes a sixteenth of the time
        small = cv2.resize(value, (width // 4, height // 4), interpolation=cv2.INTER_AREA)
        small = cv2.GaussianBlur(small, (0, 0), self.smear / 4)
        smeared = cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)
        spoiled: np.ndarray = value + np.float32(0.93) * share * (smeared - value)
        if self.ghost > 0:
            spoiled = spoiled + np.float32(self.ghost) * np.roll(value, self.shift, axis=0)
        return spoiled * np.float32(self.gain)


def spoiled_slices(
    frame: Frame, n_slices: int, scale: float, rng: np.random.Generator
) -> dict[int, Spoiled]:
    """The faults of a scan by slice position; never of two neighbors.

    Args:
        frame: where the body lies.
        n_slices: slices of the scan.
        scale: pixels a millimeter.
        rng: source of the draws.
    """
    chosen: dict[int, Spoiled] = {}
    for position in range(n_slices):
        hit = rng.random() < _SHARE / (1 - _SHARE)  # a slice after a spoiled one is never hit
        if hit and position - 1 not in chosen:
            chosen[position] = _drawn(frame, position, scale, rng)
    return chosen


def _drawn(frame: Frame, position: int, scale: float, rng: np.random.Generator) -> Spoiled:
    """One slice's fault: always smeared somewhere in the belly, at times dimmed or doubled."""
    number = int(rng.integers(1, 4))
    middles = frame.pixels(rng.uniform(-0.75, 0.8, number), rng.uniform(-0.8, 0.15, number))
    axes = frame.half_height * rng.uniform(0.25, 0.65, size=(number, 2)) * (1.25, 0.9)
    dimmed, doubled = rng.random(2) < (0.3, 0.3)
    inside = np.zeros((frame.height, frame.width), dtype=np.float32)
    fill(inside, frame.lining(frame.level(position)), 1)
    return Spoiled(
        inside=cv2.blur(inside, (9, 9)),
        patch=np.concatenate([middles, axes], axis=1),
        smear=float(rng.uniform(8, 18) * scale),
        gain=float(rng.uniform(*_GAIN_DROP)) if dimmed else 1.0,
        ghost=float(rng.uniform(0.08, 0.25)) if doubled else 0.0,
        shift=int(rng.integers(12, 60)),
    )
