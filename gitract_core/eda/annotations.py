"""The masks of a data set as columns, from an index with images or from a table alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from gitract_core.data.contest_images import in_order
from gitract_core.data.mask_rows import wide_annotations
from gitract_core.data.slices import known_shares
from gitract_core.errors import DataError
from gitract_core.organs import CONTEST, Organs

if TYPE_CHECKING:
    from gitract_core.data.slices import SliceIndex

_NUMBERS = r"case(?P<case>\d+)_day(?P<day>\d+)_slice_(?P<slice>\d+)"
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

    @classmethod
    def of_rows(cls, rows: pd.DataFrame) -> Annotations:
        """The masks of a table: id, class, segmentation, height, width; three rows a slice.

        Raises:
            DataError: a missing column, an unknown class, a bad id, a slice with fewer or more
                than three rows or with two sizes.
        """
        found = wide_annotations(rows, "annotations")
        masks = found.masks
        for column in ("height", "width"):
            if column not in rows.columns:
                raise DataError("annotations", f"a column {column!r}", "none", "add the sizes")
        sizes = rows[["id", "height", "width"]].drop_duplicates().set_index("id")
        if not sizes.index.is_unique:
            name = sizes.index[sizes.index.duplicated()][0]
            raise DataError(f"annotations, id {name}", "one size a slice", "two", "mend one row")
        names = masks.index.to_series().str.extract(_NUMBERS)
        numbers = names.astype(np.int64)
        table = masks.join(numbers["slice"]).join(sizes)
        table["scan"] = [
            f"case{c}_day{d}" for c, d in zip(numbers["case"], numbers["day"], strict=True)
        ]
        table["case"] = numbers["case"].astype(str)
        table = table.rename_axis("id").reset_index()
        return cls(in_order(table), found.organs)

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
