"""Parts of the abdomen without annotation: wall, spine, lungs, liver, kidneys, vessels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gitract_core.phantom.anatomy.curves import ramp
from gitract_core.phantom.anatomy.frame import Frame, fill, spot
from gitract_core.phantom.anatomy.tissue import Tissue

_VERTEBRA_LEVELS = 0.17  # height of a vertebra with its disc, as a share of the annotated range


@dataclass(frozen=True, slots=True)
class Inner:
    """Extent of a patient's solid organs, as levels t, and their displacements.

    Attributes:
        dome: top of the liver.
        liver_end, spleen_end, kidney_start, kidney_end, hip: levels.
        gall_bladder: whether the patient has one.
        shift: float (8, 2): displacement of single parts in body coordinates.
    """

    dome: float
    liver_end: float
    spleen_end: float
    kidney_start: float
    kidney_end: float
    hip: float
    gall_bladder: bool
    shift: np.ndarray

    @classmethod
    def drawn(cls, rng: np.random.Generator) -> Inner:
        """Extents and displacements of a random patient."""
        return cls(
            dome=-0.10 + 0.05 * rng.normal(),
            liver_end=0.82 + 0.10 * rng.normal(),
            spleen_end=0.66 + 0.12 * rng.normal(),
            kidney_start=0.27 + 0.05 * rng.normal(),
            kidney_end=0.93 + 0.07 * rng.normal(),
            hip=1.08 + 0.06 * rng.normal(),
            gall_bladder=bool(rng.random() < 0.6),
            shift=0.03 * rng.normal(size=(8, 2)),
        )


@dataclass(frozen=True, slots=True)
class Body:
    """Draws the tissues of a slice around the annotated organs."""

    frame: Frame
    inner: Inner

    def draw(self, position: int) -> np.ndarray:
        """Tissues of a slice before the hollow organs, uint8 (height, width)."""
        frame, t = self.frame, self.frame.level(position)
        canvas = np.zeros((frame.height, frame.width), dtype=np.uint8)
        self._arms(canvas, t)
        fill(canvas, frame.skin(t), Tissue.SKIN_FAT)
        fill(canvas, frame.wall(t), Tissue.MUSCLE)
        self._ribs(canvas, t)
        cavity = np.zeros_like(canvas)
        fill(cavity, frame.lining(t), 1)
        canvas[cavity > 0] = Tissue.FAT if t > 0.3 else Tissue.LUNG
        if t <= 0.3:
            self._chest(canvas, cavity, t)
        self._solid_organs(canvas, cavity, t)
        self._back(canvas, t)
        if t > self.inner.hip:
            self._hips(canvas, t)
        return canvas

    def _spot(
        self,
        canvas: np.ndarray,
        place: tuple[float, float, float, float],
        value: int,
        turn: float = 0,
    ) -> None:
        """An ellipse in body coordinates: u, v and its half axes, both of the half height."""
        u, v, a, b = place
        middle = self.frame.pixels(np.array(u), np.array(v))
        size = self.frame.half_height
        spot(canvas, middle, (a * size, b * size), turn, value)

    def _arms(self, canvas: np.ndarray, t: float) -> None:
        if not self.frame.habitus.arms:
            return
        frame = self.frame
        room = frame.width / 2 / frame.half_width
        for side in (-1, 1):
            u = side * min(room - 0.12, 1.45)
            v = 0.25 + 0.2 * t
            size = 0.22 - 0.05 * ramp(t, 0.2, 1.0)
            self._spot(canvas, (u, v, size, size * 1.25), Tissue.SKIN_FAT)
            self._spot(canvas, (u, v, size * 0.75, size), Tissue.MUSCLE)
            self._spot(canvas, (u, v, size * 0.3, size * 0.3), Tissue.CORTEX)
            self._spot(canvas, (u, v, size * 0.2, size * 0.2), Tissue.MARROW)

    def _ribs(self, canvas: np.ndarray, t: float) -> None:
        """Slanting ribs: in each slice they pierce the wall a little further on."""
        if t > 0.55:
            return
        outline = self.frame.wall(t, 0.965)
        offset = t * 40
        for index in range(11):
            at = int(index * 72 / 11 + offset) % 72
            if 50 < at < 58 and t > 0.1:  # no ribs at the belly
                continue
            turn = at * 5 + 90
            size = self.frame.half_height
            spot(canvas, outline[at], (0.12 * size, 0.030 * size), turn, Tissue.CORTEX)
            spot(canvas, outline[at], (0.09 * size, 0.017 * size), turn, Tissue.MARROW)

    def _chest(self, canvas: np.ndarray, cavity: np.ndarray, t: float) -> None:
        """Heart in the lungs, and the domes of the diaphragm that rise into them."""
        move = self.inner.shift
        if t < 0.02:
            size = ramp(t, 0.05, -0.25)
            place = (0.14 + move[0, 0], -0.26 + move[0, 1], 0.50 * size, 0.44 * size)
            self._spot(canvas, (place[0], -0.45, 0.45, 0.30), Tissue.FAT)
            if size > 0.05:
                self._spot(canvas, place, Tissue.HEART, 25)
        rise = ramp(t, self.inner.dome, 0.32) ** 0.45
        if rise <= 0:
            return
        dome = np.zeros_like(canvas)
        self._spot(dome, (-0.05, -0.55 + 0.15 * rise, 1.35 * rise, 0.85 * rise), 1)
        self._spot(dome, (-0.45, -0.10, 0.90 * rise, 0.90 * rise), 1)
        self._spot(dome, (0.52, -0.05, 0.74 * rise, 0.80 * rise), 1)
        canvas[(dome & cavity) > 0] = Tissue.FAT

    def _solid_organs(self, canvas: np.ndarray, cavity: np.ndarray, t: float) -> None:
        inner, move = self.inner, self.inner.shift
        room = (canvas == Tissue.FAT) & (cavity > 0)
        if inner.dome < t < inner.liver_end:
            shape = np.zeros_like(canvas)
            full = ramp(t, inner.dome, 0.12) ** 0.5
            less = 1 - ramp(t, 0.15, inner.liver_end) ** 1.3
            right = (-0.88 + 0.36 * less, -0.05 + 0.1 * (1 - less))
            axes = (full * (0.36 + 0.50 * less), full * (0.22 + 0.68 * less**0.7))
            self._spot(shape, (right[0] + move[1, 0], right[1] + move[1, 1], *axes), 1, 15)
            left = 1 - ramp(t, 0.10, 0.45)
            if left > 0.05:
                u = -0.15 + move[2, 0]
                self._spot(shape, (u, -0.58, full * 0.85 * left, full * 0.40 * left), 1, -8)
            canvas[room & (shape > 0)] = Tissue.LIVER
        if inner.dome < t < inner.spleen_end:
            shape = np.zeros_like(canvas)
            size = (ramp(t, inner.dome, 0.15) * ramp(t, inner.spleen_end, 0.3)) ** 0.5
            self._spot(shape, (0.76, 0.25 + move[3, 1], 0.24 * size, 0.48 * size), 1, 20)
            canvas[room & (shape > 0)] = Tissue.SPLEEN
        self._kidneys(canvas, t)
        self._center(canvas, t)

    def _kidneys(self, canvas: np.ndarray, t: float) -> None:
        inner, move = self.inner, self.inner.shift
        for side, delay in ((-1, 0.06), (1, 0.0)):
            start, stop = inner.kidney_start + delay, inner.kidney_end + delay
            if not start < t < stop:
                continue
            share = (t - start) / (stop - start)
            size = np.sqrt(1 - (2 * share - 1) ** 2)
            u = side * (0.40 + 0.10 * share) + move[4, 0]
            v = 0.46 - 0.05 * share + move[4, 1]
            turn = 25.0 * side
            self._spot(canvas, (u, v, 0.19 * size, 0.25 * size), Tissue.KIDNEY, turn)
            pelvis = ramp(abs(share - 0.5), 0.35, 0.1)
            if pelvis > 0.1:
                toward = u - side * 0.05
                self._spot(canvas, (toward, v, 0.09 * pelvis, 0.11 * pelvis), Tissue.FAT, turn)
                self._spot(canvas, (toward, v, 0.03, 0.05 * pelvis), Tissue.FLUID, turn)

    def _center(self, canvas: np.ndarray, t: float) -> None:
        """Pancreas, gall bladder, aorta and vena cava."""
        move = self.inner.shift
        if 0.30 < t < 0.62:
            size = (ramp(t, 0.30, 0.42) * ramp(t, 0.62, 0.5)) ** 0.5
            self._spot(canvas, (0.10, -0.02, 0.55 * size, 0.12 * size), Tissue.GLAND, -18)
        if self.inner.gall_bladder and 0.30 < t < 0.58:
            size = (ramp(t, 0.30, 0.42) * ramp(t, 0.58, 0.45)) ** 0.5
            u, v = -0.45 + move[5, 0], -0.38 + move[5, 1]
            self._spot(canvas, (u, v, 0.10 * size, 0.19 * size), Tissue.FLUID, -35)
        self._spot(canvas, (0.07 + move[6, 0], 0.22, 0.10, 0.10), Tissue.VESSEL)
        if t > -0.05:
            self._spot(canvas, (-0.13 + move[6, 0], 0.20, 0.12, 0.10), Tissue.VESSEL)

    def _back(self, canvas: np.ndarray, t: float) -> None:
        """Spine, canal, the muscles beside it, and the psoas that thickens downwards."""
        self._spot(canvas, (0.0, 0.84, 0.66, 0.14), Tissue.MUSCLE)
        for side in (-1, 1):
            self._spot(canvas, (side * 0.26, 0.80, 0.30, 0.19), Tissue.MUSCLE, -8 * side)
            psoas = ramp(t, 0.15, 0.95)
            if psoas > 0.02:
                place = (
                    side * (0.17 + 0.07 * psoas),
                    0.50,
                    0.09 + 0.13 * psoas,
                    0.10 + 0.14 * psoas,
                )
                self._spot(canvas, place, Tissue.MUSCLE)
        phase = (t / _VERTEBRA_LEVELS + self.inner.shift[7, 0] * 10) % 1.0
        body = Tissue.MUSCLE if phase < 0.18 else Tissue.MARROW
        self._spot(canvas, (0.0, 0.51, 0.235, 0.205), Tissue.CORTEX)
        self._spot(canvas, (0.0, 0.51, 0.215, 0.185), body)
        self._spot(canvas, (0.0, 0.75, 0.11, 0.085), Tissue.FLUID)
        self._spot(canvas, (0.0, 0.75, 0.06, 0.05), Tissue.VESSEL)
        if phase > 0.4:
            self._spot(canvas, (0.0, 0.88, 0.03, 0.08), Tissue.CORTEX)
            for side in (-1, 1):
                self._spot(canvas, (side * 0.13, 0.80, 0.10, 0.035), Tissue.CORTEX, 30 * side)
                self._spot(canvas, (side * 0.13, 0.80, 0.07, 0.02), Tissue.FAT, 30 * side)

    def _hips(self, canvas: np.ndarray, t: float) -> None:
        """Iliac wings with the muscles on both sides of them."""
        size = ramp(t, self.inner.hip, self.inner.hip + 0.35)
        for side in (-1, 1):
            u, v, turn = side * (0.72 - 0.1 * size), 0.32, side * 38.0
            self._spot(canvas, (u, v + 0.08, 0.22 * size, 0.55 * size), Tissue.MUSCLE, turn)
            self._spot(canvas, (u, v, 0.07 * size, 0.42 * size), Tissue.CORTEX, turn)
            self._spot(canvas, (u, v, 0.045 * size, 0.39 * size), Tissue.MARROW, turn)
