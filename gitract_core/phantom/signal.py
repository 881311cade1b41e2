"""From tissues to an image: signal, texture, coil shading, noise, 16 bits."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from gitract_core.phantom.curves import Field, ramp
from gitract_core.phantom.frame import Frame
from gitract_core.phantom.plan import ScanPlan
from gitract_core.phantom.tissue import Tissue, signal_table


@dataclass(frozen=True, slots=True)
class Scanner:
    """The scanner's side of a scan.

    Attributes:
        plan, frame: what is imaged.
        signal: float32 (256, 4): mean, coarse and fine texture and specks of each tissue.
        coarse, fine, shading: random fields.
        coils: float (coils, 3): place x, y and reach in pixels; bright near them.
        peak: 16-bit value of skin fat before shading.
        noise: sd of the noise where the signal of fat is 1.
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
    seeds: np.ndarray

    @classmethod
    def drawn(cls, plan: ScanPlan, frame: Frame, rng: np.random.Generator) -> Scanner:
        """A random set-up of coils and receiver."""
        depth_mm = plan.n_slices * plan.slice_spacing_mm
        angles = rng.uniform(0, 2 * np.pi, size=5)
        around = frame.pixels(1.15 * np.cos(angles), 1.15 * np.sin(angles))
        reach = frame.half_width * rng.uniform(0.25, 0.5, size=5)
        rows, columns = plan.height, plan.width
        return cls(
            plan=plan,
            frame=frame,
            signal=signal_table(rng),
            coarse=Field.drawn(rng, depth_mm / 12, rows / 9, columns / 9),
            fine=Field.drawn(rng, depth_mm / 4, rows / 3, columns / 3),
            shading=Field.drawn(rng, 5, 4, 4),
            coils=np.column_stack([around, reach]),
            peak=float(rng.uniform(350, 900)),
            noise=float(rng.uniform(0.018, 0.035)),
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
        value = cv2.GaussianBlur(value, (0, 0), 0.75)
        inside = cv2.blur((tissues != Tissue.AIR).astype(np.float32), (5, 5))
        value *= self._bias(fraction, height, width)
        rng = np.random.Generator(np.random.SFC64(int(self.seeds[position])))
        noise = rng.standard_normal((height, width), dtype=np.float32)
        value += noise * (self.noise * (0.04 + 0.96 * inside))
        return (np.abs(value) * np.float32(self.peak)).astype(np.uint16)

    def _bias(self, fraction: float, height: int, width: int) -> np.ndarray:
        """Coil shading times the fall towards both ends of the scan, float32."""
        x = np.arange(width, dtype=np.float32)[None, :]
        y = np.arange(height, dtype=np.float32)[:, None]
        bias = np.exp(np.float32(0.22) * self.shading.at(fraction, height, width))
        for cx, cy, reach in self.coils.astype(np.float32):
            bias += np.exp(-((x - cx) ** 2) / reach**2) * np.exp(-((y - cy) ** 2) / reach**2)
        t = self.frame.level(fraction * self.plan.n_slices)
        fall = (1 - 0.6 * ramp(t, 1.0, 1.7)) * (1 - 0.4 * ramp(t, -0.4, -0.9))
        fall *= 0.06 + 0.94 * ramp(min(fraction, 1 - fraction), -0.01, 0.10)
        bias *= np.float32(fall)
        radius = self.plan.width * (0.36 + 0.6 * ramp(min(fraction, 1 - fraction), 0.0, 0.06))
        return bias * ((x - width / 2) ** 2 + (y - height / 2) ** 2 < radius**2)
