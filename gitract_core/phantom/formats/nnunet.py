"""nnU-Net's raw layout; overlaps are values of their own, and organs are regions of values."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from gitract_core.files.atomic import write_json
from gitract_core.organs import Organs
from gitract_core.phantom.formats.drawn_scan import DrawnScan
from gitract_core.phantom.formats.nifti_volume import write_volume

ENDING = ".nii.gz"


def write_scan(drawn: DrawnScan, root: Path) -> None:
    """Image and label map; a label's value is a sum of bits, one an organ."""
    part = "Ts" if drawn.held_out else "Tr"
    labels = root / f"labels{part}" / f"{drawn.name}{ENDING}"
    if labels.is_file():
        return
    placing = drawn.scan.placing
    write_volume(root / f"images{part}" / f"{drawn.name}_0000{ENDING}", drawn.scan.images, placing)
    bits = 1 << np.arange(len(drawn.organs))
    values = np.tensordot(bits, drawn.masks, axes=1)
    write_volume(labels, values.astype(np.uint8), placing)


def write_description(root: Path, organs: Organs, scans: int) -> str:
    """``dataset.json``; returns what ``dataset.yaml`` has to say."""
    bits = {organ: 1 << place for place, organ in enumerate(organs)}
    every = range(1, 1 << len(organs))
    regions = {organ: [value for value in every if value & bit] for organ, bit in bits.items()}
    described = {
        "channel_names": {"0": "MR"},
        "labels": {"background": 0, **regions},
        "regions_class_order": list(bits.values()),
        "numTraining": scans,
        "file_ending": ENDING,
    }
    write_json(root / "dataset.json", described)
    return "patients: 'case(\\d+)_'\n"
