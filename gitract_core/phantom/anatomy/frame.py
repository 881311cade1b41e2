"""Position of a body in its images: body coordinates, pixels and slices.

Level t is 0 at the first annotated slice of a scan and 1 at its last, so that lungs, liver, kidneys
and hip bones keep their relation to the bowel, wherever the plan puts it.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from gitract_core.phantom.anatomy.curves import ramp, wobble
from gitract_core.phantom.planning.scan_plan import ScanPlan

_SHIFT = 3
_ANGLES = np.linspace(0, 2 * np.pi, 72, endpoint=False)


@dataclass(frozen=True, slots=True)
class Habitus:
    """A patient's build; the same on all days.

    Attributes:
        half_width, half_height: of the muscle wall, as fractions of the image's smaller side and
            of the half width.
        fat: thickness of the skin fat, as a fraction of the half height.
        outline, fat_outline: relative wobble by angle, float (72,).
        arms: whether arms lie beside the body.
        rise, aside: displacement of the body in the image, down and to the right, as shares of
            the image's height and width.
        table: where the table flattens the back, in half heights.
    """

    half_width: float
    half_height: float
    fat: float
    outline: np.ndarray
    fat_outline: np.ndarray
    arms: bool
    rise: float
    aside: float
    table: float

    @classmethod
    def drawn(cls, rng: np.random.Generator) -> Habitus:
        """The build of a random patient."""
        return cls(
            half_width=float(np.clip(0.392 + 0.028 * rng.normal(), 0.33, 0.46)),
            half_height=float(np.clip(0.745 + 0.06 * rng.normal(), 0.62, 0.88)),
            fat=float(np.clip(0.14 * np.exp(0.5 * rng.normal()), 0.04, 0.36)),
            outline=wobble(rng, _ANGLES, 0.012),
            fat_outline=wobble(rng, _ANGLES, 0.08),
            arms=bool(rng.random() < 0.4),
            rise=float(np.clip(0.06 * rng.normal(), -0.13, 0.13)),
            aside=float(np.clip(0.045 * rng.normal(), -0.08, 0.08)),
            table=float(rng.uniform(1.06, 1.22)),
        )


@dataclass(frozen=True, slots=True)
class Frame:
    """One scan's geometry.

    Attributes:
        height, width: pixels.
        center_x, center_y: middle of the muscle wall, pixels.
        half_width, half_height: of the muscle wall, pixels.
        first, last: slices of levels 0 and 1.
        habitus: the patient's build.
    """

    height: int
    width: int
    center_x: float
    center_y: float
    half_width: float
    half_height: float
    first: float
    last: float
    habitus: Habitus

    @classmethod
    def drawn(cls, plan: ScanPlan, habitus: Habitus, rng: np.random.Generator) -> Frame:
        """A patient's random position on the table on one day."""
        side = min(0.92 * plan.height, 0.86 * plan.width)
        half_width = habitus.half_width * side * float(np.exp(0.015 * rng.normal()))
        return cls(
            height=plan.height,
            width=plan.width,
            center_x=plan.width * (0.507 + habitus.aside + 0.012 * rng.normal()),
            center_y=plan.height * (0.455 + habitus.rise + 0.012 * rng.normal()),
            half_width=half_width,
            half_height=half_width * habitus.half_height,
            first=float(min(start for start, _ in plan.ranges)),
            last=float(max(stop for _, stop in plan.ranges)),
            habitus=habitus,
        )

    def level(self, position: float) -> float:
        """Level t of a slice."""
        return (position + 0.5 - self.first) / max(self.last - self.first, 1.0)

    def pixels(self, u: np.ndarray, v: np.ndarray) -> np.ndarray:
        """Body coordinates in pixels, float (points, 2): x, y."""
        x = self.center_x + u * self.half_width
        return np.stack([x, self.center_y + v * self.half_height], axis=-1)

    def wall(self, t: float, scale: float = 1.0) -> np.ndarray:
        """Contour of the muscle wall at a level, float (72, 2) pixels."""
        u, v = _squared_ellipse(2.4)
        chest = ramp(t, 0.0, -0.6)
        u = u * (1 - 0.06 * chest + 0.03 * ramp(t, 0.7, 1.3)) * self.habitus.outline * scale
        v = v * (1 + 0.02 * chest - 0.06 * ramp(t, 0.3, 1.1)) * self.habitus.outline * scale
        return self.pixels(u, np.where(v > 0, v * 0.97, v))

    def lining(self, t: float) -> np.ndarray:
        """Contour of the cavity inside the wall, float (72, 2) pixels; flanks are thick below."""
        flank = np.abs(np.cos(_ANGLES)) ** 2 * ramp(t, 0.1, 0.6)
        middle = np.array([self.center_x, self.center_y])
        share = (0.945 - 0.055 * flank) * self.habitus.fat_outline**0.15
        contour: np.ndarray = middle + (self.wall(t) - middle) * share[:, None]
        return contour

    def skin(self, t: float) -> np.ndarray:
        """Contour of the body at a level, float (72, 2) pixels; fat is thick at back and hips."""
        back, side = np.sin(_ANGLES), np.abs(np.cos(_ANGLES))
        low = ramp(t, 0.3, 1.2)
        share = (
            0.45
            + 0.25 * side
            + 0.2 * np.clip(back, 0, 1)
            + low * (1.3 * np.clip(back, 0, 1) + 0.6 * side)
        )
        share = share + 0.25 * np.clip(-back, 0, 1) * low
        thickness = self.habitus.fat * self.half_height * share * self.habitus.fat_outline
        wall = self.wall(t)
        away = wall - wall.mean(axis=0)
        away /= np.linalg.norm(away, axis=1, keepdims=True)
        skin = wall + away * np.maximum(thickness, 2.0)[:, None]
        table = self.center_y + self.habitus.table * self.half_height
        limit = [self.width - 4.0, min(table, self.height - 4.0)]
        contour: np.ndarray = np.clip(skin, [3.0, 3.0], limit)
        return contour


def fill(canvas: np.ndarray, contour: np.ndarray, value: float) -> None:
    """Fill a closed contour, float (points, 2) pixels."""
    points = np.rint(contour * 2**_SHIFT).astype(np.int32)
    cv2.fillPoly(canvas, [points], value, cv2.LINE_8, _SHIFT)


def spot(
    canvas: np.ndarray, middle: np.ndarray, radii: tuple[float, float], turn: float, value: int
) -> None:
    """Fill an ellipse; middle (x, y) and radii in pixels, turn in degrees."""
    x, y = (round(float(c) * 2**_SHIFT) for c in middle)
    sizes = (max(1, int(radii[0] * 2**_SHIFT)), max(1, int(radii[1] * 2**_SHIFT)))
    cv2.ellipse(canvas, (x, y), sizes, turn, 0, 360, value, -1, cv2.LINE_8, _SHIFT)


def _squared_ellipse(power: float) -> tuple[np.ndarray, np.ndarray]:
    """Unit outline between ellipse (power 2) and rectangle, float (72,) twice."""
    c, s = np.cos(_ANGLES), np.sin(_ANGLES)
    return np.sign(c) * np.abs(c) ** (2 / power), np.sign(s) * np.abs(s) ** (2 / power)
