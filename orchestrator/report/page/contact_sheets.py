"""Slices as pictures for the page: a sheet of gray tiles a scan, and masks as outlines."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from gitract_core.errors import DataError

MOST_PX = 160
"""Longer side of a tile."""

SHEETS_BYTES = 3_000_000
"""All sheets of a page together, as base64."""

QUALITIES = (85, 70, 50, 30, 10)
_TOLERANCES_PX = (0.6, 1.2, 2.5, 5.0, 10.0, 20.0)
_LONGEST_OUTLINES = 3_000  # characters a slice and organ, about 400 corners


@dataclass(frozen=True, eq=False)
class ScanSheet:
    """The tiles of a scan, side by side and in rows.

    Attributes:
        pixels: uint8 (rows * height, columns * width).
        height, width: of a tile, pixels.
        columns: tiles in a row.
    """

    pixels: np.ndarray
    height: int
    width: int
    columns: int

    @classmethod
    def of_slices(cls, slices: np.ndarray) -> ScanSheet:
        """Tiles of at most ``MOST_PX`` from gray slices, uint8 (slices, height, width)."""
        count, height, width = slices.shape
        scale = min(1.0, MOST_PX / max(height, width))
        size = (max(1, round(width * scale)), max(1, round(height * scale)))  # OpenCV: width first
        columns = math.isqrt(max(count - 1, 0)) + 1
        rows = -(-count // columns)
        pixels = np.zeros((rows * size[1], columns * size[0]), np.uint8)
        for place, image in enumerate(slices):
            y, x = (place // columns) * size[1], (place % columns) * size[0]
            tile = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
            pixels[y : y + size[1], x : x + size[0]] = tile
        return cls(pixels, size[1], size[0], columns)

    @property
    def layout(self) -> dict[str, int]:
        """Sizes of a tile and of the sheet in pixels, and tiles in a row, as JSON values."""
        height, width = self.pixels.shape
        return {
            "tile_width": self.width,
            "tile_height": self.height,
            "columns": self.columns,
            "width": width,
            "height": height,
        }

    def uri(self, quality: int) -> str:
        """The sheet as a ``data:`` address of a WebP image, quality 1 to 100."""
        done, content = cv2.imencode(".webp", self.pixels, [cv2.IMWRITE_WEBP_QUALITY, quality])
        if not done:
            raise DataError("sheet", "pixels that WebP can hold", self.pixels.shape, "show fewer")
        return f"data:image/webp;base64,{base64.b64encode(bytes(content)).decode()}"


def sheet_uris(sheets: Sequence[ScanSheet], most_bytes: int = SHEETS_BYTES) -> list[str]:
    """All sheets at the best of ``QUALITIES`` at which they fit, or else at the last one."""
    uris: list[str] = []
    for quality in QUALITIES:
        uris = [sheet.uri(quality) for sheet in sheets]
        if sum(map(len, uris)) <= most_bytes:
            break
    return uris


def outline_paths(masks: np.ndarray) -> list[str]:
    """Outlines of a slice's organs as SVG paths in pixels, to be filled by the even-odd rule.

    Corners lie in the centers of border pixels, and lines within 0.6 pixels of the border. Masks
    of several hundred corners are drawn coarser, so that the page stays small.

    Args:
        masks: boolean (organs, height, width).

    Returns:
        one path an organ; empty for an empty mask.
    """
    return [_outline(mask) if mask.any() else "" for mask in masks]


def _outline(mask: np.ndarray) -> str:
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    parts: list[str] = []
    for tolerance_px in _TOLERANCES_PX:
        parts = [_ring(contour, tolerance_px) for contour in contours]
        if sum(map(len, parts)) <= _LONGEST_OUTLINES:
            return "".join(parts)
    ends = np.cumsum([len(part) for part in sorted(parts, key=len, reverse=True)])
    kept = int(np.searchsorted(ends, _LONGEST_OUTLINES, side="right"))
    return "".join(sorted(parts, key=len, reverse=True)[:kept])


def _ring(contour: np.ndarray, tolerance_px: float) -> str:
    corners = cv2.approxPolyDP(contour, tolerance_px, closed=True)[:, 0]
    return "M" + "L".join(f"{x} {y}" for x, y in corners.tolist()) + "z"
