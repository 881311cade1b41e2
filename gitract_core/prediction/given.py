"""Another tool's predictions inside an ensemble: of some scans, and of no others."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TypedDict

import numpy as np

from gitract_core.errors import DataError, RunError
from gitract_core.files.digests import file_sha256
from gitract_core.files.json_shapes import Meta
from gitract_core.prediction.probabilities import OofStore


@dataclass(frozen=True)
class Given:
    """Another tool's predictions inside an ensemble: of some scans, and of no others.

    Attributes:
        name: what it is called in the run.
        file: quantized probabilities by scan (``OofStore``), relative to the manifest's directory.
        sha256: of that file.
        weight: share in the average.
    """

    name: str
    file: str
    sha256: str
    weight: float

    def opened(self, directory: Path) -> OofStore:
        """The predictions.

        Args:
            directory: of the manifest.

        Raises:
            RunError: missing, or changed since the manifest was written.
        """
        file = directory / self.file
        found = file_sha256(file)
        if found != self.sha256:
            expected, got = f"SHA-256 {self.sha256[:12]}...", f"{found[:12]}..."
            raise RunError(file, expected, got, "make the ensemble anew")
        return OofStore(file)

    def said(self, store: OofStore, scan: str, shape: tuple[int, int]) -> np.ndarray:
        """What it said of a scan, uint8 (organs, slices, size, size).

        Args:
            store: as ``opened`` gave it.
            scan: its name.
            shape: number of organs and of slices.

        Raises:
            DataError: it did not predict the scan, or as another one.
        """
        if scan not in set(store):
            remedy = f"add its prediction of this scan with --replace, or leave {self.name} out"
            raise DataError(f"scan {scan}", f"one that {self.name} predicted", "none", remedy)
        values = store[scan]
        if values.shape[:2] != shape:
            expected, got = f"(organs, slices) {shape}", values.shape[:2]
            raise DataError(store.path, expected, got, "add its predictions anew")
        return values


class GivenShape(TypedDict):
    """A ``Given`` in JSON."""

    name: Annotated[str, Meta(max_length=64)]
    file: Annotated[str, Meta(pattern=r"^[^/\0][^\0]*\.npz$")]
    sha256: str
    weight: Annotated[float, Meta(gt=0, le=1)]
