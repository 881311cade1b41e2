"""Out-of-fold probabilities of a trial: writing and reading ``oof.npz``.

One compressed array a scan, uint8 (organs, slices, size, size), at network size; 255 is
probability 1. Probabilities under 2 % are stored as 0: they are most of the volume, and averaged
over members they never reach a threshold.
"""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from gitract_core.errors import RunError, suggestion
from gitract_core.files.atomic import replacing

SMALLEST = 5  # 2 % of 255
_MOST_BYTES = 2**31  # of one scan: 3 organs, 1,000 slices of 800 x 800


def to_bytes(probabilities: np.ndarray) -> np.ndarray:
    """Quantize probabilities, float in 0..1, to uint8.

    >>> to_bytes(np.array([0.0, 0.01, 0.5, 1.0])).tolist()
    [0, 0, 128, 255]
    """
    values = np.round(np.asarray(probabilities, dtype=np.float32) * 255).astype(np.uint8)
    values[values < SMALLEST] = 0
    return values


def write_oof(path: Path, scans: Mapping[str, np.ndarray]) -> None:
    """Write quantized probabilities by scan, atomically."""
    with replacing(path) as part, part.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **dict(scans))


class OofStore(Mapping[str, np.ndarray]):
    """Probabilities by scan, uint8 (organs, slices, size, size), read when asked for.

    Raises:
        RunError: unreadable, or without that scan.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with self._reading() as store:
            self._scans = tuple(store.files)

    def __getitem__(self, scan: str) -> np.ndarray:
        if scan not in self._scans:
            remedy = suggestion(scan, self._scans)
            raise RunError(self.path, "a scan of the fold", scan, remedy)
        with self._reading() as store:
            self._check_claim(scan)
            values: np.ndarray = store[scan]
        return values

    def _check_claim(self, scan: str) -> None:
        """Look at an array's header before memory is taken for what it claims."""
        with zipfile.ZipFile(self.path) as archive, archive.open(f"{scan}.npy") as member:
            np.lib.format.read_magic(member)
            shape, _, dtype = np.lib.format.read_array_header_1_0(member)
        fits = len(shape) == 4 and min(shape) > 0 and math.prod(shape) <= _MOST_BYTES
        if not fits or dtype != np.uint8:
            expected, got = "uint8 (organs, slices, size, size)", f"{dtype} {shape}"
            raise RunError(self.path, expected, got, "run the trial again")

    def __iter__(self) -> Iterator[str]:
        return iter(self._scans)

    def __len__(self) -> int:
        return len(self._scans)

    @contextmanager
    def _reading(self) -> Iterator[Any]:
        try:
            # Opened here: of a damaged file NumPy leaves its own handle open.
            with self.path.open("rb") as file, np.load(file, allow_pickle=False) as store:
                yield store
        except FileNotFoundError:
            remedy = "gitract-cv audit or ensemble predicts them anew"
            raise RunError(self.path, "out-of-fold probabilities", "none", remedy) from None
        except (OSError, ValueError, zipfile.BadZipFile, zlib.error, EOFError) as error:
            remedy = "remove this file; it is predicted anew from the weights"
            raise RunError(self.path, "out-of-fold probabilities", error, remedy) from None


def read_oof(path: Path, scan: str) -> np.ndarray:
    """One scan's probabilities, uint8 (organs, slices, size, size)."""
    return OofStore(path)[scan]
