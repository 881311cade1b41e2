"""Distances between the surfaces of two masks, in millimeters.

Every element of one surface is measured to the nearest element of the other. The 95 % Hausdorff
distance is, of both directions the larger one, the distance within which 95 % of the surface's area
lie. Surface Dice at a tolerance is the share of the area of both surfaces that lies within it.
These are ``compute_robust_hausdorff`` and ``compute_surface_dice_at_tolerance`` of surface-distance
(see ``elements``); other tools leave areas out, and differ.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from gitract_core.metrics.surfaces.elements import SpacingMm, Surface

Floats = NDArray[np.float64]
_ROUNDING = 1e-9  # a distance of exactly the tolerance lies within it


@dataclass(frozen=True, eq=False)
class SurfaceDistances:
    """Two surfaces.

    Attributes:
        first, second: their elements; exchanging them changes no figure.
        spacing_mm: of the voxels.
    """

    first: Surface
    second: Surface
    spacing_mm: SpacingMm

    @classmethod
    def between(
        cls, first: np.ndarray, second: np.ndarray, spacing_mm: SpacingMm
    ) -> SurfaceDistances:
        """Of two masks, boolean (slices, height, width) of one shape."""
        a, b = (Surface.of(np.asarray(mask, np.bool_), spacing_mm) for mask in (first, second))
        return cls(a, b, spacing_mm)

    def hausdorff_mm(self, percent: float = 95.0) -> float:
        """The distance that so many percent of the surface's area do not exceed, both ways.

        Infinite where one mask is empty, NaN where both are.
        """
        there = [len(surface.places) > 0 for surface in (self.first, self.second)]
        if not all(there):
            return math.inf if any(there) else math.nan
        return max(_share(mm, areas, percent / 100) for mm, areas in self._ways)

    def surface_dice(self, tolerance_mm: float) -> float:
        """Share of area within the tolerance of the other surface, 0 to 1.

        0 where one mask is empty, NaN where both are.
        """
        within = total = 0.0
        most = tolerance_mm * (1 + _ROUNDING) + _ROUNDING
        for distances, areas in self._ways:
            within += float(areas[distances <= most].sum())
            total += float(areas.sum())
        return within / total if total else math.nan

    @cached_property
    def _ways(self) -> tuple[tuple[Floats, Floats], tuple[Floats, Floats]]:
        """Distance to the other surface and area of every element, of both surfaces."""
        a, b = self.first, self.second
        return (self._to(a, b), a.areas_mm2), (self._to(b, a), b.areas_mm2)

    def _to(self, source: Surface, target: Surface) -> Floats:
        """Distance of every element of ``source`` to the nearest of ``target``."""
        if not len(target.places):
            return np.full(len(source.places), math.inf)
        tree = KDTree(target.places * self.spacing_mm, balanced_tree=False, compact_nodes=False)
        nearest = tree.query(source.places * self.spacing_mm)[1]
        apart = (source.places - target.places[nearest]) * self.spacing_mm
        return np.asarray(np.sqrt(np.square(apart).sum(axis=1)))


def _share(distances: Floats, areas: Floats, share: float) -> float:
    """The least distance within which that share of the area lies."""
    order = np.argsort(distances, kind="stable")
    summed = np.cumsum(areas[order])
    place = int(np.searchsorted(summed / summed[-1], share))
    return float(distances[order[min(place, len(order) - 1)]])


@dataclass(frozen=True, slots=True)
class SurfaceMeasure:
    """One figure of a pair of masks.

    Attributes:
        key: what it is called in ``InMillimeters.of``.
        tolerance_mm: of surface Dice; None for the 95 % Hausdorff distance.
    """

    key: str
    tolerance_mm: float | None = None

    def of(self, distances: SurfaceDistances) -> float:
        """Millimeters of the Hausdorff distance, or surface Dice."""
        if self.tolerance_mm is None:
            return distances.hausdorff_mm(95.0)
        return distances.surface_dice(self.tolerance_mm)


@dataclass(frozen=True)
class InMillimeters:
    """What is measured of a scan in millimeters.

    Attributes:
        spacing_mm: of its voxels.
        measures: each with its own key.
    """

    spacing_mm: SpacingMm
    measures: Sequence[SurfaceMeasure]

    def of(self, prediction: np.ndarray, truth: np.ndarray) -> dict[str, float]:
        """The figures of one organ by key; masks are boolean (slices, height, width)."""
        distances = SurfaceDistances.between(prediction, truth, self.spacing_mm)
        return {measure.key: measure.of(distances) for measure in self.measures}

    def unknown(self) -> dict[str, float]:
        """As ``of``, of an organ whose annotation is not known: NaN throughout."""
        return {measure.key: math.nan for measure in self.measures}

    def diagonal(self, shape: Sequence[int]) -> float:
        """Length of a volume's diagonal, millimeters; its shape is (slices, height, width)."""
        return math.hypot(*(n * mm for n, mm in zip(shape, self.spacing_mm, strict=True)))


@dataclass(frozen=True, eq=False)
class ScanMillimeters:
    """What was measured of a scan.

    Attributes:
        values: by key one number an organ, float (organs,); NaN where there is nothing to count.
        diagonal: of the scan, millimeters.
    """

    values: Mapping[str, Floats]
    diagonal: float

    @classmethod
    def together(cls, organs: Sequence[Mapping[str, float]], diagonal: float) -> ScanMillimeters:
        """Of the figures organ by organ."""
        keys = organs[0] if organs else {}
        return cls({key: np.array([one[key] for one in organs]) for key in keys}, diagonal)
