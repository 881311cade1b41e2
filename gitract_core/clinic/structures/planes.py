"""Where the images of a series are in the patient, and where points are in its images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
from pydicom.dataset import Dataset

from gitract_core.clinic.series import Series, axes_mm, position


@dataclass(frozen=True)
class Planes:
    """The images of a series, in its order.

    Attributes:
        series: SeriesInstanceUID.
        frame_of_reference: FrameOfReferenceUID, empty where there is none.
        images: place of each image by its SOPInstanceUID and number of frame (0: the file's only).
        origins: float (images, 3), centers of the first pixels, millimeters, LPS.
        axes: float (2, 3), steps to the next row and to the next column, millimeters, LPS.
        shape: rows and columns.
    """

    series: str
    frame_of_reference: str
    images: Mapping[tuple[str, int], int]
    origins: np.ndarray
    axes: np.ndarray
    shape: tuple[int, int]

    @classmethod
    def of(cls, series: Series) -> Self:
        """Those of a series."""
        first = series.headers[0]
        return cls(
            str(first.SeriesInstanceUID),
            str(first.get("FrameOfReferenceUID") or ""),
            {image_of(header): place for place, header in enumerate(series.headers)},
            np.stack([position(header) for header in series.headers]),
            np.stack(axes_mm(first)),
            (series.shape[1], series.shape[2]),
        )

    @cached_property
    def depths(self) -> np.ndarray:
        """Of each image along the normal, float (images,), millimeters, rising."""
        depths: np.ndarray = self.origins @ self._normal
        return depths

    @property
    def distance_mm(self) -> float:
        """Of neighboring images."""
        return float(np.median(np.diff(self.depths)))

    def depth_of(self, points: np.ndarray) -> np.ndarray:
        """Depths of points, (points, 3) in millimeters, LPS."""
        depths: np.ndarray = points @ self._normal
        return depths

    def nearest(self, depth: float) -> int:
        """Place of the image that is nearest to a depth."""
        return int(np.abs(self.depths - depth).argmin())

    def pixels(self, points: np.ndarray, place: int) -> np.ndarray:
        """Rows and columns in an image, float (points, 2), of points in millimeters, LPS."""
        offsets = points - self.origins[place]
        # elementwise, as equal points must give equal pixels to the last bit
        found = [(offsets * axis).sum(axis=1) / (axis * axis).sum() for axis in self.axes]
        return np.stack(found, axis=1)

    @cached_property
    def _normal(self) -> np.ndarray:
        down, along = self.axes
        normal = np.cross(along, down)
        return np.asarray(normal / np.linalg.norm(normal))


def image_of(header: Dataset, name: str = "SOPInstanceUID") -> tuple[str, int]:
    """What an image is called: by its own header, or by a reference to it."""
    return str(header.get(name) or ""), int(header.get("ReferencedFrameNumber") or 0)
