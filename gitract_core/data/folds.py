"""Folds: parts of the data that share no case.

A plan maps each case to one fold, so that a plan with a patient in two folds cannot be written
down. Splits come from scikit-learn's ``StratifiedGroupKFold`` (label: number of organs in the
slice, group: case), as in the paper. Of a fixed number of its shuffles, drawn from the seed, the
best balanced one is kept; no score takes part in that choice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, TypedDict

import numpy as np

from gitract_core.errors import DataError, RunError
from gitract_core.files.atomic import read_json, write_json
from gitract_core.files.json_shapes import Meta
from gitract_core.organs import ORGANS
from gitract_core.spec import digest

if TYPE_CHECKING:
    from gitract_core.data.slices import SliceIndex

_SHUFFLES = 24
_SEEDS_TRIED = 5  # a plan that is wanted; small data sets can be parted in few ways
_SLICES_TOLERANCE, _SHARE_TOLERANCE = 0.04, 0.03

# Scans that the field agrees, or the organizers say, are wrongly annotated.
WIDELY_DROPPED_SCANS = ("case7_day0", "case81_day30")
ORGANIZERS_BLACKLIST = (
    *WIDELY_DROPPED_SCANS,
    "case61_day14",
    "case9_day27",
    "case43_day18",
    "case138_day0",
    "case34_day20",
    "case43_day26",
    "case124_day19",
    "case144_day15",
    "case83_day11",
    "case13_day0",
)


class _Plan(TypedDict):
    """What is read of ``folds.json``."""

    n_splits: Annotated[int, Meta(ge=2, le=10_000)]
    seed: int
    fingerprint: str
    fold_of_case: dict[Annotated[str, Meta(pattern="^[0-9]{1,9}$")], int]


@dataclass(frozen=True)
class FoldPlan:
    """Case to fold.

    Attributes:
        fold_of_case: fold, 0 to ``n_splits - 1``, of each case; read only.
        n_splits: number of folds, each with at least one case.
        seed: seed of the shuffles.
    """

    fold_of_case: Mapping[int, int]
    n_splits: int
    seed: int = 0

    def __post_init__(self) -> None:
        ordered = {int(c): int(f) for c, f in sorted(self.fold_of_case.items())}
        object.__setattr__(self, "fold_of_case", MappingProxyType(ordered))
        if set(ordered.values()) != set(range(self.n_splits)):
            expected = f"every fold from 0 to {self.n_splits - 1} to hold a case"
            raise DataError("fold plan", expected, sorted(set(ordered.values())), "make it anew")

    def __reduce__(self) -> tuple[object, ...]:
        """For sending it to other processes, which a read-only mapping alone does not allow."""
        return FoldPlan, (dict(self.fold_of_case), self.n_splits, self.seed)

    @classmethod
    def make(cls, index: SliceIndex, n_splits: int = 5, seed: int = 0) -> FoldPlan:
        """Balanced, case-disjoint folds of an annotated index.

        Raises:
            DataError: fewer cases than folds, or no masks.
        """
        cases = index.table["case"].to_numpy()
        return cls.from_labels(cases, index.organ_counts, n_splits, seed)

    @classmethod
    def from_labels(
        cls, cases: Sequence[int] | np.ndarray, labels: Any, n_splits: int = 5, seed: int = 0
    ) -> FoldPlan:
        """Folds from one case and one label (0: nothing annotated) a slice, both (slices,)."""
        groups, label = np.asarray(cases), np.asarray(labels).astype(int)
        n_cases = len(np.unique(groups))
        if not 2 <= n_splits <= n_cases:
            remedy = f"pass --folds {n_cases} or fewer" if n_cases >= 2 else "add cases"
            raise DataError("folds", f"2 to {n_cases} folds ({n_cases} cases)", n_splits, remedy)
        common = _without_rare(label, n_splits)
        plans = [
            _shuffled(groups, common, n_splits, seed * _SHUFFLES + i) for i in range(_SHUFFLES)
        ]
        best = min(plans, key=lambda plan: _imbalance(plan, groups, label, n_splits))
        return cls(best, n_splits, seed)

    def rows(self, cases: np.ndarray, fold: int, *, held_out: bool) -> np.ndarray:
        """Positions of the slices inside (``held_out``) or outside a fold, int64.

        Args:
            cases: the case of each slice, int (slices,).
            fold: 0 to ``n_splits - 1``.
            held_out: the fold's own slices, or all others.
        """
        folds = np.array([self.fold_of_case[int(c)] for c in np.unique(cases)])
        of_slice = folds[np.searchsorted(np.unique(cases), cases)]
        return np.flatnonzero((of_slice == fold) == held_out)

    def cases(self, fold: int) -> list[int]:
        """The cases of a fold."""
        return [case for case, f in self.fold_of_case.items() if f == fold]

    @property
    def parts(self) -> frozenset[tuple[int, ...]]:
        """The cases of each fold, whichever number it has."""
        return frozenset(tuple(self.cases(fold)) for fold in range(self.n_splits))

    @property
    def fingerprint(self) -> str:
        """Content hash of the plan."""
        return digest([[c, f] for c, f in self.fold_of_case.items()])

    def audit(self, index: SliceIndex) -> dict[str, Any]:
        """Cases, scans, slices and class shares of each fold, and whether a case is in two."""
        table, counts = index.table, index.organ_counts
        cases = table["case"].to_numpy()
        folds: list[dict[str, Any]] = []
        leaked: set[int] = set()
        for fold in range(self.n_splits):
            rows = self.rows(cases, fold, held_out=True)
            training = self.rows(cases, fold, held_out=False)
            leaked |= set(cases[rows].tolist()) & set(cases[training].tolist())
            part = table.iloc[rows]
            folds.append(
                {
                    "fold": fold,
                    "cases": int(part["case"].nunique()),
                    "scans": int(part["scan"].nunique()),
                    "slices": len(part),
                    "annotated_share": float(np.mean(counts[rows] > 0)),
                    **{f"{o}_share": float(np.mean(part[o] != "")) for o in ORGANS},
                }
            )
        return {"folds": folds, "cases_in_two_folds": sorted(leaked)}

    def save(self, path: Path, index: SliceIndex) -> None:
        """Write ``folds.json``: the plan, its fingerprint and the audit, atomically."""
        write_json(
            path,
            {
                "n_splits": self.n_splits,
                "seed": self.seed,
                "fingerprint": self.fingerprint,
                "fold_of_case": {str(c): f for c, f in self.fold_of_case.items()},
                "audit": self.audit(index),
            },
        )

    @classmethod
    def load(cls, path: Path) -> FoldPlan:
        """Read ``folds.json``.

        Raises:
            RunError: unreadable, or changed by hand so that its fingerprint no longer fits.
        """
        remedy = "start a new run directory"
        values = read_json(path, _Plan, remedy)
        of_case = {int(c): f for c, f in values["fold_of_case"].items()}
        try:
            plan = cls(of_case, values["n_splits"], values["seed"])
        except DataError as error:
            raise RunError(path, "a fold plan", error, remedy) from None
        stated = values["fingerprint"]
        if stated != plan.fingerprint:
            expected, got = f"fingerprint {plan.fingerprint}", stated
            raise RunError(path, expected, got, "undo the change or start a new run directory")
        return plan


def further_plans(index: SliceIndex, plans: Sequence[FoldPlan], count: int) -> list[FoldPlan]:
    """Plans of other parts, for repeated cross-validation: from the next seeds that give such.

    Args:
        index: the annotated data set.
        plans: those that there are, at least one.
        count: how many there shall be, these included.

    Raises:
        DataError: so few cases that there are not as many ways to part them.
    """
    found = list(plans)
    seed, last = found[-1].seed + 1, found[-1].seed + _SEEDS_TRIED * (count + 1)
    while len(found) < count:
        if seed > last:
            remedy = "ask for fewer repeats, or add cases"
            raise DataError("--repeats", f"{count} different fold plans", len(found), remedy)
        plan = FoldPlan.make(index, found[0].n_splits, seed)
        if all(plan.parts != other.parts for other in found):
            found.append(plan)
        seed += 1
    return found[len(plans) :]


def _without_rare(label: np.ndarray, n_splits: int) -> np.ndarray:
    """Labels, those that are too rare to be in every fold replaced by the most common one."""
    values, place, counts = np.unique(label, return_inverse=True, return_counts=True)
    values[counts < n_splits] = values[counts.argmax()]
    merged: np.ndarray = values[place]
    return merged if counts.max() >= n_splits else np.zeros_like(label)


def _shuffled(groups: np.ndarray, label: np.ndarray, n_splits: int, seed: int) -> dict[int, int]:
    from sklearn.model_selection import StratifiedGroupKFold  # costs a second to import

    splitter = StratifiedGroupKFold(n_splits, shuffle=True, random_state=seed)
    return {
        int(groups[row]): fold
        for fold, (_, test) in enumerate(splitter.split(label, label, groups))
        for row in test
    }


def _imbalance(
    plan: Mapping[int, int], groups: np.ndarray, label: np.ndarray, n_splits: int
) -> float:
    """The worst deviation of a fold, in units of the tolerances; infinite with an empty fold."""
    cases, of_slice = np.unique(groups, return_inverse=True)
    folds = np.array([plan[int(c)] for c in cases])[of_slice]
    slices = np.bincount(folds, minlength=n_splits)
    if not slices.all():
        return float("inf")
    annotated = np.bincount(folds, weights=label > 0, minlength=n_splits) / slices
    uneven = np.abs(slices / (len(label) / n_splits) - 1).max() / _SLICES_TOLERANCE
    unlike = np.abs(annotated - np.mean(label > 0)).max() / _SHARE_TOLERANCE
    return float(max(uneven, unlike))
