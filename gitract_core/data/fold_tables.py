"""Folds as other tools take them: nnU-Net's ``splits_final.json``, or a table of scans.

Folds are numbered from 0, those of a further fold plan on from those before. A *split* is what
nnU-Net writes of a fold: the scans that it trains on and those that it is validated on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

import pandas as pd

from gitract_core.data.folds import FoldPlan
from gitract_core.data.ids import natural_key
from gitract_core.errors import DataError, counted
from gitract_core.files.atomic import json_text, read_json

SPLITS = "splits_final.json"
_MOST_FOLDS = 10_000


class _Split(TypedDict):
    train: list[str]
    val: list[str]


@dataclass(frozen=True)
class Split:
    """One fold.

    Attributes:
        train, val: names of scans.
    """

    train: frozenset[str]
    val: frozenset[str]

    def leaks(self, case_of: Mapping[str, str]) -> list[str]:
        """Patients that are trained on and validated on, in the order of ``case_of``.

        Args:
            case_of: the patient of each scan.
        """
        trained, judged = ({case_of[s] for s in part} for part in (self.train, self.val))
        return [case for case in dict.fromkeys(case_of.values()) if case in trained & judged]


def splits_of(plans: Sequence[FoldPlan], case_of: Mapping[str, str]) -> list[Split]:
    """The split of every fold of every plan.

    Args:
        plans: one, or several of repeated cross-validation.
        case_of: the patient of each scan.
    """
    found = []
    for plan in plans:
        fold_of = {scan: plan.fold_of_case[case] for scan, case in case_of.items()}
        for fold in range(plan.n_splits):
            val = frozenset(scan for scan, f in fold_of.items() if f == fold)
            found.append(Split(frozenset(fold_of) - val, val))
    return found


def splits_text(splits: Sequence[Split], scans: Sequence[str]) -> str:
    """The content of a ``splits_final.json``.

    Args:
        splits: one a fold.
        scans: all of them, in the order in which they are to be named.
    """
    values = [
        {
            "train": [scan for scan in scans if scan in split.train],
            "val": [scan for scan in scans if scan in split.val],
        }
        for split in splits
    ]
    return json_text(values) + "\n"


def fold_rows(plans: Sequence[FoldPlan], case_of: Mapping[str, str]) -> pd.DataFrame:
    """One row a scan and plan: ``scan``, ``patient``, ``fold``; of several plans ``repeat`` too.

    Args:
        plans: as in ``splits_of``; repeats are numbered from 1.
        case_of: the patient of each scan.
    """
    rows, before = [], 0
    for repeat, plan in enumerate(plans, 1):
        for scan, case in case_of.items():
            fold = before + plan.fold_of_case[case]
            rows.append({"scan": scan, "patient": case, "fold": fold, "repeat": repeat})
        before += plan.n_splits
    table = pd.DataFrame(rows)
    return table if len(plans) > 1 else table.drop(columns="repeat")


def leak_audit(splits: Sequence[Split], case_of: Mapping[str, str]) -> str:
    """What a look for patients on both sides of a split finds, in one sentence.

    Args:
        splits: one a fold.
        case_of: the patient of each scan.
    """
    leaks = {case for split in splits for case in split.leaks(case_of)}
    patients = len(set(case_of.values()))
    who = f"{counted(patients, 'patient')} with {counted(len(case_of), 'scan')}"
    if leaks:
        return f"leak audit: {who}; trained on and validated on: {', '.join(sorted(leaks))}"
    return f"leak audit: {who}; in no fold is a patient both trained on and validated on"


def read_splits(path: Path, case_of: Mapping[str, str]) -> list[Split]:
    """The splits of a ``splits_final.json``, or of a table of scans or patients and their folds.

    Args:
        path: a file that ends with ``.json``, or CSV with columns ``scan`` or ``patient``, and
            ``fold``.
        case_of: the patient of each scan of the data set.

    Raises:
        DataError: unreadable, a scan or patient of no data set, or one without a fold.
    """
    if path.suffix == ".json":
        return _of_json(path, case_of)
    return _of_table(path, case_of)


def _of_json(path: Path, case_of: Mapping[str, str]) -> list[Split]:
    values = read_json(path, list[_Split], "pass nnU-Net's own file, or one of gitract-cv folds")
    if not 1 <= len(values) <= _MOST_FOLDS:
        raise DataError(path, f"1 to {_MOST_FOLDS} folds", len(values), "restore the file")
    splits = [Split(frozenset(one["train"]), frozenset(one["val"])) for one in values]
    for fold, split in enumerate(splits):
        for strange in sorted((split.train | split.val) - set(case_of)):
            expected = "scans of the run's data set"
            raise DataError(f"{path}, fold {fold}", expected, strange, "restore the file")
    return splits


def _of_table(path: Path, case_of: Mapping[str, str]) -> list[Split]:
    fold_of = _folds_of_scans(path, case_of)
    folds = sorted(set(fold_of.values()), key=natural_key)
    vals = [frozenset(scan for scan, f in fold_of.items() if f == fold) for fold in folds]
    return [Split(frozenset(fold_of) - val, val) for val in vals]


def _folds_of_scans(path: Path, case_of: Mapping[str, str]) -> dict[str, str]:
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        got = (str(error) or type(error).__name__).splitlines()[0]
        raise DataError(path, "a CSV table", got, "check the path") from None
    key = next((name for name in ("scan", "patient") if name in table.columns), None)
    if key is None or "fold" not in table.columns:
        got = ", ".join(map(str, table.columns))
        raise DataError(path, "columns scan (or patient) and fold", f"{got!r:.80}", "name them so")
    twice = table[key].duplicated()
    if twice.any():
        raise DataError(path, f"one row a {key}", f"{table[key][twice].iloc[0]} twice", "drop one")
    said = dict(zip(table[key], table["fold"], strict=True))
    known = set(case_of) if key == "scan" else set(case_of.values())
    for strange in (name for name in said if name not in known):
        raise DataError(path, f"a {key} of the run's data set", repr(strange), "correct the table")
    found = {}
    for scan, case in case_of.items():
        name = scan if key == "scan" else case
        if not said.get(name, "").strip():
            raise DataError(path, f"a fold of {key} {name}", "none", "add a row")
        found[scan] = said[name].strip()
    return found
