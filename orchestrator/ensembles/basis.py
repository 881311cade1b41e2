"""What masks of new scans rest on: which data, and how well they fared out of fold."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NotRequired, TypedDict

from gitract_core.errors import RunError
from gitract_core.files.atomic import read_json
from gitract_core.prediction.announced_scores import NAME as SCORES
from gitract_core.prediction.announced_scores import read_announced
from gitract_core.prediction.members import Members, manifest_path
from gitract_core.results.trial_result import TrialFiles, TrialResult
from orchestrator.storage.stored_members import local_members
from orchestrator.sweeps.run_directory import SweepDirectory

_PHANTOM = "phantom.json"  # in every data set that gitract-cv phantom wrote
BUNDLE = "bundle.json"


@dataclass(frozen=True)
class Basis:
    """What masks rest on.

    Attributes:
        synthetic: whether networks learned from a phantom; None where that is not known.
        dice: of each organ the mean Dice over slices, out of fold; None where it is not known.
    """

    synthetic: bool | None = None
    dice: Mapping[str, float | None] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Plain values, as in ``bundle.json``."""
        return {"synthetic": self.synthetic, "dice": dict(self.dice)}


class _RestsOn(TypedDict):
    synthetic: bool | None
    dice: dict[str, float | None]


class _BundleShape(TypedDict):
    """What is read of ``bundle.json``; older bundles do not say what they rest on."""

    rests_on: NotRequired[_RestsOn]


def basis_of(manifest: Path, members: Members) -> Basis:
    """What an ensemble, a trial or a bundle rests on, as far as the files around it tell.

    Args:
        manifest: ``members.json``, or one trial's directory.
        members: that it holds.
    """
    directory = manifest if manifest.is_dir() else manifest.parent
    if (bundle := directory / BUNDLE).is_file():
        found = read_json(bundle, _BundleShape).get("rests_on")
        if found is None:
            return Basis()
        return Basis(found["synthetic"], found["dice"])
    dice = _of_ensemble(directory, members) if manifest.is_file() else _of_trial(directory)
    return Basis(_is_synthetic(directory), dice)


def _is_synthetic(directory: Path) -> bool | None:
    """By the data of the run of a directory: ``RUN/ensembles/NAME`` or ``RUN/trials/KEY``."""
    run = SweepDirectory(directory.resolve().parent.parent)
    if not run.record_file.is_file():
        return None
    try:
        data = run.record().data_directory
    except RunError:
        return None
    return (data / _PHANTOM).is_file() if data.is_dir() else None


def _of_ensemble(directory: Path, members: Members) -> dict[str, float | None]:
    scores = directory / SCORES
    cases = read_announced(scores).get("per_case", {}) if scores.is_file() else {}
    found: dict[str, float | None] = {}
    for place, organ in enumerate(members.organs):
        sums, counts = (
            sum(one[name][place] for one in cases.values() if len(one.get(name, ())) > place)
            for name in ("dice_sum", "dice_rows")
        )
        found[organ] = sums / counts if counts else None
    return found


def _of_trial(directory: Path) -> dict[str, float | None]:
    by_organ = TrialResult.load(TrialFiles(directory).result).scores.get("per_class", {})
    return {organ: figures.get("dice") for organ, figures in by_organ.items()}


def find_members(path: Path) -> Path:
    """The manifest of an ensemble, of a trial, or of a run's best ensemble.

    Args:
        path: ``members.json``, its directory, a trial's directory, an address in an object store,
            or a run's directory.

    Raises:
        RunError: a run without an ensemble; or nothing of that kind.
        StoreError: see ``local_members``.
    """
    found = manifest_path(local_members(path))
    if found.is_file() or not (path / "sweep.json").is_file():
        return found
    manifests = sorted((path / "ensembles").glob("*/members.json"))
    if not manifests:
        remedy = (
            f"make one (gitract-cv ensemble {path}), or pass {os.path.join(path, 'trials')}/KEY"
        )
        raise RunError(path, "a run with an ensemble", "none", remedy)
    return max(manifests, key=_announced_score)


def _announced_score(manifest: Path) -> float:
    scores = manifest.with_name(SCORES)
    try:
        score = read_announced(scores)["score"] if scores.is_file() else None
    except RunError:
        score = None
    return -1.0 if score is None else score
