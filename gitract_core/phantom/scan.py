"""One scan: its anatomy, drawn slice by slice to fit the plan."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from gitract_core.errors import DataError
from gitract_core.phantom.anatomy import organ_paths
from gitract_core.phantom.anatomy.body import Body, Inner
from gitract_core.phantom.anatomy.curves import Field
from gitract_core.phantom.anatomy.frame import Frame, Habitus, fill
from gitract_core.phantom.anatomy.tissue import Tissue
from gitract_core.phantom.anatomy.tubes import Tube, fitted
from gitract_core.phantom.phantom_spec import generator
from gitract_core.phantom.planning.scan_plan import ScanPlan
from gitract_core.phantom.signal import Scanner
from gitract_core.phantom.slips import slip_positions, slipped

LARGE, SMALL, STOMACH = 0, 1, 2
_FEWEST_PIXELS = 24
_GENEROUS, _GENEROUS_STOMACH = 1.15, 2.6
_WIDEST_GAP = 4  # pixels between loops that a generous annotator closes
_DRAW_ORDER = (SMALL, LARGE, STOMACH)  # later ones lie in front
_CONTENT = (Tissue.LARGE_CONTENT, Tissue.SMALL_CONTENT, Tissue.STOMACH_CONTENT)
_MOST_GAS = (0.7, 0.5, 0.6)


@dataclass(frozen=True, slots=True)
class Scan:
    """Everything that is needed to draw a scan.

    Attributes:
        plan: the organs of each slice.
        body: the tissues around the organs.
        tubes: large bowel, small bowel, stomach.
        bend: two fields by which all shapes are distorted.
        soft: float32 (height, width), 0 to 1: strength of the distortion; low at the skin.
        slips: slice position -> kind of the annotator's error there.
        closing: widest gap between loops of small bowel that is annotated too, pixels.
        touch: field; where it is high, neighboring organs overlap by a pixel.
        scanner: turns tissues into an image.
    """

    plan: ScanPlan
    body: Body
    tubes: tuple[Tube, Tube, Tube]
    bend: tuple[Field, Field]
    soft: np.ndarray
    slips: dict[int, str]
    closing: int
    touch: Field
    scanner: Scanner

    @classmethod
    def drawn(cls, plan: ScanPlan, seed: int) -> Scan:
        """The scan of a plan; depends on the seed, the case, the day and the plan alone."""
        case_rng = generator(seed, "anatomy", plan.case)
        rng = generator(seed, "anatomy", plan.case, plan.day)
        habitus, inner = Habitus.drawn(case_rng), Inner.drawn(case_rng)
        frame = Frame.drawn(plan, habitus, rng)
        large = organ_paths.large_bowel(case_rng, rng)
        small = organ_paths.small_bowel(case_rng, rng)
        stomach = organ_paths.stomach(rng)
        gases = rng.uniform(0, _MOST_GAS) ** 1.3
        paths = zip((large, small, stomach), plan.ranges, gases.tolist(), strict=True)
        over = rng.uniform(0.45, 0.8)  # both bowels continue below the annotated slices
        reach = ((0.05, over), (0.02, over), (0.0, 0.0))
        tubes = [
            _tube(
                frame, plan, path, _extended(ends, more), organ_paths.gas_along(rng, len(path), gas)
            )
            for (path, ends, gas), more in zip(paths, reach, strict=True)
        ]
        depth_mm = plan.n_slices * plan.slice_spacing_mm
        coarse = (depth_mm / 25, plan.height / 34, plan.width / 34)
        return cls(
            plan=plan,
            body=Body(frame, inner),
            tubes=(tubes[0], tubes[1], tubes[2]),
            bend=(Field.drawn(rng, *coarse), Field.drawn(rng, *coarse)),
            soft=_soft(frame),
            slips=slip_positions(plan, tubes),
            closing=int(rng.integers(0, _WIDEST_GAP + 1)),
            touch=Field.drawn(rng, depth_mm / 9, 9, 9),
            scanner=Scanner.drawn(plan, frame, rng),
        )

    def slices(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Image, uint16 (height, width), and masks, bool (3, height, width), slice by slice.

        Raises:
            DataError: a mask that the plan wants is empty, or the other way round.
        """
        present = self.plan.present()
        for position in range(self.plan.n_slices):
            masks, tissues = self._slice(position, present[:, position])
            if position in self.slips:
                masks = slipped(masks, self.slips[position])
            held = masks.any(axis=(1, 2))
            if (held != present[:, position]).any():
                where = f"phantom {self.plan.name} slice {position + 1}"
                raise DataError(where, f"organs {present[:, position]}", held, "report this")
            yield self.scanner.image(tissues, position), masks

    def _slice(self, position: int, present: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Masks, bool (3, height, width), and tissues, uint8 (height, width)."""
        shape = (self.plan.height, self.plan.width)
        frame = self.body.frame
        cavity = np.zeros(shape, dtype=np.uint8)
        fill(cavity, frame.wall(frame.level(position), 0.90), 1)
        sections = [tube.cross_section(position, shape) & cavity for tube in self.tubes]
        for organ in np.flatnonzero(present).tolist():
            if int(sections[organ].sum()) < _FEWEST_PIXELS:
                sections[organ] |= self.tubes[organ].nearest_disc(position, shape, 4.0)
        masks = self._apart(sections, position, present)
        tissues = self.body.draw(position)
        for organ in _DRAW_ORDER:
            if masks[organ].any():
                self._draw_organ(tissues, organ, masks[organ], position)
        stack = self._bent(np.stack([tissues, *masks], axis=-1), position)
        tissues = np.ascontiguousarray(stack[..., 0])
        if self.closing:
            stack[..., 1 + SMALL] = _closed(stack[..., 1:], self.closing)
        bits = [_smoothed(stack[..., 1 + o]) if present[o] else None for o in range(3)]
        empty = np.zeros(shape, dtype=bool)
        return np.stack([empty if b is None else b for b in bits]), tissues

    def _apart(
        self, sections: list[np.ndarray], position: int, present: np.ndarray
    ) -> list[np.ndarray]:
        """Masks without overlaps, but for single pixels where ``touch`` is high."""
        large, small, stomach = sections[LARGE], sections[SMALL], sections[STOMACH]
        touch = self.touch.at(position / self.plan.n_slices, *large.shape)
        thin = cv2.erode(stomach, np.ones((3, 3), np.uint8))
        kept = np.where(touch < -_GENEROUS_STOMACH, thin, stomach)
        large = self._less(large, kept, position, bool(present[LARGE]))
        front = large | stomach
        generous = touch > _GENEROUS
        front = np.where(generous, cv2.erode(front, np.ones((3, 3), np.uint8)), front)
        return [large, self._less(small, front, position, bool(present[SMALL])), stomach]

    def _less(self, mask: np.ndarray, other: np.ndarray, position: int, needed: bool) -> np.ndarray:
        """The mask without the other; a spot beside it if nothing of a needed mask is left."""
        left: np.ndarray = mask & (1 - other)
        if not needed or int(left.sum()) >= _FEWEST_PIXELS:
            return left
        room = np.zeros_like(mask)
        fill(room, self.body.frame.wall(self.body.frame.level(position), 0.82), 1)
        free = cv2.erode(room & (1 - other), np.ones((9, 9), np.uint8))
        rows, columns = np.nonzero(free)
        if not len(rows):
            return mask
        y, x = (c.mean() for c in np.nonzero(mask))
        nearest = int(np.argmin((rows - y) ** 2 + (columns - x) ** 2))
        cv2.circle(left, (int(columns[nearest]), int(rows[nearest])), 4, 1, -1)
        return left

    def _draw_organ(self, tissues: np.ndarray, organ: int, mask: np.ndarray, position: int) -> None:
        """Wall, contents and gas of one organ."""
        lumen = cv2.erode(mask, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5)))
        gas = self.tubes[organ].gas_section(position, mask.shape)
        tissues[mask > 0] = Tissue.WALL
        tissues[lumen > 0] = _CONTENT[organ]
        tissues[(lumen & gas) > 0] = Tissue.GAS

    def _bent(self, stack: np.ndarray, position: int) -> np.ndarray:
        """Tissues and masks after the same distortion, uint8 (height, width, 4)."""
        height, width = self.plan.height, self.plan.width
        fraction = position / self.plan.n_slices
        amplitude = np.float32(2.2 * height / 266)
        maps = [amplitude * f.at(fraction, height, width) * self.soft for f in self.bend]
        maps[0] += np.arange(width, dtype=np.float32)[None, :]
        maps[1] += np.arange(height, dtype=np.float32)[:, None]
        return cv2.remap(stack, maps[0], maps[1], cv2.INTER_NEAREST, borderValue=0)


def _soft(frame: Frame) -> np.ndarray:
    """1 in the middle of the body, 0.25 outside, float32 (height, width)."""
    inside = np.zeros((frame.height, frame.width), dtype=np.float32)
    fill(inside, frame.wall(0.5, 0.88), 1)
    return np.float32(0.25) + np.float32(0.75) * cv2.blur(inside, (15, 15))


def _extended(ends: tuple[int, int], more: tuple[float, float]) -> tuple[float, float]:
    """A range that reaches further by shares of its length."""
    length = ends[1] - ends[0]
    return ends[0] - more[0] * length, ends[1] + more[1] * length


def _tube(
    frame: Frame, plan: ScanPlan, path: np.ndarray, ends: tuple[float, float], gas: np.ndarray
) -> Tube:
    """A path in body coordinates as a tube in pixels and slices."""
    radius = np.maximum(path[:, 3] * frame.half_height, 3.0)
    depth = radius * plan.spacing_mm / plan.slice_spacing_mm
    z, depth = fitted(path[:, 2], depth, *ends)
    center = np.column_stack([frame.pixels(path[:, 0], path[:, 1]), z])
    return Tube(center, radius, depth, gas)


def _smoothed(mask: np.ndarray) -> np.ndarray:
    """The outline as an annotator would draw it, bool; never empty if the mask is not."""
    soft = cv2.GaussianBlur(mask * np.uint8(255), (0, 0), 1.2)
    smooth: np.ndarray = soft > 127
    smooth[[0, -1], :] = False
    smooth[:, [0, -1]] = False
    return smooth if smooth.any() else mask > 0


def _closed(masks: np.ndarray, pixels: int) -> np.ndarray:
    """Small bowel with the gaps between its loops, where no other organ lies, uint8 0 or 1."""
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * pixels + 1, 2 * pixels + 1))
    small = np.ascontiguousarray(masks[..., SMALL])
    closed = cv2.morphologyEx(small, cv2.MORPH_CLOSE, disc)
    free = 1 - (masks[..., LARGE] | masks[..., STOMACH])
    result: np.ndarray = small | (closed & free)
    return result
