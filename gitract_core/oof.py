"""Out-of-fold probabilities: what a trial said of the slices it did not learn from.

One compressed array a scan, uint8 (organs, slices, size, size), at network size; 255 is
probability 1. Probabilities under 2 % are stored as 0: they are most of the volume, and averaged
over members they never reach a threshold.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from gitract_core.errors import RunError, suggestion
from gitract_core.files import replacing

_SMALLEST = 5  # 2 % of 255


def to_bytes(probabilities: np.ndarray) -> np.ndarray:
    """Quantize probabilities, float in 0..1, to uint8.

    >>> to_bytes(np.array([0.0, 0.01, 0.5, 1.0])).tolist()
    [0, 0, 128, 255]
    """
    values = np.round(np.asarray(probabilities, dtype=np.float32) * 255).astype(np.uint8)
    values[values < _SMALLEST] = 0
    return values


def write_oof(path: Path, scans: Mapping[str, np.ndarray]) -> None:
    """Write quantized probabilities by scan, atomically."""
    with replacing(path) as part, part.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **dict(scans))


def read_oof(path: Path, scan: str) -> np.ndarray:
    """One scan's probabilities, uint8 (organs, slices, size, size).

    Raises:
        RunError: unreadable, or without that scan.
    """
    try:
        with np.load(path, allow_pickle=False) as store:
            if scan not in store.files:
                raise RunError(path, "a scan of the fold", scan, suggestion(scan, store.files))
            values: np.ndarray = store[scan]
    except (OSError, ValueError, zipfile.BadZipFile, EOFError) as error:
        remedy = "remove the trial's directory and run the sweep again"
        raise RunError(path, "out-of-fold probabilities", error, remedy) from None
    if values.ndim != 4 or values.dtype != np.uint8:
        got = f"{values.dtype} {values.shape}"
        raise RunError(path, "uint8 (organs, slices, size, size)", got, "run the trial again")
    return values
