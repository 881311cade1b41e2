"""Which fold of a run another tool's predictions are of, and whether they are out of fold.

A leak makes any other tool the best: a network that has seen a patient's other scan, or the scan
itself. So nnU-Net's own splits are compared with the run's, scan by scan; of other forms nobody can
see what was trained on, and their folds are *declared*.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gitract_core.data.fold_tables import SPLITS, Split, read_splits
from gitract_core.errors import RunError
from gitract_core.prediction.rivals.predicted import Predicted
from gitract_core.prediction.rivals.reading import TREE, Tree
from orchestrator.sweeps.fold_plans import NamedFolds

CHECKED, DECLARED = "folds checked", "folds declared"
_MOST_NAMED = 3


@dataclass(frozen=True)
class PlacedFolds:
    """Predictions by fold of the run.

    Attributes:
        by_fold: fold, numbered through all plans, -> predictions, which may lack scans.
        origin: form and whether folds were checked, in words.
    """

    by_fold: Mapping[int, Predicted]
    origin: str


def place_tree(tree: Tree, table: Path | None, folds: NamedFolds) -> PlacedFolds:
    """The folds of nnU-Net's results, compared with those of the run.

    Args:
        tree: the results.
        table: ``splits_final.json``; if None it is looked for in the results and in the folder that
            holds them.
        folds: of the run.

    Raises:
        RunError: no splits, other folds than the run's, a leak, or a scan that was predicted by a
            fold that trained on it.
        DataError: unreadable splits.
    """
    file = table or _splits_beside(tree.where)
    splits = read_splits(file, folds.case_of)
    placed: dict[int, Predicted] = {}
    for number, predicted in sorted(tree.folds.items()):
        if number >= len(splits):
            expected, got = f"a split of fold_{number}", f"{len(splits)} splits"
            raise RunError(file, expected, got, "pass the splits that nnU-Net trained on")
        fold = _matching(f"{file}, fold {number}", splits[number], folds)
        for scan in sorted(predicted.scans - splits[number].val):
            trained = "was trained on by this fold" if scan in splits[number].train else "is not"
            expected = f"scans of the val of fold {number}"
            got = f"{scan}, which {trained}" + " in it" * (trained == "is not")
            raise RunError(predicted.where, expected, got, "remove the file, or restore the splits")
        if fold in placed:
            got = f"fold_{number} is another's"
            raise RunError(file, "a fold of the run once", got, "remove one")
        placed[fold] = predicted
    return PlacedFolds(placed, f"{TREE}, {CHECKED}")


def place_declared(
    predicted: Predicted, table: Path | None, *, declared: bool, folds: NamedFolds
) -> PlacedFolds:
    """Predictions of all folds at once; what was trained on is believed.

    Args:
        predicted: the scans.
        table: of folds, compared with the run's.
        declared: whether the folds are said to be the run's.
        folds: of the run; of repeated ones those of the first plan.

    Raises:
        RunError: neither a table nor a declaration, or other folds than the run's.
        DataError: an unreadable table.
    """
    first = folds.splits[: folds.plans[0].n_splits]
    if table is not None:
        splits = read_splits(table, folds.case_of)
        for number, split in enumerate(splits):
            _matching(f"{table}, fold {number}", split, folds)
    elif not declared:
        expected = "--folds-table FILE, or --declared if they are the run's own folds"
        remedy = "gitract-cv folds RUN writes the run's; train on them"
        raise RunError("add", expected, "neither", remedy)
    return PlacedFolds(
        {fold: predicted for fold, split in enumerate(first) if split.val & predicted.scans},
        f"{predicted.form}, {DECLARED}",
    )


def _splits_beside(folder: Path) -> Path:
    for place in (folder, folder.parent):
        if (place / SPLITS).is_file():
            return place / SPLITS
    expected = f"{SPLITS}, which tells what each fold was trained on"
    remedy = "pass --folds-table nnUNet_preprocessed/DATASET/splits_final.json"
    raise RunError(folder, expected, "none", remedy)


def _matching(where: str, split: Split, folds: NamedFolds) -> int:
    """The fold of the run that a split is."""
    leaks = split.leaks(folds.case_of)
    if leaks:
        got = f"{_some(leaks)}, whose scans are in train and in val (a leak)"
        remedy = "train on the run's folds: gitract-cv folds RUN"
        raise RunError(where, "no patient on both sides", got, remedy)
    for number, own in enumerate(folds.splits):
        if own == split:
            return number
    raise RunError(where, *_difference(split, folds.splits))


def _difference(split: Split, own: Sequence[Split]) -> tuple[str, str, str]:
    """What is expected, what is there instead, and what to do."""
    remedy = "train on the run's folds: gitract-cv folds RUN"
    number, nearest = max(enumerate(own), key=lambda pair: len(pair[1].val & split.val))
    if nearest.val == split.val:
        lacking, more = nearest.train - split.train, split.train - nearest.train
        got = f"{_some(lacking)} left out" if lacking else f"{_some(more)} too"
        return f"the training scans of the run's fold {number}", got, remedy
    got = f"other folds (val holds {_some(split.val - nearest.val) or 'fewer scans'})"
    return f"the scans of one of the run's {len(own)} folds as val", got, remedy


def _some(names: Iterable[str]) -> str:
    ordered = sorted(names)
    more = len(ordered) - _MOST_NAMED
    return ", ".join(ordered[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
