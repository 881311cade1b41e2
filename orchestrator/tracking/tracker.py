"""The tracker protocol, and the run as trackers read it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from gitract_core.errors import RunError
from gitract_core.results.trial_result import EpochRecord, TrialResult, read_history
from gitract_core.spec import Candidate, TrialSpec
from orchestrator.results.scored_trials import ScoredTrials
from orchestrator.sweeps.labels import candidate_labels, fold_numbers
from orchestrator.sweeps.run_directory import SweepDirectory
from search_spaces.loader import varying_knobs


class Tracker(Protocol):
    """Shows a run to people; called from one thread, which is not the sweep's."""

    def update(self, spec: TrialSpec) -> None:
        """Bring what is shown of a trial up to its files."""

    def close(self) -> None:
        """The sweep ends here, finished or not."""


class TrackedRun:
    """A run as trackers see it, from their threads.

    Attributes:
        directory: its files.
        specs: the trials of this sweep, finished ones included.
        labels: short names of the candidates.
        folds: the number of each trial's fold, by its key.
    """

    def __init__(self, directory: SweepDirectory, specs: Sequence[TrialSpec]) -> None:
        self.directory, self._scored = directory, ScoredTrials(directory)
        self.specs: Sequence[TrialSpec] = ()
        self.labels: Mapping[Candidate, str] = {}
        self.folds: Mapping[str, int] = {}
        self.add(specs)

    def add(self, specs: Sequence[TrialSpec]) -> None:
        """Further trials of the sweep; nothing that a thread may be reading is changed."""
        every = (*self.specs, *specs)
        self.labels = candidate_labels(tuple(dict.fromkeys(s.candidate for s in every)))
        self.folds = fold_numbers(every)
        self.specs = every

    def knobs(self, candidate: Candidate) -> dict[str, Any]:
        """The knobs in which the candidates differ, and their values for this one."""
        varying = varying_knobs(tuple(self.labels)) or ("loss",)
        return {name: candidate.knobs()[name] for name in varying}

    def result(self, spec: TrialSpec) -> TrialResult | None:
        """What a finished trial left; None for others, and for a damaged result."""
        try:
            return self._scored.result(spec)
        except RunError:
            return None

    def epochs(self, spec: TrialSpec) -> list[tuple[EpochRecord, float]]:
        """The epochs so far, each with the time of its end in seconds since 1970.

        Times are counted back from the last epoch's; pauses between attempts are left out.
        """
        file = self.directory.trial(spec).history
        try:
            at = file.stat().st_mtime
            records = read_history(file)
        except (OSError, RunError):
            return []
        found = []
        for record in reversed(records):
            found.append((record, at))
            at -= record.seconds
        return found[::-1]

    def final_scores(self, spec: TrialSpec) -> dict[str, float]:
        """The held-out fold's scores of a finished trial; empty for others."""
        result = self.result(spec)
        scores = result.scores if result else {}
        found = {name: scores.get(key) for name, key in self.score_names.items()}
        return {name: value for name, value in found.items() if value is not None}

    @property
    def score_names(self) -> dict[str, str]:
        """Names that trackers take of the score and its means, and the keys of these."""
        keys = ("score", *(mean.key for mean in self._scored.score.means))
        return {key.replace("@", "_at_"): key for key in keys}
