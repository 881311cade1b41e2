"""From tissues to an image: signal, texture, coil shading, noise, 16 bits."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from gitract_core.phantom.anatomy.curves import Field, ramp
from gitract_core.phantom.anatomy.frame import Frame
from gitract_core.phantom.anatomy.tissue import Tissue, signal_table
from gitract_core.phantom.artifacts import Spoiled, spoiled_slices
from gitract_core.phantom.planning.scan_plan import ScanPlan


@dataclass(frozen=True, slots=True)
class Scanner:
    """Random properties of the scanner in one scan.

    Attributes:
        plan, frame: of the scan.
        signal: float32 (256, 4): mean, coarse and fine texture and specks of each tissue.
        coarse, fine, shading: random fields.
        coils: float (coils, 4): place x, y and reach in pixels, and strength; bright near them.
        peak: 16-bit value of skin fat before shading.
        noise: sd of the noise where the signal of fat is 1.
        blur: sigma of the point spread, pixels.
        unevenness: sd of the logarithm of the shading.
        fades: levels from which on, and until which, signal fades below the abdomen.
        gains: float32 (slices,): gain of each slice; 1 but in scans exported slice by slice.
        spoiled: slice position -> faults of that slice.
        seeds: integer (slices,), seed of each slice's noise.
    """

    plan: ScanPlan
    frame: Frame
    signal: np.ndarray
    coarse: Field
    fine: Field
    shading: Field
    coils: np.ndarray
    peak: float
    noise: float
    blur: float
    unevenness: float
    fades: tuple[float, float]
    gains: np.ndarray
    spoiled: dict[int, Spoiled]
    seeds: np.ndarray

    @classmethod
    def drawn(cls, plan: ScanPlan, frame: Frame, rng: np.random.Generator) -> Scanner:
        """Random coils, receiver, noise and faults."""
        depth_mm = plan.n_slices * plan.slice_spacing_mm
        angles = rng.uniform(0, 2 * np.pi, size=5)
        around = frame.pixels(1.15 * np.cos(angles), 1.15 * np.sin(angles))
        reach = frame.half_width * rng.uniform(0.25, 0.5, size=5)
        strength = rng.uniform(0.0, 1.3, size=5)
        rows, columns = plan.height, plan.width
        return cls(
            plan=plan,
            frame=frame,
            signal=signal_table(rng),
            coarse=Field.drawn(rng, depth_mm / 12, rows / 9, columns / 9),
            fine=Field.drawn(rng, depth_mm / 4, rows / 3, columns / 3),
            shading=Field.drawn(rng, 5, 4, 4),
            coils=np.column_stack([around, reach, strength]),
            peak=float(rng.uniform(350, 900)),
            noise=float(np.exp(rng.uniform(np.log(0.008), np.log(0.045)))),
            blur=float(rng.uniform(0.5, 1.2)),
            unevenness=float(rng.uniform(0.08, 0.32)),
            fades=(float(rng.uniform(0.6, 1.1)), float(rng.uniform(1.4, 2.2))),
            gains=_gains(plan.n_slices, rng),
            spoiled=spoiled_slices(frame, plan.n_slices, 1 / plan.spacing_mm, rng),
            seeds=rng.integers(0, 2**31, size=plan.n_slices),
        )

    def image(self, tissues: np.ndarray, position: int) -> np.ndarray:
        """The slice as scanned, uint16 (height, width)."""
        height, width = tissues.shape
        fraction = position / self.plan.n_slices
        value = cv2.LUT(tissues, self.signal[:, 0])
        coarse = self.coarse.at(fraction, height, width)
        value += cv2.LUT(tissues, self.signal[:, 1]) * coarse
        fine = self.fine.at(fraction, height, width)
        value += cv2.LUT(tissues, self.signal[:, 2]) * fine
        specks = np.maximum(fine - 1.2, 0) + np.maximum(coarse - 1.3, 0)
        value += cv2.LUT(tissues, self.signal[:, 3]) * specks
        value = cv2.GaussianBlur(value, (0, 0), self.blur)
        inside = cv2.blur((tissues != Tissue.AIR).astype(np.float32), (5, 5))
        value *= self._bias(fraction, height, width)
        if position in self.spoiled:
            value = self.spoiled[position].apply(value)
        rng = np.random.Generator(np.random.SFC64(int(self.seeds[position])))
        noise = rng.standard_normal((height, width), dtype=np.float32)
        value += noise * (self.noise * (0.04 + 0.96 * inside))
        value = np.abs(value) * np.float32(self.peak * self.gains[position])
        scanned: np.ndarray = value.astype(np.uint16)
        return scanned

    def _bias(self, fraction: float, height: int, width: int) -> np.ndarray:
        """Coil shading times the fall towards both ends of the scan, float32.

        It is smooth, so it is computed at a quarter of the size.
        """
        rows, columns = -(-height // 4), -(-width // 4)
        x = (np.arange(columns, dtype=np.float32)[None, :] + 0.5) * (width / columns)
        y = (np.arange(rows, dtype=np.float32)[:, None] + 0.5) * (height / rows)
        bias = np.exp(np.float32(self.unevenness) * self.shading.at(fraction, rows, columns))
        for cx, cy, reach, strength in self.coils.astype(np.float32):
            near = np.exp(-((x - cx) ** 2) / reach**2)
            bias += strength * near * np.exp(-((y - cy) ** 2) / reach**2)
        t = self.frame.level(fraction * self.plan.n_slices)
        fall = (1 - 0.6 * ramp(t, *self.fades)) * (1 - 0.4 * ramp(t, -0.4, -0.9))
        fall *= 0.06 + 0.94 * ramp(min(fraction, 1 - fraction), -0.01, 0.10)
        sensitivity = np.zeros((height, width), dtype=np.float32)
        radius = width * (0.36 + 0.6 * ramp(min(fraction, 1 - fraction), 0.0, 0.06))
        cv2.circle(sensitivity, (width // 2, height // 2), round(radius), fall, -1)
        sensitivity *= cv2.resize(bias, (width, height), interpolation=cv2.INTER_LINEAR)
        return sensitivity


def _gains(n_slices: int, rng: np.random.Generator) -> np.ndarray:
    """Gain of each slice, float32 (slices,).

    Most scans have one gain. In some, as in images that were exported one by one, it jumps where a
    bright spot comes or goes.
    """
    gains = np.ones(n_slices, dtype=np.float32)
    if rng.random() < 0.35:
        jumps = rng.random(n_slices) < 9 / n_slices
        gains *= np.exp(rng.uniform(np.log(0.2), 0, size=n_slices + 1)).astype(np.float32)[
            np.cumsum(jumps)
        ]
    return gains
