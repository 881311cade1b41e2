"""Results of a run as its score sees them. Loads neither torch nor Ray.

A trial leaves the sums of the contest's score, and of the sweep's where that is another one. Sums
of a score that is asked for later are made of the out-of-fold probabilities and kept in
``RUN/report/scores/SCORE/KEY.json``, sealed; a file that is damaged or of an earlier training is as
good as none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, TypedDict

from gitract_core.data.ids import NAME_PATTERN
from gitract_core.errors import RunError
from gitract_core.files.atomic import read_json, write_json
from gitract_core.files.json_shapes import Meta
from gitract_core.metrics.score import COMPETITION, Mixture
from gitract_core.results.result_shape import Sums
from gitract_core.results.trial_result import TrialResult
from gitract_core.results.under_score import CaseSums, own_sums_of, under_score
from gitract_core.spec import TrialSpec, digest
from orchestrator.sweeps.run_directory import SweepDirectory

_REMEDY = "remove the file: it is made anew from the out-of-fold probabilities"


class UnscoredError(RunError):
    """A finished trial has no sums of a score."""


class _Kept(TypedDict):
    score: str
    of: str
    per_case: dict[Annotated[str, Meta(pattern=NAME_PATTERN)], dict[str, Sums]]


@dataclass(frozen=True)
class ScoredTrials:
    """Reads the results of a run.

    Attributes:
        directory: of the run.
        asked: the score; that of the run's record if None.
    """

    directory: SweepDirectory
    asked: Mixture | None = None

    @cached_property
    def score(self) -> Mixture:
        """By which trials are scored."""
        return self.asked or self.directory.record().measure

    def result(self, spec: TrialSpec) -> TrialResult | None:
        """A trial's result with figures of the score, or None if it is not finished.

        Raises:
            UnscoredError: it is finished, and there are no sums of the score.
            RunError: the file is damaged, or of another trial.
        """
        result = self.directory.result(spec)
        return result and self.under(result)

    def under(self, result: TrialResult) -> TrialResult:
        """A result, as the trial left it, with figures of the score.

        Raises:
            UnscoredError: there are no sums of the score.
        """
        if self.score is COMPETITION:
            return result
        sums = self._sums(result)
        if sums is None:
            oof = self.directory.trial(result.spec).oof
            got = "none, and no out-of-fold probabilities to make them of"
            raise UnscoredError(oof, f"sums by {self.score.text}", got, "rank it by another score")
        return under_score(result, sums, self.score)

    def missing(self, specs: Sequence[TrialSpec]) -> list[TrialResult]:
        """The finished trials without sums of the score, as they were left."""
        if self.score is COMPETITION:
            return []
        found = []
        for spec in specs:
            try:
                result = self.directory.result(spec)
            except RunError:
                continue  # damaged: the report says so
            if result and self._sums(result) is None:
                found.append(result)
        return found

    def keep(self, result: TrialResult, per_case: CaseSums) -> None:
        """Write sums of the score, atomically."""
        values = {"score": self.score.text, "of": _mark(result), "per_case": per_case}
        write_json(self._file(result.spec), values, seal=True)

    def _file(self, spec: TrialSpec) -> Path:
        scores = self.directory.path / "report" / "scores"
        return scores / digest(self.score.text) / f"{spec.key}.json"

    def _sums(self, result: TrialResult) -> CaseSums | None:
        left, file = own_sums_of(result, self.score), self._file(result.spec)
        if left is not None or not file.is_file():
            return left
        try:
            kept = read_json(file, _Kept, _REMEDY)
        except RunError:
            return None
        fits = kept["score"] == self.score.text and kept["of"] == _mark(result)
        return kept["per_case"] if fits else None


def kept_files(directory: SweepDirectory, key: str = "*") -> list[Path]:
    """The files of sums that were made later, of one trial or of all."""
    return sorted(directory.path.glob(f"report/scores/*/{key}.json"))


def check_kept(file: Path) -> None:
    """Read such a file.

    Raises:
        RunError: it is damaged.
    """
    read_json(file, _Kept, _REMEDY)


def _mark(result: TrialResult) -> str:
    """What tells two trainings of one trial apart: the contest's sums of their predictions."""
    return digest(result.per_case)
