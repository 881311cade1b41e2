"""What every form of another tool's predictions has in common."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from gitract_core.data.native import resized
from gitract_core.data.slices import SliceIndex
from gitract_core.data.volumes import scan_size
from gitract_core.errors import DataError, suggestion
from gitract_core.prediction.probabilities import to_bytes


@dataclass(frozen=True)
class Predicted:
    """Masks by scan, read when asked for.

    Attributes:
        where: file or folder.
        form: of the predictions, in words.
        index: of the data set that they are of.
        scans: names of the scans that there are.
        read: gives the masks of a scan, boolean (organs, slices, height, width), of any shape yet.
        shares: likewise its probabilities, float32 in 0..1; None where there are masks alone.
    """

    where: Path
    form: str
    index: SliceIndex
    scans: frozenset[str]
    read: Callable[[str], np.ndarray]
    shares: Callable[[str], np.ndarray] | None = None

    def __post_init__(self) -> None:
        for scan in sorted(self.scans - set(self.index.scans)):
            raise strange_scan(self.where, scan, self.index)

    def masks(self, scan: str) -> np.ndarray:
        """The masks of a scan, boolean (organs, slices, height, width), as annotations are.

        Raises:
            DataError: damaged, or of another size.
        """
        masks = self.read(scan)
        expected = mask_shape(self.index, self.index.rows_of_scan(scan))
        if masks.shape != expected:
            where, remedy = f"{self.where}, {scan}", "predict at the scan's own size"
            raise DataError(
                where, f"(organs, slices, height, width) {expected}", masks.shape, remedy
            )
        return masks

    def at_network_size(self, scan: str, size: int) -> np.ndarray:
        """Quantized probabilities as trials keep them, uint8 (organs, slices, size, size).

        Masks count as probabilities of 0 and 1.

        Raises:
            DataError: as ``masks``.
        """
        values = self.masks(scan) if self.shares is None else self.shares(scan)
        planes = np.asarray(values, np.float32)
        return to_bytes(np.stack([resized(organ, size) for organ in planes]))


def mask_shape(index: SliceIndex, rows: pd.DataFrame) -> tuple[int, int, int, int]:
    """The shape of a scan's masks."""
    height, width = scan_size(rows)
    return len(index.organs), len(rows), height, width


def strange_scan(where: Path | str, name: str, index: SliceIndex) -> DataError:
    """The error of a prediction of a scan that the data set does not have."""
    expected = "predictions of the run's scans"
    return DataError(where, expected, name, f"{suggestion(name, index.scans)[:200]} or remove it")


def visible(folder: Path) -> Iterable[Path]:
    """The files of a folder but for hidden ones, by name."""
    return sorted(f for f in folder.iterdir() if f.is_file() and not f.name.startswith("."))
