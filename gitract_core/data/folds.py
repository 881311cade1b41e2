"""Folds: parts of the data that share no case.

A plan maps each case to one fold, so that a plan with a patient in two folds cannot be written
down. Splits come from scikit-learn's ``StratifiedGroupKFold`` (label: number of organs in the
slice, see ``SliceIndex.strata``; group: case), as in the paper. Of a fixed number of its shuffles,
drawn from the seed, the best balanced one is kept; no score takes part in that choice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, TypedDict

import numpy as np
import pandas as pd

from gitract_core.data.annotation import State
from gitract_core.data.ids import NAME_PATTERN, natural_key
from gitract_core.errors import DataError, RunError, counted
from gitract_core.files.atomic import json_bytes, parse_json, read_bytes, write_bytes
from gitract_core.files.json_shapes import Meta
from gitract_core.spec import digest

if TYPE_CHECKING:
    from gitract_core.data.slices import SliceIndex

_SHUFFLES = 24
_SEEDS_TRIED = 5  # a plan that is wanted; small data sets can be parted in few ways
_NOTHING_KNOWN = 1e9  # imbalance of a plan with such a fold; an empty fold is worse
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
    fold_of_case: dict[Annotated[str, Meta(pattern=NAME_PATTERN)], int]


@dataclass(frozen=True)
class FoldPlan:
    """Case to fold.

    Attributes:
        fold_of_case: fold, 0 to ``n_splits - 1``, of each case, cases in natural order; read only.
        n_splits: number of folds, each with at least one case.
        seed: seed of the shuffles.
    """

    fold_of_case: Mapping[str, int]
    n_splits: int
    seed: int = 0

    def __post_init__(self) -> None:
        cases = {str(c): int(f) for c, f in self.fold_of_case.items()}
        ordered = {case: cases[case] for case in sorted(cases, key=natural_key)}
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
        return cls.from_labels(cases, index.strata, n_splits, seed)

    @classmethod
    def from_labels(
        cls, cases: Sequence[str] | np.ndarray, labels: Any, n_splits: int = 5, seed: int = 0
    ) -> FoldPlan:
        """Folds from one case and one label a slice, both (slices,).

        Label 0 is a slice without organs, -1 one of which nothing is known.
        """
        names, groups = _numbered(cases)
        label, n_cases = np.asarray(labels).astype(int), len(names)
        if not 2 <= n_splits <= n_cases:
            remedy = (
                f"pass --folds {n_cases} or fewer"
                if n_cases >= 2
                else "add cases, or correct --patients"
            )
            raise DataError(
                "folds", f"2 to {n_cases} folds ({counted(n_cases, 'case')})", n_splits, remedy
            )
        common = _without_rare(label, n_splits)
        plans = [
            _shuffled(groups, common, n_splits, seed * _SHUFFLES + i) for i in range(_SHUFFLES)
        ]
        best = min(plans, key=lambda plan: _imbalance(plan, groups, label, n_splits))
        return cls({names[case]: fold for case, fold in best.items()}, n_splits, seed)

    def rows(self, cases: np.ndarray, fold: int, *, held_out: bool) -> np.ndarray:
        """Positions of the slices inside (``held_out``) or outside a fold, int64.

        Args:
            cases: the case of each slice, text (slices,).
            fold: 0 to ``n_splits - 1``.
            held_out: the fold's own slices, or all others.
        """
        names, places = _numbered(cases)
        of_slice = np.array([self.fold_of_case[case] for case in names])[places]
        return np.flatnonzero((of_slice == fold) == held_out)

    def cases(self, fold: int) -> list[str]:
        """The cases of a fold."""
        return [case for case, f in self.fold_of_case.items() if f == fold]

    @property
    def parts(self) -> frozenset[tuple[str, ...]]:
        """The cases of each fold, whichever number it has."""
        return frozenset(tuple(self.cases(fold)) for fold in range(self.n_splits))

    @property
    def fingerprint(self) -> str:
        """Content hash of the plan; the contest's cases enter it as numbers."""
        return digest([[_as_hashed(c), f] for c, f in self.fold_of_case.items()])

    def audit(self, index: SliceIndex) -> dict[str, Any]:
        """Cases, scans, slices and class shares of each fold, and whether a case is in two."""
        table, states = index.table, index.states
        known, drawn = states != State.UNKNOWN, states == State.DRAWN
        cases = table["case"].to_numpy()
        folds: list[dict[str, Any]] = []
        leaked: set[str] = set()
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
                    "annotated_share": _share(drawn[rows].any(axis=1), known[rows].any(axis=1)),
                    **{
                        f"{organ}_share": _share(drawn[rows, place], known[rows, place])
                        for place, organ in enumerate(index.organs)
                    },
                }
            )
        return {"folds": folds, "cases_in_two_folds": sorted(leaked, key=natural_key)}

    def save(self, path: Path, index: SliceIndex) -> None:
        """Write ``folds.json``, atomically."""
        write_bytes(path, self.to_bytes(index))

    def to_bytes(self, index: SliceIndex) -> bytes:
        """The content of ``folds.json``: the plan, its fingerprint and the audit."""
        return json_bytes(
            {
                "n_splits": self.n_splits,
                "seed": self.seed,
                "fingerprint": self.fingerprint,
                "fold_of_case": dict(self.fold_of_case),
                "audit": self.audit(index),
            }
        )

    @classmethod
    def load(cls, path: Path, content: bytes | None = None) -> FoldPlan:
        """Read ``folds.json``.

        Args:
            path: the file.
            content: of it, if it was read already.

        Raises:
            RunError: unreadable, or changed by hand so that its fingerprint no longer fits.
        """
        remedy = "start a new run directory"
        content = read_bytes(path) if content is None else content
        values: _Plan = parse_json(path, content, _Plan, remedy)
        try:
            plan = cls(values["fold_of_case"], values["n_splits"], values["seed"])
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


