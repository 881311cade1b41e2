"""Data sets in nnU-Net's layout and as NIfTI pairs, made without any of the project's own code.

A **label map** here has axes x, y, z to the patient's left, back and head, as nibabel's LPS+ writes
it; the affine says so. Scans are noise with bright boxes, one a label value.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

SHAPE = (24, 20, 6)  # x, y, z
SPACING = (1.5, 2.0, 4.0)
AFFINE = np.diag([-SPACING[0], -SPACING[1], SPACING[2], 1.0])  # left, back, head
SCANS = ("p1_a", "p1_b", "p2_a", "p3_a", "p4_a")
BY_LETTER = r"(p\d+)_"
"""Patients of ``SCANS``: four, the first with two scans."""


def label_map(values: Sequence[int] = (1, 2), *, seed: int = 0) -> np.ndarray:
    """Boxes of the values in the middle slices, uint8 (x, y, z); place and size by the seed."""
    random = np.random.default_rng(seed)
    made = np.zeros(SHAPE, np.uint8)
    for place, value in enumerate(values):
        x = 2 + place * (SHAPE[0] - 4) // len(values)
        width = (SHAPE[0] - 4) // len(values) - 1
        y = int(random.integers(3, 7))
        made[x : x + width, y : y + 9, 1:5] = value
    return made


def image_of(labels: np.ndarray, *, seed: int = 0) -> np.ndarray:
    """Noise, brighter by 300 a label value, uint16."""
    noise = np.random.default_rng(seed).integers(0, 200, labels.shape)
    return np.asarray(noise + 300 * labels.astype(np.int64), np.uint16)


def write_volume(file: Path, values: np.ndarray, affine: np.ndarray = AFFINE) -> Path:
    """One NIfTI file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(values, affine), file)
    return file


def write_nnunet(
    root: Path,
    *,
    labels: Mapping[str, Any] | None = None,
    channels: Sequence[str] = ("MR",),
    values: Sequence[int] = (1, 2),
    scans: Sequence[str] = SCANS,
) -> Path:
    """A data set of nnU-Net's; channels after the first are darker copies of it."""
    labels = labels or {"background": 0, "liver": 1, "spleen": 2}
    for seed, scan in enumerate(scans):
        truth = label_map(values, seed=seed)
        image = image_of(truth, seed=seed)
        for number in range(len(channels)):
            file = root / "imagesTr" / f"{scan}_{number:04d}.nii.gz"
            write_volume(file, image // (number + 1))
        write_volume(root / "labelsTr" / f"{scan}.nii.gz", truth)
    described = {
        "channel_names": {str(n): name for n, name in enumerate(channels)},
        "labels": labels,
        "numTraining": len(scans),
        "file_ending": ".nii.gz",
    }
    (root / "dataset.json").write_text(json.dumps(described))
    return root


def write_pairs(
    root: Path,
    *,
    organs: Mapping[str, int] | None = None,
    files: bool = False,
    scans: Sequence[str] = SCANS,
) -> Path:
    """Images and labels: label maps with a ``dataset.yaml``, or one mask file an organ."""
    organs = organs or {"liver": 1, "spleen": 2}
    for seed, scan in enumerate(scans):
        truth = label_map(tuple(organs.values()), seed=seed)
        write_volume(root / "images" / f"{scan}.nii.gz", image_of(truth, seed=seed))
        for name, value in organs.items() if files else ():
            mask = (truth == value).astype(np.uint8)
            write_volume(root / "labels" / f"{scan}_{name}.nii.gz", mask)
        if not files:
            write_volume(root / "labels" / f"{scan}.nii.gz", truth)
    if not files:
        lines = "".join(f"  {name}: {value}\n" for name, value in organs.items())
        (root / "dataset.yaml").write_text(f"organs:\n{lines}")
    return root


def as_slices(values: np.ndarray) -> np.ndarray:
    """An array (x, y, z) of this module as networks see scans: slices from head to feet."""
    return values.transpose(2, 1, 0)[::-1]
