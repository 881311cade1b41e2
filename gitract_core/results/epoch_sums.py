"""What each epoch's weights score on the held-out fold: ``epochs.npz``.

From the sums of every epoch follows what the trial would score had it kept another one; which one
the curves of the other folds say (``orchestrator.results.epoch_choice``).
"""

from __future__ import annotations

import io
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gitract_core.errors import RunError
from gitract_core.files.atomic import read_bytes, replacing
from gitract_core.files.digests import Stamp
from gitract_core.metrics.score import COMPETITION

_REMEDY = "remove the file; the cross-fitted score is then not known"
_MOST_BYTES = 2**28  # of an array: 10,000 epochs of 85 cases and 40 organs


@dataclass(frozen=True, eq=False)
class EpochSums:
    """Sums and counts of every epoch, by case and organ, at native size.

    Attributes:
        cases: of the held-out fold.
        monitored: what early stopping maximized in each epoch, float (epochs,): the negative loss,
            or Dice; minus infinity where there was none.
        sums: float64 (epochs, cases, organs, columns), the last axis as in
            ``metrics.score.COMPETITION.columns``.

    Raises:
        RunError: shapes that do not match, or sums that are none.
    """

    cases: tuple[str, ...]
    monitored: np.ndarray
    sums: np.ndarray

    def __post_init__(self) -> None:
        columns = len(COMPETITION.columns)
        expected = (len(self.monitored), len(self.cases), *self.sums.shape[2:3], columns)
        if self.sums.shape != expected or len(self.monitored) == 0:
            raise RunError("EpochSums", f"sums of {expected}", self.sums.shape, "score them anew")
        sums, counts = self.sums[..., ::2], self.sums[..., 1::2]
        if not ((sums >= 0) & (sums <= counts + 1e-6) & (counts < 1e9)).all():
            raise RunError("EpochSums", "sums from 0 to their counts", "others", "score them anew")

    def of(self, epoch: int) -> dict[str, dict[str, list[float]]]:
        """The sums of one epoch, from 1, as ``per_case`` of ``result.json`` has them."""
        return {
            case: dict(zip(COMPETITION.columns, by_organ.T.tolist(), strict=True))
            for case, by_organ in zip(self.cases, self.sums[epoch - 1], strict=True)
        }

    def save(self, path: Path) -> None:
        """Write ``epochs.npz``, atomically."""
        arrays = {"cases": np.array(self.cases), "monitored": self.monitored, "sums": self.sums}
        with replacing(path) as part, part.open("wb") as file:
            np.savez_compressed(file, allow_pickle=False, **arrays)

    @classmethod
    def load(cls, path: Path, stamp: Stamp | None = None) -> EpochSums:
        """Read ``epochs.npz``.

        Args:
            path: the file.
            stamp: what the trial's result says of it.

        Raises:
            RunError: missing, unreadable, not such arrays, or not the file that the trial left.
        """
        content = read_bytes(path)
        if stamp:
            stamp.check_bytes(path, content, _REMEDY)
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as store:
                if any(member.file_size > _MOST_BYTES for member in store.zip.infolist()):
                    raise ValueError(f"an array of more than {_MOST_BYTES} bytes")
                cases, monitored, sums = (store[n] for n in ("cases", "monitored", "sums"))
            if cases.dtype.kind != "U" or monitored.dtype != np.float64 or sums.dtype != np.float64:
                raise ValueError("arrays of another kind")
            if (cases.ndim, monitored.ndim, sums.ndim) != (1, 1, 4):
                raise ValueError("arrays of another shape")
            return cls(tuple(cases.tolist()), monitored, sums)
        except (OSError, ValueError, KeyError, zipfile.BadZipFile, zlib.error, EOFError) as error:
            raise RunError(path, "sums of every epoch", error, _REMEDY) from None
        except RunError as error:
            raise error.within(path) from None