def folds_without_masks(index: SliceIndex, plan: FoldPlan) -> list[int]:
    """The folds in which no slice has a mask: false positives are all that they can tell."""
    cases, counts = index.table["case"].to_numpy(), index.organ_counts
    folds = range(plan.n_splits)
    return [fold for fold in folds if not counts[plan.rows(cases, fold, held_out=True)].any()]


def _numbered(cases: Sequence[str] | np.ndarray) -> tuple[list[str], np.ndarray]:
    """The cases in natural order, and the place of each slice's case among them, int (slices,)."""
    places, found = pd.factorize(np.asarray(cases))
    names = [str(case) for case in found]
    order = sorted(range(len(names)), key=lambda place: natural_key(names[place]))
    ranks = np.empty(len(names), np.int64)
    ranks[order] = np.arange(len(names))
    return [names[place] for place in order], ranks[places]


def _as_hashed(case: str) -> str | int:
    number = case.isascii() and case.isdigit() and str(int(case)) == case
    return int(case) if number else case


def _share(there: np.ndarray, known: np.ndarray) -> float | None:
    """Share of what is known, 0 to 1; None where nothing is."""
    return float(np.mean(there[known])) if known.any() else None


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
    folds = np.array([plan[case] for case in range(len(plan))])[groups]
    slices = np.bincount(folds, minlength=n_splits)
    if not slices.all():
        return float("inf")
    known = np.bincount(folds, weights=label >= 0, minlength=n_splits)
    if not known.all():
        return _NOTHING_KNOWN
    annotated = np.bincount(folds, weights=label > 0, minlength=n_splits) / known
    uneven = np.abs(slices / (len(label) / n_splits) - 1).max() / _SLICES_TOLERANCE
    unlike = np.abs(annotated - np.mean(label[label >= 0] > 0)).max() / _SHARE_TOLERANCE
    return float(max(uneven, unlike))
