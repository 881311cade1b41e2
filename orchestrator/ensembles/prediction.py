"""Predicts new scans with an ensemble in an executor's processes, one scan at a time each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from gitract_core.data.slices import SliceIndex
from gitract_core.device import Runtime
from gitract_core.plugin import Plugin
from gitract_core.plugins import execute_of
from gitract_core.prediction.members import Members, Predictor
from gitract_core.prediction.provenance import write_note
from gitract_core.prediction.submission import Fault, check_submission, write_submission
from gitract_core.progress import Progress, silent
from orchestrator.capacity.trial_slots import Node, Slots
from orchestrator.execution.executor import Executor

Row = tuple[str, str, str]
_LEAST_SCANS_EACH = 4


@dataclass(frozen=True)
class ScanRows:
    """The rows of scans in a submission, as ``Work`` of an executor.

    Attributes:
        manifest: ``members.json``, or one trial's directory; seen under this path by every node.
        images: the scans, likewise.
        runtime: where to predict.
        plugins: those that the user named to the driver.
    """

    manifest: Path
    images: SliceIndex
    runtime: Runtime
    plugins: tuple[Plugin, ...] = ()

    def begin(self) -> Callable[[str], list[Row]]:
        """Load the members; what comes back predicts one scan by its name.

        Raises:
            RunError: weights are missing or changed since the manifest was written.
        """
        directory = self.manifest if self.manifest.is_dir() else self.manifest.parent
        members = Members.load(self.manifest)
        for member in members.members:
            execute_of(member.candidate.plugin, self.plugins)
        predictor = Predictor(members, directory, self.runtime)
        return partial(predictor.rows, self.images)


def choose_workers(
    nodes: Sequence[Node], n_scans: int, device: str, workers: int | None = None
) -> Slots:
    """How many scans are predicted at once, unless ``workers`` says it: one a GPU.

    Without a GPU one a processor, if each gets enough scans to be worth a process that has to
    import torch first; else one scan after another with all processors.

    >>> choose_workers([Node(cpus=8)], 40, "auto"), choose_workers([Node(cpus=8)], 4, "auto")
    (Slots(count=8, cpus=1, gpus=0.0, device='cpu'), Slots(count=1, cpus=8, gpus=0.0, device='cpu'))
    """
    cpus, smallest = sum(node.cpus for node in nodes), min(node.cpus for node in nodes)
    gpus = 0 if device == "cpu" else sum(node.gpus for node in nodes)
    if ":" in device:  # one GPU by its number
        workers = 1
    worthwhile = gpus or (cpus if n_scans >= _LEAST_SCANS_EACH * cpus else len(nodes))
    count = workers or max(1, min(worthwhile, n_scans))
    threads = max(1, min(cpus // count, smallest))
    name = ("cuda" if gpus else "cpu") if device == "auto" else device
    return Slots(count, threads, min(gpus / count, 1.0), name)


def write_predictions(
    work: ScanRows, out: Path, executor: Executor, slots: Slots, progress: Progress = silent
) -> list[Fault]:
    """Predict every scan into a submission with its note, and check it.

    Memory holds the scans that are in work, however many there are.

    Args:
        work: members and scans.
        out: the submission.
        executor: where to predict.
        slots: how many scans at once.
        progress: called with (scans done, all scans).

    Returns:
        The faults found in it; an empty list if it is in order.
    """
    scans = list(work.images.scans)

    def rows() -> Iterator[Row]:
        for done, part in enumerate(executor.map(work, scans, slots), 1):
            yield from part
            progress(done, len(scans))

    write_submission(out, rows())
    write_note(out, work.manifest, work.images)
    sizes = work.images.table[["id", "height", "width"]]
    return check_submission(out, sizes, organs=Members.load(work.manifest).organs)
