"""A scan of the contest's layout as other layouts need it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from gitract_core.clinic.orientation import Placing
from gitract_core.clinic.scan import Scan
from gitract_core.data.slices import SliceIndex
from gitract_core.data.volumes import load_scan
from gitract_core.organs import CONTEST, Organs


@dataclass(frozen=True)
class DrawnScan:
    """One scan.

    Attributes:
        scan: images, uint16 (slices, height, width), and where they lie: about the origin, from
            the patient's right, front and head on.
        masks: boolean (organs, slices, height, width).
        organs: of the masks.
        patient: whose scan it is.
        held_out: whether it is for testing.
    """

    scan: Scan
    masks: np.ndarray
    organs: Organs
    patient: str
    held_out: bool

    @property
    def name(self) -> str:
        """Of the scan."""
        return self.scan.name


@dataclass(frozen=True)
class Drawing:
    """A phantom in the contest's layout.

    Attributes:
        train, test: its scans by name.
    """

    train: SliceIndex
    test: SliceIndex | None

    @classmethod
    def of(cls, root: Path) -> Drawing:
        """The one in a folder."""
        if not any((root / "test").iterdir()):
            return cls(SliceIndex.from_directory(root), None)
        bare = SliceIndex.from_directory(root / "test")
        truth = pd.read_csv(root / "test_truth.csv", keep_default_na=False)
        table = truth.pivot(index="id", columns="class", values="segmentation")
        masks = {organ: table[organ].loc[list(bare.table["id"])].to_numpy() for organ in CONTEST}
        return cls(
            SliceIndex.from_directory(root), SliceIndex(bare.root, bare.table.assign(**masks))
        )

    def scans(self) -> Iterator[Callable[[], DrawnScan]]:
        """What reads each scan, those held out last."""
        for scan in self.train.scans:
            yield partial(drawn_scan, self.train, scan, held_out=False)
        if self.test is not None:
            for scan in self.test.scans:
                yield partial(drawn_scan, self.test, scan, held_out=True)


def drawn_scan(index: SliceIndex, name: str, *, held_out: bool) -> DrawnScan:
    """A scan of a phantom in the contest's layout.

    Raises:
        DataError: as ``load_scan``.
    """
    volume = load_scan(index, name)
    assert volume.masks is not None
    slices, height, width = volume.images.shape
    steps = np.array(volume.spacing_mm[::-1])  # along x, y, z
    affine = np.diag([*-steps, 1.0])
    shape = (width, height, slices)
    affine[:3, 3] = np.round(steps * (np.array(shape) - 1) / 2, 3)  # DICOM writes decimals
    scan = Scan(name, volume.images, Placing(shape, affine))
    patient = str(index.rows_of_scan(name)["case"].iloc[0])
    return DrawnScan(scan, volume.masks, index.organs, patient, held_out)
