"""The folds of a run, or those that a sweep of a data set would make, for other tools."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from gitract_core.data.fold_tables import (
    Split,
    fold_rows,
    leak_audit,
    splits_of,
    splits_text,
)
from gitract_core.data.folds import FoldPlan, further_plans
from gitract_core.data.slices import SliceIndex, case_of_scan

if TYPE_CHECKING:
    import pandas as pd

FoldFormat = Literal["nnunet", "csv"]


@dataclass(frozen=True)
class NamedFolds:
    """Fold plans with the scans that they part.

    Attributes:
        plans: one, or several of repeated cross-validation.
        case_of: the patient of each scan, in the data set's order.
    """

    plans: Sequence[FoldPlan]
    case_of: Mapping[str, str]

    @classmethod
    def of_data(
        cls,
        data: Path,
        *,
        patients: str | None = None,
        exclude: Sequence[str] = (),
        n_folds: int = 5,
        seed: int = 0,
        repeats: int = 1,
    ) -> NamedFolds:
        """Those that a sweep of a data set would make.

        Raises:
            DataError: the data set is faulty, or has too few patients.
        """
        index = SliceIndex.from_directory(data, patients=patients).without(exclude)
        index.refuse_without_masks()
        first = [FoldPlan.make(index, n_folds, seed)]
        return cls([*first, *further_plans(index, first, repeats)], case_of_scan(index))

    @cached_property
    def splits(self) -> list[Split]:
        """One a fold, those of all plans."""
        return splits_of(self.plans, self.case_of)

    @property
    def table(self) -> pd.DataFrame:
        """One row a scan: ``scan``, ``patient``, ``fold``; ``repeat`` where there are several."""
        return fold_rows(self.plans, self.case_of)

    @property
    def audit(self) -> str:
        """Whether a patient is trained on and validated on, in one sentence."""
        return leak_audit(self.splits, self.case_of)

    def text(self, form: FoldFormat) -> str:
        """The content of ``splits_final.json``, or of a CSV table."""
        if form == "nnunet":
            return splits_text(self.splits, list(self.case_of))
        return self.table.to_csv(index=False, lineterminator="\n")
