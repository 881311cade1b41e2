"""From volumes, a file or folder a scan, to the rows of the slice index."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from gitract_core.clinic.orientation import Placing
from gitract_core.data.contents import MORE_COLUMNS
from gitract_core.data.contest.images import IMAGE_COLUMNS, in_order
from gitract_core.data.ids import natural_key
from gitract_core.data.layouts.label_maps import ScanMasks, check_alike
from gitract_core.data.native import AXES, axes_along
from gitract_core.errors import DataError, FaultyDataError
from gitract_core.files.digests import Stamp
from gitract_core.organs import Organs
from gitract_core.processors import usable_processors

_DIGITS = 4  # of millimeters: files hold 32 bits
Annotate = Callable[[Placing], ScanMasks]
"""Reads the masks of a scan, given where its voxels are."""


@dataclass(frozen=True)
class VolumeScan:
    """One scan.

    Attributes:
        name: of the scan.
        images: one file a channel; or the folder of a DICOM series, or one of its files.
        annotate: reads its masks; None without annotation, of which nothing is known then.
        files: by which its content is recognized, where they are not the images or those in their
            folder.
    """

    name: str
    images: tuple[Path, ...]
    annotate: Annotate | None = None
    files: tuple[Path, ...] = ()


@dataclass(frozen=True)
class VolumeSet:
    """Scans of one data set, and how they are read.

    Attributes:
        root: the data set's folder.
        scans: in any order.
        organs: None without annotation.
        axis: along which slices lie, one of ``native.AXES``.
        placing: reads where the voxels of an image are.
    """

    root: Path
    scans: Sequence[VolumeScan]
    organs: Organs | None
    axis: str
    placing: Callable[[Path], Placing]

    def table(self, patient: dict[str, str]) -> tuple[pd.DataFrame, np.ndarray | None]:
        """The rows of the slice index, and where the annotation is known; see ``Contents``.

        Args:
            patient: of each scan.

        Raises:
            FaultyDataError: every scan that cannot be read.
        """
        taken = set(self.organs or ()) & {*IMAGE_COLUMNS, *MORE_COLUMNS}
        if taken:
            expected, got = "another name of an organ", min(taken)
            raise DataError(self.root, expected, got, "rename it in dataset.yaml")
        scans = sorted(self.scans, key=lambda scan: natural_key(scan.name))
        with ThreadPoolExecutor(usable_processors()) as pool:
            found = list(pool.map(lambda scan: self._tried(scan, patient[scan.name]), scans))
        faults = [one for one in found if isinstance(one, DataError)]
        if faults:
            raise FaultyDataError(*faults)
        parts = [one for one in found if not isinstance(one, DataError)]
        table = pd.concat([rows for rows, _ in parts], ignore_index=True)
        if self.organs is None:
            return in_order(table), None
        known = np.concatenate([known for _, known in parts])
        return in_order(table), None if known.all() else known

    def _tried(self, scan: VolumeScan, patient: str) -> tuple[pd.DataFrame, np.ndarray] | DataError:
        try:
            return self._rows(scan, patient)
        except DataError as error:
            return error

    def _rows(self, scan: VolumeScan, patient: str) -> tuple[pd.DataFrame, np.ndarray]:
        first, *others = scan.images
        placing = self.placing(first)
        for file in others:
            check_alike(file, self.placing(file), placing)
        n_slices, height, width = axes_along(placing.turned_shape, self.axis)
        spacing_z, spacing_y, spacing_x = axes_along(placing.spacing_mm, self.axis)
        paths = "\n".join(str(file.relative_to(self.root)) for file in scan.images)
        numbers = np.arange(1, n_slices + 1)
        rows = pd.DataFrame(
            {
                "id": [f"{scan.name}_slice_{number:04d}" for number in numbers],
                "case": patient,
                "slice": numbers,
                "scan": scan.name,
                "path": paths,
                "height": height,
                "width": width,
                "spacing_x_mm": round(spacing_x, _DIGITS),
                "spacing_y_mm": round(spacing_y, _DIGITS),
                "checksum": _checksum(scan.files or scan.images),
                "spacing_z_mm": round(spacing_z, _DIGITS),
            }
        )
        if self.axis != AXES[0]:
            rows["axis"] = self.axis
        known: np.ndarray = np.zeros((n_slices, len(self.organs or ())), np.bool_)
        if self.organs is None:
            return rows, known
        texts: np.ndarray = np.full(known.shape, "", dtype=object)
        if scan.annotate is not None:
            masks = scan.annotate(placing)
            texts, known = masks.texts, masks.known
        return rows.assign(**dict(zip(self.organs, texts.T, strict=True))), known


def _checksum(images: Iterable[Path]) -> str:
    files = [f for i in images for f in (sorted(i.iterdir()) if i.is_dir() else [i])]
    return " ".join(Stamp.of(file).digest for file in files if file.is_file())
