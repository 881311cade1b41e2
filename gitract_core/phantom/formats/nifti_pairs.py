"""NIfTI pairs: an image a scan, and a mask file an organ, which keeps overlaps."""

from __future__ import annotations

from pathlib import Path

from gitract_core.clinic.nifti import write_nifti
from gitract_core.organs import Organs
from gitract_core.phantom.formats.drawn_scan import DrawnScan
from gitract_core.phantom.formats.nifti_volume import write_volume


def write_scan(drawn: DrawnScan, root: Path) -> None:
    """Image and masks, also of organs that are not there: somebody looked."""
    place = root / "test" if drawn.held_out else root
    image = place / "images" / f"{drawn.name}.nii.gz"
    if image.is_file():
        return
    write_nifti(drawn.scan, drawn.masks, place / "labels", organs=drawn.organs)
    write_volume(image, drawn.scan.images, drawn.scan.placing)


def write_description(root: Path, organs: Organs, scans: int) -> str:
    """Nothing beside the scans; returns what ``dataset.yaml`` has to say."""
    return f"organs: [{', '.join(organs)}]\npatients: 'case(\\d+)_'\n"
