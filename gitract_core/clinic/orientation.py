"""How a file's array lies in the patient, and the turn from there to the axes of networks.

The turn permutes and mirrors axes and nothing else; it has an exact inverse.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np
from nibabel.affines import apply_affine, voxel_sizes
from nibabel.orientations import (
    apply_orientation,
    axcodes2ornt,
    inv_ornt_aff,
    io_orientation,
    ornt_transform,
)

from gitract_core.errors import DataError

_AXES = ("I", "P", "L")  # where indices rise to: feet, back, the patient's left
_SHEARED_MM = 0.5
_SMALLEST_SINE = 0.5  # of the angles between the array's axes: below, the box is no box


@dataclass(frozen=True)
class Placing:
    """Where the voxels of a file's array are.

    Attributes:
        shape: of the file's array, three lengths.
        affine: float (4, 4), from the array's indices to millimeters, RAS.
    """

    shape: tuple[int, int, int]
    affine: np.ndarray

    def __post_init__(self) -> None:
        axes = np.asarray(self.affine, dtype=np.float64)[:3, :3]
        sizes = np.prod(np.linalg.norm(axes, axis=0))
        if not np.isfinite(self.affine).all() or self.voxel_mm3 <= _SMALLEST_SINE * sizes:
            got = np.array2string(axes, precision=3, separator=",").replace("\n", "")
            remedy = "mend the file's orientation"
            raise DataError("affine", "three axes about at right angles", got, remedy)

    @property
    def voxel_mm3(self) -> float:
        """Volume of a voxel."""
        return float(abs(np.linalg.det(np.asarray(self.affine)[:3, :3])))

    @cached_property
    def shear_mm(self) -> float:
        """How far a box with right angles, as a NIfTI qform is, puts a corner beside its place."""
        axes = np.asarray(self.affine, dtype=np.float64)[:3, :3]
        sizes = np.linalg.norm(axes, axis=0)
        left, _, right = np.linalg.svd(axes / sizes)  # the nearest rotation, as nibabel takes it
        away = (axes - (left @ right) * sizes) @ np.diag(np.array(self.shape) - 1)
        corners = np.array(list(product((0, 1), repeat=3))) @ away.T
        return float(np.linalg.norm(corners, axis=1).max())

    @property
    def is_sheared(self) -> bool:
        """Whether the axes are too far from right angles for a qform."""
        return self.shear_mm > _SHEARED_MM

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of masks should know of the box, a line each."""
        if not self.is_sheared:
            return ()
        said = f"its slices are shifted against each other, {self.shear_mm:.1f} mm beside a box "
        return (said + "with right angles; NIfTI masks have an sform and no qform",)

    @cached_property
    def _turn(self) -> np.ndarray:
        turn: np.ndarray = ornt_transform(io_orientation(self.affine), axcodes2ornt(_AXES))
        return turn

    @cached_property
    def _turned_affine(self) -> np.ndarray:
        """From turned indices (slice, row, column) to millimeters, RAS."""
        turned: np.ndarray = self.affine @ inv_ornt_aff(self._turn, self.shape)
        return turned

    @property
    def turned_corners_mm(self) -> np.ndarray:
        """Where the corner voxels are after the turn, RAS, float (8, 3).

        Equal for files that hold the same voxels, in whatever order.
        """
        corners = np.array([*np.ndindex(2, 2, 2)]) * (np.array(self.turned_shape) - 1)
        return np.asarray(apply_affine(self._turned_affine, corners))

    @property
    def turned_shape(self) -> tuple[int, int, int]:
        """Slices, height and width after the turn."""
        lengths = [0, 0, 0]
        for length, place in zip(self.shape, self._turn[:, 0], strict=True):
            lengths[int(place)] = length
        return lengths[0], lengths[1], lengths[2]

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance of neighbors along slices, rows (y) and columns (x), after the turn."""
        slices, rows, columns = voxel_sizes(self._turned_affine)
        return float(slices), float(rows), float(columns)

    def turned(self, array: np.ndarray) -> np.ndarray:
        """The file's array as networks see scans: (slices, height, width)."""
        return np.ascontiguousarray(apply_orientation(array, self._turn))

    def turned_back(self, mask: np.ndarray) -> np.ndarray:
        """A mask (slices, height, width) in the axes of the file's array."""
        back = ornt_transform(axcodes2ornt(_AXES), io_orientation(self.affine))
        return np.ascontiguousarray(apply_orientation(mask, back))
