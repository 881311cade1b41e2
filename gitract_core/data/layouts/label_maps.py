"""Masks of a scan's organs from label maps and mask files, and what of them is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from nibabel.affines import apply_affine

from gitract_core.clinic.nifti import read_volume
from gitract_core.clinic.orientation import Placing
from gitract_core.data import rle
from gitract_core.data.layouts.description import Annotated
from gitract_core.data.native import along
from gitract_core.errors import DataError

SAME_MM = 0.1  # by which a corner of label and image may lie apart
_MOST_NAMED = 5


@dataclass(frozen=True)
class ScanMasks:
    """The annotation of one scan.

    Attributes:
        texts: run-length text of each slice and organ, object (slices, organs).
        known: boolean (slices, organs).
    """

    texts: np.ndarray
    known: np.ndarray

    @classmethod
    def of(cls, masks: np.ndarray, named: Sequence[bool], annotated: Annotated) -> ScanMasks:
        """From masks, and a rule what the absence of an organ means.

        Args:
            masks: boolean (organs, slices, height, width).
            named: of each organ, whether the scan's annotation names it.
            annotated: the rule.
        """
        texts = [texts_of(organ) for organ in masks]
        table = np.array(texts, dtype=object).reshape(masks.shape[:2]).T
        return cls.of_texts(table, named, annotated)

    @classmethod
    def of_texts(cls, table: np.ndarray, named: Sequence[bool], annotated: Annotated) -> ScanMasks:
        """As ``of``, from the run-length texts of masks, object (slices, organs)."""
        known = np.ones(table.shape, np.bool_)
        if annotated != "all":
            known &= np.array(named, np.bool_)
        if annotated == "slices":
            known &= (table != "").any(axis=1, keepdims=True)
        return cls(table, known)


def texts_of(organ: np.ndarray) -> list[str]:
    """Run-length text of each slice of a mask, boolean (slices, height, width)."""
    return [rle.encode(mask) if mask.any() else "" for mask in organ]


@dataclass(frozen=True)
class Labels:
    """How a label map is read.

    Attributes:
        values: organ -> label values that it covers; they may overlap, as regions do.
        ignore: the value of voxels that nobody looked at, or None.
        background: values that are of no organ, 0 among them.
    """

    values: Mapping[str, tuple[int, ...]]
    ignore: int | None = None
    background: tuple[int, ...] = (0,)

    def masks(self, file: Path, labels: np.ndarray) -> np.ndarray:
        """Boolean (organs, slices, height, width).

        Args:
            file: named in errors.
            labels: (slices, height, width).

        Raises:
            DataError: values that no organ has.
        """
        known = {*self.background, *(v for values in self.values.values() for v in values)}
        known |= set() if self.ignore is None else {self.ignore}
        found, times = np.unique(labels, return_counts=True)
        strange = [(int(v), int(n)) for v, n in zip(found, times, strict=True) if v not in known]
        if strange:
            some = ", ".join(f"{v} ({n} voxels)" for v, n in strange[:_MOST_NAMED])
            expected = f"label values {', '.join(map(str, sorted(known)))}"
            remedy = "name an organ for the others, or list them in dataset.yaml under background"
            raise DataError(file, expected, some, remedy)
        return np.stack([np.isin(labels, values) for values in self.values.values()])

    def scan(self, file: Path, labels: np.ndarray, annotated: Annotated) -> ScanMasks:
        """The annotation in a label map; a slice with a voxel to ignore is not known.

        Raises:
            DataError: as ``masks``.
        """
        masks = self.masks(file, labels)
        found = ScanMasks.of(masks, [bool(organ.any()) for organ in masks], annotated)
        if self.ignore is None:
            return found
        ignored = (labels == self.ignore).any(axis=(1, 2))
        known = found.known & ~ignored[:, None]
        return ScanMasks(np.where(known, found.texts, ""), known)


def read_labels(file: Path, image: Placing | None, axis: str) -> np.ndarray:
    """A label map or a mask, integers (slices, height, width), in the axes of its image.

    Args:
        file: NIfTI.
        image: where the image's voxels are; None where that is not known.
        axis: along which slices lie, one of ``native.AXES``.

    Raises:
        DataError: damaged, another geometry than the image's, or values that are not whole.
    """
    labels = read_volume(file)
    if image is not None:
        check_alike(file, labels.placing, image)
    values = labels.values
    if values.dtype.kind not in "iu":
        whole = np.isfinite(values).all() and bool((values == np.rint(values)).all())
        if not whole:
            expected = "whole numbers, a label each"
            raise DataError(file, expected, f"{values.dtype} with fractions", "export the labels")
        values = values.astype(np.int64)
    return along(values, axis)


def check_alike(file: Path, labels: Placing, image: Placing) -> None:
    """Raise a ``DataError`` unless two volumes lie at the same place, voxel by voxel."""
    if labels.turned_shape != image.turned_shape or labels.shape != image.shape:
        remedy = "resample it to the image"
        raise DataError(file, f"the image's {image.shape} voxels", labels.shape, remedy)
    corners = np.array([*np.ndindex(2, 2, 2)]) * (np.array(image.shape) - 1)
    one, other = (apply_affine(placing.affine, corners) for placing in (labels, image))
    most = float(np.linalg.norm(one - other, axis=1).max())
    if most > SAME_MM:
        got = f"a corner {most:.1f} mm away from the image's"
        remedy = "give label and image one orientation and origin"
        raise DataError(file, "the image's place in space", got, remedy)
