"""Trials under every rule that keeps an epoch."""

from __future__ import annotations

from pathlib import Path

from gitract_core.data.folds import FoldPlan
from gitract_core.data.slices import SliceIndex
from gitract_core.spec import Candidate, TrialSpec
from gitract_core.trial.data import TrialData
from tests.support.tiny_sweep import KNOBS

RESTLESS: dict[str, object] = {
    "loss": "bce + dice",
    "optimizer.learning_rate": 0.03,
    "training.epochs": 5,
}


def trial(data: Path, plan: FoldPlan, **knobs: object) -> tuple[TrialSpec, TrialData]:
    index = SliceIndex.from_directory(data)
    changes = {name.replace("__", "."): value for name, value in knobs.items()}
    candidate = Candidate.from_knobs({**KNOBS, **RESTLESS, **changes})
    fingerprint = index.fingerprint
    spec = TrialSpec(candidate, 0, plan.n_splits, 3, fingerprint, plan.fingerprint)
    return spec, TrialData(data, fingerprint, plan)


def plan_of(data: Path) -> FoldPlan:
    cases = sorted(set(SliceIndex.from_directory(data).table["case"]))
    return FoldPlan({case: 0 if place < 1 else 1 for place, case in enumerate(cases)}, 2)
