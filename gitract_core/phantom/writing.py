"""Write a phantom as a folder in the contest's layout, in parallel; complete unfinished ones.

::

    DIR/phantom.json            what this folder is: spec and version of the drawing; written first
    DIR/train/caseN/caseN_dayN/scans/slice_0001_266_266_1.50_1.50.png
    DIR/test/...                the same for unseen cases and later days of seen ones
    DIR/sample_submission.csv   the header alone, as the contest gives it
    DIR/test_truth.csv          what a submission for test/ is scored against
    DIR/train.csv               written last: a phantom that has it is whole
    DIR/.drawing/               while it grows: scans not yet whole, and the masks of whole ones

A scan is drawn aside and renamed into place, after its masks; a scan that is there is not redrawn.
"""

from __future__ import annotations

import multiprocessing
import shutil
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from gitract_core.data.rle import encode
from gitract_core.errors import DataError, GitractError
from gitract_core.files.atomic import read_json, replacing, write_bytes, write_json
from gitract_core.files.names import require_utf8
from gitract_core.organs import CONTEST
from gitract_core.phantom.phantom_spec import PhantomSpec
from gitract_core.phantom.planning.drawing import make_plan
from gitract_core.phantom.planning.scan_plan import PhantomPlan, ScanPlan
from gitract_core.phantom.scan import Scan
from gitract_core.processors import usable_processors
from gitract_core.progress import Progress, silent

_MARKER = "phantom.json"
_ASIDE = ".drawing"
_FORMAT = 1  # raise it when the layout of the folder changes
DRAWING = 2  # raise it when the same spec comes out as other pictures or masks
_PNG = (cv2.IMWRITE_PNG_COMPRESSION, 1)


@dataclass(frozen=True, slots=True)
class _Job:
    """One scan for a worker process to draw."""

    root: Path
    part: str
    plan: ScanPlan
    seed: int

    @property
    def folder(self) -> Path:
        return self.root / self.part / f"case{self.plan.case}" / self.plan.name

    @property
    def masks(self) -> Path:
        return self.root / _ASIDE / f"{self.part}_{self.plan.name}.csv"


def write_phantom(
    directory: Path | str,
    *,
    cases: int,
    seed: int = 0,
    slices_per_scan: int | None = None,
    workers: int | None = None,
    progress: Progress = silent,
) -> PhantomPlan:
    """Write a synthetic data set in the contest's layout.

    The same arguments give the same bytes, whatever the number of workers. A folder that was left
    half-written is finished; a whole one is left alone.

    Args:
        directory: a new or empty folder, or one that this function wrote.
        cases: patients of the training folder; one unseen test patient is added for every five.
        seed: everything random derives from it.
        slices_per_scan: slices of a scan in place of 144 (80-slice scans shrink alike).
        workers: processes; ``None``: one a core.
        progress: called with scans done and scans in all.

    Returns:
        The plan that was drawn.

    Raises:
        DataError: arguments out of range, or a folder that holds something else.
    """
    spec = PhantomSpec.small(cases, seed, slices_per_scan)
    return write_phantom_of(directory, spec, workers=workers, progress=progress)


def write_phantom_of(
    directory: Path | str,
    spec: PhantomSpec,
    *,
    workers: int | None = None,
    progress: Progress = silent,
) -> PhantomPlan:
    """Write the phantom of a spec, for example ``PhantomSpec.like_paper()``; see write_phantom."""
    if workers is not None and workers < 1:
        raise DataError("phantom workers", "1 or more", workers, "pass another number")
    root = Path(directory)
    require_utf8(root)  # OpenCV ends the process at others
    plan = make_plan(spec)
    claim(root, spec)
    jobs = [_Job(root, "train", scan, spec.seed) for scan in plan.train]
    jobs += [_Job(root, "test", scan, spec.seed) for scan in plan.test]
    if not (root / "train.csv").exists():
        _draw_all(jobs, workers or usable_processors(), progress)
        _write_tables(root, jobs)
    progress(len(jobs), len(jobs))
    shutil.rmtree(root / _ASIDE, ignore_errors=True)
    return plan


