"""A run on a data set in nnU-Net's layout, and predictions for it in every form of other tools."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Mapping
from pathlib import Path

import nibabel as nib
import numpy as np

from orchestrator.sweeps.preparation import PreparedSweep, SweepRequest, prepare
from tests.support.other_layouts import AFFINE, BY_LETTER, SCANS, as_slices, write_volume
from tests.support.stub_results import write_result
from tests.support.tiny_contest import slow_encode
from tests.support.tiny_sweep import tiny_space

ORGANS = {"liver": 1, "spleen": 2}
Maps = Mapping[str, np.ndarray]
"""Label maps (x, y, z) by scan."""


def prepared_run(data: Path, out: Path, **options: object) -> PreparedSweep:
    """A run of two candidates with made-up results: ``bce`` scores .5 and ``dice`` .3."""
    space = tiny_space({"loss": "bce"}, {"loss": "dice"})
    sweep = prepare(SweepRequest(data, space, out, patients=BY_LETTER, **options))  # type: ignore[arg-type]
    for spec in sweep.specs:
        write_result(sweep, spec, 0.5 if spec.candidate.loss == "bce" else 0.3)
    return sweep


def truth_of(data: Path) -> dict[str, np.ndarray]:
    """The annotated label maps."""
    return {
        scan: np.asarray(nib.load(data / "labelsTr" / f"{scan}.nii.gz").dataobj) for scan in SCANS
    }


def worse(truth: Maps) -> dict[str, np.ndarray]:
    """The label maps with some of the rows that hold anything set to background."""
    found = {}
    for number, (scan, labels) in enumerate(truth.items()):
        made = labels.copy()
        held = np.flatnonzero(labels.any(axis=(0, 2)))
        made[:, held[: 2 + number]] = 0
        found[scan] = made
    return found


def splits_of(folds_file: Path) -> list[dict[str, list[str]]]:
    """What nnU-Net would be given for a run's ``folds.json``."""
    fold_of = json.loads(folds_file.read_text())["fold_of_case"]
    found = []
    for fold in sorted(set(fold_of.values())):
        val = [scan for scan in SCANS if fold_of[scan[:2]] == fold]
        found.append({"train": [scan for scan in SCANS if scan not in val], "val": val})
    return found


def write_tree(root: Path, maps: Maps, splits: list[dict[str, list[str]]]) -> Path:
    """As nnU-Net leaves its results, with the splits beside."""
    for fold, split in enumerate(splits):
        for scan in split["val"]:
            if scan in maps:
                write_volume(root / f"fold_{fold}" / "validation" / f"{scan}.nii.gz", maps[scan])
    labels = {"background": 0, **ORGANS}
    (root / "dataset.json").write_text(json.dumps({"labels": labels, "file_ending": ".nii.gz"}))
    (root / "splits_final.json").write_text(json.dumps(splits))
    return root


def write_maps(root: Path, maps: Maps) -> Path:
    """A label map a scan; which values organs have is told by the data set."""
    for scan, labels in maps.items():
        write_volume(root / f"{scan}.nii.gz", labels)
    return root


def write_masks(root: Path, maps: Maps) -> Path:
    """A mask file an organ."""
    for scan, labels in maps.items():
        for organ, value in ORGANS.items():
            mask = (labels == value).astype(np.uint8)
            write_volume(root / f"{scan}_{organ}.nii.gz", mask, AFFINE)
    return root


def write_table(root: Path, maps: Maps) -> Path:
    """A submission."""
    root.mkdir(parents=True, exist_ok=True)
    with (root / "oof.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["id", "class", "predicted"])
        for scan, labels in maps.items():
            for number, plane in enumerate(as_slices(labels), 1):
                for organ, value in ORGANS.items():
                    text = slow_encode(plane == value)
                    rows.writerow([f"{scan}_slice_{number:04d}", organ, text])
    return root / "oof.csv"


def write_probabilities(root: Path, maps: Maps) -> Path:
    """An archive with a key a scan."""
    root.mkdir(parents=True, exist_ok=True)
    shares = {
        scan: np.stack([0.4 + 0.2 * (as_slices(labels) == value) for value in ORGANS.values()])
        for scan, labels in maps.items()
    }
    np.savez(root / "oof.npz", **{scan: v.astype(np.float32) for scan, v in shares.items()})
    return root / "oof.npz"


FORMS: dict[str, Callable[[Path, Maps], Path]] = {
    "label maps": write_maps,
    "masks": write_masks,
    "submission": write_table,
    "probabilities": write_probabilities,
}
