"""Write a phantom in any layout: drawn as the contest's aside, then turned scan by scan.

::

    DIR/phantom.json     what this folder is; written first
    DIR/.contest/        while it grows: the phantom in the contest's layout
    DIR/dataset.yaml     written last: a phantom that has it is whole
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from gitract_core.errors import DataError
from gitract_core.files.atomic import write_bytes
from gitract_core.optional_packages import require
from gitract_core.organs import Organs
from gitract_core.phantom.faults import PlantedFault, plant_faults
from gitract_core.phantom.phantom_spec import PhantomSpec
from gitract_core.phantom.planning.drawing import make_plan
from gitract_core.phantom.writing import claim, write_phantom_of
from gitract_core.processors import usable_processors
from gitract_core.progress import Progress, silent

if TYPE_CHECKING:
    from gitract_core.phantom.formats.drawn_scan import DrawnScan

Format: TypeAlias = Literal["contest", "nnunet", "nifti", "dicom"]
_ASIDE = ".contest"
_LAST = "dataset.yaml"


def write_phantom_as(
    directory: Path | str,
    spec: PhantomSpec,
    layout: Format,
    *,
    faults: float = 0.0,
    progress: Progress = silent,
) -> list[PlantedFault]:
    """Write the phantom of a spec; a folder left half-written is finished, a whole one left alone.

    Args:
        directory: a new or empty folder, or one that this function wrote.
        spec: what to draw.
        layout: of the folder.
        faults: share of scans with a planted fault of annotation, listed in ``faults.csv``.
        progress: called with (scans done, all scans).

    Returns:
        The faults that were planted now.

    Raises:
        DataError: a folder that holds something else; a package that is missing.
    """
    root = Path(directory)
    if layout == "contest":
        write_phantom_of(root, spec, progress=progress)
        return plant_faults(root, faults, spec.seed) if faults else []
    writers = _writers(layout)
    claim(root, spec, {"layout": layout} | ({"faults": faults} if faults else {}))
    plan = make_plan(spec)
    scans = len(plan.train) + len(plan.test)
    if (root / _LAST).is_file():
        progress(2 * scans, 2 * scans)
        return []
    aside = root / _ASIDE
    write_phantom_of(aside, spec, progress=lambda done, _: progress(done, 2 * scans))
    planted = []
    if faults and not (aside / "faults.csv").exists():
        planted = plant_faults(aside, faults, spec.seed)
    organs = _turn(aside, root, writers, lambda done: progress(scans + done, 2 * scans))
    if faults:
        write_bytes(root / "faults.csv", (aside / "faults.csv").read_bytes())
    said = writers.describe(root, organs, len(plan.train))
    write_bytes(root / _LAST, said.encode())
    shutil.rmtree(aside, ignore_errors=True)
    return planted


@dataclass(frozen=True)
class _Writers:
    """How a layout is written: a scan, and what lies beside the scans."""

    scan: Callable[[DrawnScan, Path], None]
    describe: Callable[[Path, Organs, int], str]


def _writers(layout: Format) -> _Writers:
    for package in ("nibabel", "pydicom", "contourpy"):
        require(package, f"--format {layout}", "clinic", DataError)
    from gitract_core.phantom.formats import dicom_studies, nifti_pairs, nnunet

    modules = {"nnunet": nnunet, "nifti": nifti_pairs, "dicom": dicom_studies}
    chosen = modules[layout]
    return _Writers(chosen.write_scan, chosen.write_description)


def _turn(aside: Path, root: Path, writers: _Writers, done: Callable[[int], None]) -> Organs:
    """Write every scan of a phantom in the contest's layout; returns its organs."""
    from gitract_core.phantom.formats.drawn_scan import Drawing

    drawing = Drawing.of(aside)

    def turn(read: Callable[[], DrawnScan]) -> None:
        writers.scan(read(), root)

    with ThreadPoolExecutor(usable_processors()) as pool:
        for number, _ in enumerate(pool.map(turn, drawing.scans()), 1):
            done(number)
    return drawing.train.organs