def claim(root: Path, spec: PhantomSpec, more: Mapping[str, object] | None = None) -> None:
    """Mark a new folder as a phantom's, or check that it is one of this spec.

    Args:
        root: the folder.
        spec: of the phantom.
        more: what else the mark says, where the layout is not the contest's.

    Raises:
        DataError: the folder holds something else.
    """
    marker = root / _MARKER
    stated = {"format": _FORMAT, "drawing": DRAWING, **spec.to_json(), **(more or {})}
    if root.exists() and not root.is_dir():
        raise DataError(root, "a folder", "a file", "choose another folder")
    if marker.is_file():
        recorded = {"drawing": 1, **_read_marker(marker)}  # the first drawings had no number
        if {**recorded, "drawing": DRAWING} == stated and recorded["drawing"] != DRAWING:
            remedy = "remove the folder to have it drawn anew, or choose another"
            got = f"one of drawing {recorded['drawing']}, whose pictures differ"
            raise DataError(root, f"a phantom of drawing {DRAWING}", got, remedy)
        if recorded != stated:
            remedy = "choose another folder, or remove this one"
            raise DataError(root, f"a phantom of {stated}", recorded, remedy)
        return
    held = sorted(p.name for p in root.iterdir()) if root.is_dir() else []
    if held:
        got = f"{held[0]!r} ({len(held)} entries, no {_MARKER})"
        raise DataError(root, "a new or empty folder", got, "choose another folder")
    root.mkdir(parents=True, exist_ok=True)
    write_json(marker, stated)


def _read_marker(marker: Path) -> dict[str, object]:
    try:
        return read_json(marker)
    except GitractError as error:
        raise DataError(marker, "the spec of a phantom", error, "choose another folder") from None


def _draw_all(jobs: Sequence[_Job], workers: int, progress: Progress) -> None:
    """Draw every scan that is not there yet."""
    pending = [job for job in jobs if not (job.folder.is_dir() and job.masks.is_file())]
    done = len(jobs) - len(pending)
    progress(done, len(jobs))
    for _ in _finished(pending, min(workers, len(pending))):
        done += 1
        progress(done, len(jobs))


def _finished(jobs: Sequence[_Job], workers: int) -> Iterator[None]:
    """Draw scans, in this process or in several, yielding after each."""
    if workers <= 1:
        for job in jobs:
            _draw(job)
            yield
        return
    context = multiprocessing.get_context("spawn")  # a fork would copy the caller's threads
    with ProcessPoolExecutor(workers, context, initializer=_one_thread) as pool:
        futures = [pool.submit(_draw, job) for job in jobs]
        try:
            for future in as_completed(futures):
                yield future.result()
        finally:
            pool.shutdown(cancel_futures=True)


def _one_thread() -> None:
    cv2.setNumThreads(1)


def _draw(job: _Job) -> None:
    """Draw one scan in a temporary folder; move its masks, then its images, into place."""
    with _aside(job) as folder:
        scans = folder / "scans"
        scans.mkdir(parents=True)
        rows = []
        for position, (image, masks) in enumerate(Scan.drawn(job.plan, job.seed).slices()):
            path = scans / job.plan.image_name(position)
            if not cv2.imwrite(str(path), image, _PNG):
                raise DataError(path, "room for an image", "a failed write", "free some disk")
            rows += _mask_rows(job.plan, position, masks)
        write_bytes(job.masks, "".join(rows).encode())
        job.folder.parent.mkdir(parents=True, exist_ok=True)
        if job.folder.exists():  # images without masks: of a run that was cut short
            shutil.rmtree(job.folder)
        folder.rename(job.folder)


@contextmanager
def _aside(job: _Job) -> Iterator[Path]:
    folder = job.root / _ASIDE / f"{job.part}_{job.plan.name}"
    shutil.rmtree(folder, ignore_errors=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _mask_rows(plan: ScanPlan, position: int, masks: np.ndarray) -> list[str]:
    """Three lines of ``test_truth.csv``: id, class, masks, height, width."""
    name = f"{plan.name}_slice_{position + 1:04d}"
    texts = [encode(mask) for mask in masks]
    size = f"{plan.height},{plan.width}"
    return [f"{name},{organ},{text},{size}\n" for organ, text in zip(CONTEST, texts, strict=True)]


def _write_tables(root: Path, jobs: Sequence[_Job]) -> None:
    """The three tables; ``train.csv`` last, since it says that the phantom is whole."""
    write_bytes(root / "sample_submission.csv", b"id,class,predicted\n")
    with replacing(root / "test_truth.csv") as part, part.open("w", newline="") as file:
        file.write("id,class,segmentation,height,width\n")
        for job in jobs:
            if job.part == "test":
                file.write(job.masks.read_text())
    with replacing(root / "train.csv") as part, part.open("w", newline="") as file:
        file.write("id,class,segmentation\n")
        for job in jobs:
            if job.part == "train":
                lines = job.masks.read_text().splitlines()
                file.writelines(line.rsplit(",", 2)[0] + "\n" for line in lines)
