"""An ensemble of a run: its score, and masks and submissions of new scans."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from gitract_core.errors import RunError
from gitract_core.processors import usable_processors
from gitract_core.progress import Progress, silent

if TYPE_CHECKING:
    import numpy as np
    from rich.console import Console

    from gitract_core.data.slices import SliceIndex
    from gitract_core.prediction.members import Predictor
    from gitract_core.prediction.submission import Fault
    from orchestrator.ensembles.making import Announcement, Ensemble
    from orchestrator.results.leaderboard import Leaderboard
    from orchestrator.results.verdict import Verdict
    from orchestrator.statistics.optimism import Optimism


@dataclass(frozen=True)
class RunEnsemble:
    """The best candidates of a run, averaged.

    Attributes:
        made: members, rules and score, as they lie in ``RUN/ensembles/NAME``.
        board: the ranking that it was chosen from.
    """

    made: Ensemble
    board: Leaderboard

    @property
    def score(self) -> Announcement:
        """Its out-of-fold score on patients that took no part in choosing it."""
        return self.made.announced

    @property
    def manifest(self) -> Path:
        """``members.json``."""
        return self.made.directory / "members.json"

    @property
    def test_images(self) -> Path:
        """The data set's own scans to predict, which need not be there."""
        from gitract_core.data.layouts.to_predict import test_folder

        return test_folder(self.board.record.data_directory)

    def predict(self, images: str | Path, device: str = "auto") -> ScanMasks:
        """Masks of new scans in any layout, predicted when they are asked for.

        Args:
            images: folder of scans.
            device: ``auto``, ``cpu`` or ``cuda``.

        Raises:
            DataError: no scans, or unreadable ones.
        """
        from gitract_core.data.slices import SliceIndex
        from gitract_core.device import Runtime

        runtime = Runtime(device, usable_processors())
        members = self.made.members
        index = SliceIndex.to_predict(images, channels=members.channels, axis=members.axis)
        return ScanMasks(self.manifest, index, runtime)

    def submission(self, path: str | Path, images: str | Path | None = None, **how: object) -> Path:
        """Predict scans into a submission, and check it.

        Args:
            path: the file to write.
            images: folder of scans; the data set's ``test`` if left out.
            **how: ``device``, ``workers``, ``address`` as in ``write_submission``.

        Raises:
            RunError: no scans, or faults in what was written.
        """
        from gitract_core.data.slices import SliceIndex

        members = self.made.members
        index = SliceIndex.to_predict(
            images or self.test_images, channels=members.channels, axis=members.axis
        )
        faults = write_submission(self.manifest, index, Path(path), **how)  # type: ignore[arg-type]
        if faults:
            raise RunError(path, "a submission in order", str(faults[0]), "make it again")
        return Path(path)


def announced_by_report(made: Ensemble, verdict: Verdict | None) -> Optimism | None:
    """What the report announces for the one candidate of an ensemble; None for other ensembles.

    It is not ``made.announced``: the report takes off what the candidate's choice is estimated to
    add, and its interval is for the mean patient; an ensemble is chosen anew for each fold.
    """
    plain = not made.method.tune and not made.members.flip
    if verdict is None or len(made.chosen) != 1 or not plain or verdict.compared < 2:
        return None
    first, winner = verdict.statistics.candidates[0], verdict.statistics.winner
    known = winner.corrected == winner.corrected and made.chosen[0][0].label == first.name
    return winner if known else None


class ScanMasks(Mapping[str, "np.ndarray"]):
    """Masks by scan, boolean (organs, slices, height, width); predicted when they are asked for."""

    def __init__(self, manifest: Path, index: SliceIndex, runtime: object) -> None:
        self._manifest, self._index, self._runtime = manifest, index, runtime

    @cached_property
    def _predictor(self) -> Predictor:
        from gitract_core.prediction.members import Members, Predictor

        members = Members.load(self._manifest)
        return Predictor(members, self._manifest.parent, self._runtime)  # type: ignore[arg-type]

    def __getitem__(self, scan: str) -> np.ndarray:
        if scan not in self._index.scans:
            raise KeyError(scan)
        return self._predictor.masks(self._index, scan)

    def __iter__(self) -> Iterator[str]:
        return iter(self._index.scans)

    def __len__(self) -> int:
        return len(self._index.scans)


def write_submission(
    manifest: Path,
    index: SliceIndex,
    out: Path,
    *,
    device: str = "auto",
    workers: int | None = None,
    address: str | None = None,
    say: Console | None = None,
    progress: Progress = silent,
) -> Sequence[Fault]:
    """Predict scans in parallel into a submission; returns the faults found in it.

    Args:
        manifest: ``members.json``, or one trial's directory.
        index: the scans.
        out: the file to write.
        device: ``auto``, ``cpu`` or ``cuda``.
        workers: scans at once; by default one a GPU, or by their number.
        address: of a Ray cluster; None for processes of this machine.
        say: takes lines about a Ray session.
        progress: called with (scans done, all scans).
    """
    from rich.console import Console

    from gitract_core.device import Runtime
    from gitract_core.plugin import executed
    from orchestrator.api.machines import machines
    from orchestrator.ensembles.prediction import ScanRows, choose_workers, write_predictions

    say = say or Console(stderr=True, quiet=True)
    with machines(local=address is None, address=address, say=say) as found:
        slots = choose_workers(found.nodes, len(index.scans), device, workers)
        work = ScanRows(manifest, index, Runtime(slots.device, slots.cpus), executed())
        return write_predictions(work, out, found.executor, slots, progress)
