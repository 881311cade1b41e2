"""Which training cases decide the epoch under ``training.keep: inner``."""

from __future__ import annotations

import numpy as np

from gitract_core.data.folds import FoldPlan
from gitract_core.data.slices import SliceIndex
from gitract_core.errors import SpaceError

PARTS = 5
"""The training cases are parted so; one part decides."""


def deciding_rows(index: SliceIndex, training: np.ndarray, *, seed: int, fold: int) -> np.ndarray:
    """Rows of the cases that decide, int64; a part of the training rows.

    The training cases are parted as folds are: balanced by the number of organs in a slice, whole
    cases. One part, a fifth, decides. Only training rows are looked at.

    Args:
        index: the data set.
        training: rows of the training cases.
        seed: of the trial; with the fold it chooses the part, the same one for all candidates.
        fold: of the trial.

    Raises:
        SpaceError: a single training case.
    """
    cases = index.table["case"].to_numpy()[training]
    n_cases = len(np.unique(cases))
    check_deciding(n_cases, fold)
    n_parts = min(PARTS, n_cases)
    held_out = np.setdiff1d(np.arange(len(index.table)), training)
    alone = index.without(tuple(dict.fromkeys(index.table["scan"].iloc[held_out])))
    plan = FoldPlan.from_labels(cases, alone.strata, n_parts, seed * 1009 + fold)
    return np.asarray(training[plan.rows(cases, fold % n_parts, held_out=True)])


def check_deciding(n_training_cases: int, fold: int) -> None:
    """Raise a ``SpaceError`` unless one training case can decide and another one train."""
    if n_training_cases < 2:
        raise SpaceError(
            "knob training.keep",
            "2 training patients or more beside each fold, since it is inner",
            f"{n_training_cases} beside fold {fold}",
            "use more folds or patients, or training.keep last",
        )
