"""Out-of-fold probabilities of a trial: writing and reading ``oof.npz``.

One compressed array a scan, uint8 (organs, slices, size, size), at network size; 255 is
probability 1. Probabilities under 2 % are stored as 0: they are most of the volume, and averaged
over members they never reach a threshold.

The trial's result holds the digest of the file that the trial left. One that was predicted later
names, as the archive's comment, the weights that it was predicted from; its arrays have the
archive's own check sums.
"""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gitract_core.errors import RunError, suggestion
from gitract_core.files.atomic import replacing
from gitract_core.files.digests import Stamp
from gitract_core.results.trial_result import TrialFiles, TrialResult

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


@dataclass(frozen=True, slots=True)
class Origin:
    """What out-of-fold probabilities must come from.

    Attributes:
        stamp: of the file that the trial left; None where it left none, or does not say.
        weights: digest of the trial's weights; empty where the trial does not say.
        flip: averaged with those of mirrored slices.
    """

    stamp: Stamp | None = None
    weights: str = ""
    flip: bool = False

    @classmethod
    def of(cls, files: TrialFiles, result: TrialResult | None, *, flip: bool = False) -> Origin:
        """What a trial's result says of its probabilities."""
        if result is None:
            return cls(flip=flip)
        weights = result.stamp(files.best)
        left = None if flip else result.stamp(files.oof)
        return cls(left, weights.digest if weights else "", flip)

    @property
    def note(self) -> bytes:
        """The comment of a file that was predicted later."""
        return f"from weights {self.weights}{', flipped' if self.flip else ''}".encode()

    def check(self, path: Path) -> None:
        """Compare a file with it.

        Raises:
            RunError: the file comes from elsewhere, or was changed.
        """
        remedy = "remove this file; it is predicted anew from the weights"
        if not (self.stamp or self.weights):
            return  # a trial of an earlier version
        with zipfile.ZipFile(path) as archive:
            made_later = bool(self.weights) and archive.comment == self.note
        if made_later:
            return
        if not self.stamp:
            expected = "probabilities from this trial's weights"
            raise RunError(path, expected, "others, or changed ones", remedy)
        self.stamp.check(path, remedy)


def write_oof(path: Path, scans: Mapping[str, np.ndarray], origin: Origin | None = None) -> None:
    """Write quantized probabilities by scan, atomically.

    Args:
        path: the file.
        scans: uint8 (organs, slices, size, size) by name.
        origin: said in the file, if it is made after the trial was finished.
    """
    with replacing(path) as part:
        with part.open("wb") as file:
            np.savez_compressed(file, allow_pickle=False, **dict(scans))
        if origin:
            with zipfile.ZipFile(part, "a") as archive:
                archive.comment = origin.note


class OofStore(Mapping[str, np.ndarray]):
    """Probabilities by scan, uint8 (organs, slices, size, size), read when asked for.

    Args:
        path: the file.
        origin: what it must come from; compared once, here.

    Raises:
        RunError: unreadable, from elsewhere, or without that scan.
    """

    def __init__(self, path: Path, origin: Origin | None = None) -> None:
        self.path = path
        with self._reading() as store:
            self._scans = tuple(store.files)
            if origin:
                origin.check(path)

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
            with self.path.open("rb") as file:
                if not zipfile.is_zipfile(file):
                    raise zipfile.BadZipFile("no archive")
                file.seek(0)
                with np.load(file, allow_pickle=False) as store:
                    yield store
        except FileNotFoundError:
            remedy = "gitract-cv audit or ensemble predicts them anew"
            raise RunError(self.path, "out-of-fold probabilities", "none", remedy) from None
        except (OSError, ValueError, zipfile.BadZipFile, zlib.error, EOFError) as error:
            remedy = "remove this file; it is predicted anew from the weights"
            raise RunError(self.path, "out-of-fold probabilities", error, remedy) from None


def read_oof(path: Path, scan: str, origin: Origin | None = None) -> np.ndarray:
    """One scan's probabilities, uint8 (organs, slices, size, size)."""
    return OofStore(path, origin)[scan]
