"""The masks of a data set as run-length texts, one row a slice; images are not read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from gitract_core.data.slices import known_shares
from gitract_core.errors import DataError
from gitract_core.organs import CONTEST, Organs

if TYPE_CHECKING:
    from gitract_core.data.slices import SliceIndex

_COLUMNS = ("id", "case", "slice", "scan", "height", "width")
SPACING_COLUMNS = ("spacing_x_mm", "spacing_y_mm")


@dataclass(frozen=True)
class Annotations:
    """Masks of slices in the order of case, day and slice number. Read only.

    Attributes:
        table: one row a slice: id, case, slice, scan, height, width (pixels), one column an
            organ with its run-length text (empty for an empty mask); ``spacing_x_mm`` and
            ``spacing_y_mm`` where they are known.
        organs: those of the columns.
        known: by organ, the share of slices whose annotation is known; others are left out.
    """

    table: pd.DataFrame
    organs: Organs = CONTEST
    known: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        missing = [c for c in (*_COLUMNS, *self.organs) if c not in self.table.columns]
        if missing:
            raise DataError("annotations", f"columns {', '.join(missing)}", "none", "add them")
        if not len(self.table):
            raise DataError("annotations", "at least one slice", "none", "pass the whole table")

    @classmethod
    def of_index(cls, index: SliceIndex) -> Annotations:
        """The masks of a contest folder.

        Raises:
            DataError: the folder has images but no ``train.csv``.
        """
        if not index.annotated:
            remedy = "pass a contest folder with train.csv and train/"
            raise DataError(index.root, "annotated slices", "images without masks", remedy)
        columns = [*_COLUMNS, *SPACING_COLUMNS, *index.organs]
        shares = known_shares(index.states, index.organs)
        known = {organ: share for organ, share in shares.items() if share < 1}
        return cls(index.table[columns], index.organs, known)

    def __len__(self) -> int:
        return len(self.table)

    @property
    def scan_codes(self) -> np.ndarray:
        """The scan of each slice as a number from 0, int (slices,)."""
        return np.asarray(pd.factorize(self.table["scan"])[0], dtype=np.int64)

    @property
    def scans(self) -> list[str]:
        """Names of the scans, in the order of their codes."""
        return list(dict.fromkeys(self.table["scan"]))
