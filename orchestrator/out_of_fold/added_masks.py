"""The masks of a candidate of another tool as a run keeps them: run-length text, fold by fold."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from pyarrow import ArrowException

from gitract_core.data import rle
from gitract_core.data.slices import SliceIndex
from gitract_core.errors import RleError, RunError
from gitract_core.files.atomic import replacing
from gitract_core.prediction.rivals.predicted import mask_shape
from gitract_core.results.trial_result import TrialFiles, TrialResult
from orchestrator.sweeps.added_files import MASKS

_COLUMNS = ("id", "class", "segmentation")
_REMEDY = "add the predictions again with --replace"


def mask_rows(index: SliceIndex, scan: str, masks: np.ndarray) -> pd.DataFrame:
    """Rows ``id``, ``class``, ``segmentation`` of the masks of a scan that hold anything."""
    ids = index.rows_of_scan(scan)["id"].to_numpy()
    rows = [
        (ids[place], organ, rle.encode(mask))
        for organ, of_organ in zip(index.organs, masks, strict=True)
        for place, mask in enumerate(of_organ)
        if mask.any()
    ]
    return pd.DataFrame(rows, columns=list(_COLUMNS), dtype=str)


def write_masks(path: Path, rows: pd.DataFrame) -> None:
    """Write ``masks.parquet``, atomically."""
    with replacing(path) as part:
        rows.to_parquet(part, index=False)


class MaskStore:
    """The masks of one fold.

    Args:
        files: of the fold.
        result: of the fold, which has the file's digest.
        index: of the data set.

    Raises:
        RunError: the file is missing, damaged, or another one.
    """

    def __init__(self, files: TrialFiles, result: TrialResult, index: SliceIndex) -> None:
        self.path, self.index = files.directory / MASKS, index
        result.check(self.path)
        try:
            table = pd.read_parquet(self.path, columns=list(_COLUMNS))
        except (OSError, ValueError, KeyError, ArrowException) as error:
            raise RunError(self.path, "masks", f"{error!s:.100}", _REMEDY) from None
        keys = zip(table["id"], table["class"], strict=True)
        self._texts = dict(zip(keys, table["segmentation"], strict=True))

    def masks(self, scan: str) -> np.ndarray:
        """The masks of a scan, boolean (organs, slices, height, width).

        Raises:
            RunError: a text that is no mask of the slice.
        """
        rows = self.index.rows_of_scan(scan)
        masks: np.ndarray = np.zeros(mask_shape(self.index, rows), np.bool_)
        for channel, organ in enumerate(self.index.organs):
            for place, name in enumerate(rows["id"]):
                text = self._texts.get((name, organ))
                if text:
                    try:
                        masks[channel, place] = rle.decode(str(text), *masks.shape[2:])
                    except RleError as error:
                        where = f"{self.path}, id {name}, {organ}"
                        raise RunError(where, "a mask", f"{error!s:.100}", _REMEDY) from None
        return masks
