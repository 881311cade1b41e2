"""A scan's annotation, kept small, to be compared with one prediction after another."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gitract_core.metrics.hausdorff import Boxed, Span, normalized_distance
from gitract_core.metrics.scan_score import ScanScore
from gitract_core.metrics.surfaces.distances import InMillimeters, ScanMillimeters


@dataclass(frozen=True)
class _Organ:
    """One organ's volume.

    Attributes:
        shape: of the volume.
        span: the box that holds everything; None if there is nothing.
        bits: what is in the box, eight voxels of a row a byte.
        pixels: of each slice.
        known: boolean (slices,), where the annotation is known; None where it is throughout.
    """

    shape: tuple[int, int, int]
    span: Span | None
    bits: NDArray[np.uint8]
    pixels: np.ndarray
    known: np.ndarray | None

    @classmethod
    def of(cls, mask: np.ndarray, known: np.ndarray | None) -> _Organ:
        seen = mask if known is None else mask & known[:, None, None]
        whole = Boxed.of(seen)
        return cls(whole.shape, whole.span, np.packbits(whole.held, -1), _pixels(seen), known)

    @property
    def box(self) -> Boxed:
        width = self.span[2].stop - self.span[2].start if self.span else 0
        held = np.unpackbits(self.bits, axis=-1, count=width).view(np.bool_)
        return Boxed(self.shape, self.span, held)

    @property
    def whole(self) -> bool:
        """Whether the annotation of every slice is known."""
        return self.known is None or bool(self.known.all())

    def measure(self, mask: np.ndarray, asked: InMillimeters) -> dict[str, float]:
        """What is asked for in millimeters."""
        if not self.whole:
            return asked.unknown()
        box, truth = self.box, np.zeros(self.shape, np.bool_)
        if box.span is not None:
            truth[box.span] = box.held
        return asked.of(mask, truth)

    def score(self, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
        """Shared pixels and predicted pixels of each slice, and the normalized distance."""
        if self.known is not None:
            mask = mask & self.known[:, None, None]
        truth, shared = self.box, np.zeros(len(mask), np.int64)
        if truth.span is not None:
            shared[truth.span[0]] = _pixels(mask[truth.span] & truth.held)
        distance = normalized_distance(Boxed.of(mask), truth) if self.whole else np.nan
        return shared, _pixels(mask), distance


@dataclass(frozen=True)
class ScanTruth:
    """A scan's annotation; ``score`` gives what ``score_scan`` gives, to the bit.

    What does not depend on the prediction is reckoned once, and the masks are kept as bits of
    their boxes: a twentieth of their size and less.
    """

    organs: tuple[_Organ, ...]
    known: np.ndarray | None

    @classmethod
    def of(cls, masks: np.ndarray, known: np.ndarray | None = None) -> ScanTruth:
        """Of a scan.

        Args:
            masks: boolean (organs, slices, height, width).
            known: as in ``score_scan``.
        """
        seen = [None] * len(masks) if known is None else list(known)
        return cls(tuple(map(_Organ.of, masks, seen)), known)

    def score(self, masks: Iterable[np.ndarray], in_mm: InMillimeters | None = None) -> ScanScore:
        """Count one prediction, a boolean (slices, height, width) an organ, one after another.

        Args:
            masks: the prediction.
            in_mm: what to measure in millimeters; nothing by default.
        """
        found, each = [], []
        for organ, mask in zip(self.organs, masks, strict=True):
            found.append(organ.score(mask))
            if in_mm is not None:
                each.append(organ.measure(mask, in_mm))
        shared, predicted, distances = zip(*found, strict=True)
        truth = np.stack([organ.pixels for organ in self.organs])
        measured = None
        if in_mm is not None:
            measured = ScanMillimeters.together(each, in_mm.diagonal(self.organs[0].shape))
        return ScanScore(
            np.stack(shared), np.stack(predicted), truth, np.array(distances), self.known, measured
        )


def _pixels(mask: np.ndarray) -> np.ndarray:
    """Pixels of each slice, int (slices,)."""
    return np.array([np.count_nonzero(plane) for plane in mask], np.int64)
