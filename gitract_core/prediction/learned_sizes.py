"""Sizes of the images that networks learned from; scans far from them are doubted."""

from __future__ import annotations

from dataclasses import dataclass

from gitract_core.data.slices import SLICE_THICKNESS_MM


@dataclass(frozen=True, slots=True)
class Learned:
    """Sizes of the images that networks learned from; by default the contest's.

    Attributes:
        pixel_mm: side of a pixel.
        slice_mm: distance of slices.
        field_mm: side of the field of view; 266 pixels of 1.5 mm in two thirds of the contest.
    """

    pixel_mm: float = 1.5
    slice_mm: float = SLICE_THICKNESS_MM
    field_mm: float = 400.0


CONTEST_SIZES = Learned()
