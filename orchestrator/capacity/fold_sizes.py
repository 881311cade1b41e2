"""How much the trials of each fold work on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gitract_core.data.folds import FoldPlan
    from gitract_core.data.slices import SliceIndex


@dataclass(frozen=True, slots=True)
class FoldSize:
    """What the trials of a fold work on.

    Attributes:
        training_slices, validation_slices: how many.
        validation_pixels: of the held-out slices at native size.
    """

    training_slices: int
    validation_slices: int
    validation_pixels: int


def fold_sizes(index: SliceIndex, plan: FoldPlan) -> list[FoldSize]:
    """What the trials of each fold work on."""
    cases = index.table["case"].to_numpy()
    pixels = (index.table["height"] * index.table["width"]).to_numpy()
    held = [plan.rows(cases, fold, held_out=True) for fold in range(plan.n_splits)]
    return [FoldSize(len(cases) - len(rows), len(rows), int(pixels[rows].sum())) for rows in held]
