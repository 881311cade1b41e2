"""Reads every file of a run, and compares it with what was noted of it when it was written.

``docs/files.md`` is the table of files and of what is compared when they are used.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from os.path import lexists  # what is there and no file is a fault, too
from pathlib import Path
from typing import Any

from gitract_core.errors import GitractError, RunError
from gitract_core.files.atomic import read_bytes, read_json
from gitract_core.files.digests import seal_of
from gitract_core.plugin import digests_in
from gitract_core.progress import Progress, silent
from gitract_core.results.trial_result import TrialFiles, TrialResult, read_history
from gitract_core.spec import TrialSpec
from gitract_core.training.checkpoint_file import check_whole
from gitract_core.view import View
from orchestrator.results.scored_trials import check_kept, kept_files
from orchestrator.sweeps import run_digests
from orchestrator.sweeps.added_files import FOLDER as ADDED
from orchestrator.sweeps.added_files import Added
from orchestrator.sweeps.plugin_copies import check_copy
from orchestrator.sweeps.race_log import log_file, read_log
from orchestrator.sweeps.registration import read_registration, registration_file
from orchestrator.sweeps.run_directory import SweepDirectory, SweepRecord

_REMEDY = "make the ensemble anew"


@dataclass(frozen=True, slots=True)
class Verification:
    """What was found in a run.

    Attributes:
        faults: files that are missing, damaged or another's, one line each.
        trials: finished trials that were looked at.
        unverified: what an earlier version wrote without digests: trials, caches, the record.
        unverified_trials: how many trials of those.
    """

    faults: tuple[str, ...]
    trials: int
    unverified: tuple[str, ...]
    unverified_trials: int

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong; what is unverified is not."""
        return not self.faults

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {"ok": self.ok, **asdict(self)}


@dataclass
class _Verifier:
    """Looks at one file after another, and goes on after a fault."""

    run: SweepDirectory
    faults: list[str] = field(default_factory=list)
    unverified: list[str] = field(default_factory=list)
    trials: int = 0
    old_trials: int = 0

    def look(self, at: Callable[[], object]) -> bool:
        """Note what is wrong; whether nothing is."""
        try:
            at()
        except GitractError as error:
            self.faults.append(str(error))
            return False
        return True

    def plugins(self, record: SweepRecord) -> None:
        """The copies of the candidates' plugins."""
        for digest in sorted({d for c in record.candidates for d in digests_in(c.plugin)}):
            self.look(partial(check_copy, self.run.path, digest))

    def trial(self, spec: TrialSpec) -> None:
        """All files of a trial, finished or not."""
        files = self.run.trial(spec)
        for state in (files.checkpoint, files.last):
            if lexists(state):
                self.look(partial(check_whole, state))
        if lexists(files.failure):
            self.look(lambda: read_json(files.failure))
        if lexists(files.result):
            self._finished(spec, files)

    def _finished(self, spec: TrialSpec, files: TrialFiles) -> None:
        self.trials += 1
        results: list[TrialResult] = []
        if not self.look(lambda: results.append(TrialResult.load(files.result, spec))):
            return
        (result,) = results
        if not result.files:
            self.old_trials += 1
            self.look(lambda: read_history(files.history))
            return
        for file in files.bound:
            if file != files.oof:
                self.look(partial(result.check, file))
        for file, flip in ((files.oof, False), (files.oof_flip, True)):
            if lexists(file):  # else it is predicted anew when it is needed
                self.look(partial(_check_oof, file, files, result, flip=flip))

    def ensembles(self) -> None:
        """All ensembles, those without a manifest too."""
        for folder in sorted((self.run.path / "ensembles").glob("*")):
            if any(lexists(folder / name) for name in ("members.json", "oof_score.json")):
                self.ensemble(folder)

    def ensemble(self, folder: Path) -> None:
        """Manifest, weights, results, score and submission of an ensemble."""
        from gitract_core.prediction.announced_scores import NAME, read_announced
        from gitract_core.prediction.members import Members
        from gitract_core.prediction.provenance import note_of

        manifest, found = folder / "members.json", list[Members]()
        if not self.look(lambda: found.append(Members.load(manifest))):
            return
        for member in found[0].members:
            trial = TrialFiles((folder / member.weights).parent)
            self.look(partial(_check_member, manifest, member.result, trial))
        if lexists(folder / NAME):
            self.look(lambda: read_announced(folder / NAME))
        for submission in sorted(folder.glob("*.csv")):
            if lexists(note_of(submission)):
                self.look(partial(self._submission, submission))

    def added(self, record: SweepRecord) -> None:
        """All files of other tools' candidates."""
        for candidate in self.run.added():
            folder = self.run.path / ADDED / candidate.name
            if self.look(partial(_check_added, folder)):
                for spec in record.specs([candidate]):
                    self.look(partial(self.run.result, spec))

    def _submission(self, submission: Path) -> None:
        from gitract_core.prediction.provenance import verify

        broken = [link for link in verify(submission) if not link.ok]
        self.faults += [f"{submission}, {link.what}: {link.found}" for link in broken]

    def cache(self, directory: Path, view: View, record: SweepRecord) -> None:
        """A cache of the run's data on this machine."""
        from gitract_core.data.cache import SliceCache

        cache = SliceCache.of(directory, record.data_directory, view)
        if self.look(cache.check) and not cache.stamps:
            self.unverified.append(f"{directory}: made by an earlier version")


def verify_run(run: SweepDirectory, progress: Progress = silent) -> Verification:
    """Compare every file of a run, and its data's caches on this machine, with what was noted.

    Raises:
        RunError: the run's record is damaged, so that nothing of it can be known.
    """
    from gitract_core.data.cache import cache_directory

    record, found = run.record(), _Verifier(run)
    if not run_digests.is_noted(run.path):
        found.unverified.append(f"{run.record_file}: written by an earlier version")
    found.look(lambda: run.plans(record))
    if lexists(log_file(run)):
        found.look(lambda: read_log(log_file(run)))
    if lexists(registration_file(run)):
        found.look(lambda: read_registration(run))
    found.plugins(record)
    specs = record.specs()
    for done, spec in enumerate(specs, 1):
        found.trial(spec)
        progress(done, len(specs))
    for file in kept_files(run):
        found.look(partial(check_kept, file))
    found.ensembles()
    found.added(record)
    for view in sorted({candidate.input.view for candidate in record.candidates}):
        directory = cache_directory(record.data_fingerprint, view, gray=record.gray)
        if directory.is_dir():
            found.cache(directory, view, record)
    return Verification(
        tuple(dict.fromkeys(found.faults)),
        found.trials,
        tuple(found.unverified),
        found.old_trials,
    )


def _check_oof(file: Path, files: TrialFiles, result: TrialResult, *, flip: bool) -> None:
    from gitract_core.prediction.probabilities import OofStore, Origin

    for _ in OofStore(file, Origin.of(files, result, flip=flip)).values():
        pass  # compares the archive's own check sums


def _check_added(folder: Path) -> None:
    Added.load(folder).check(folder)


def _check_member(manifest: Path, noted: str, trial: TrialFiles) -> None:
    """The trial's result must be the one that the ensemble was made of."""
    if not noted:
        return
    found = seal_of(read_bytes(trial.result))
    if found != noted:
        expected = f"{trial.result} with the digest {noted[:12]}..."
        raise RunError(manifest, expected, f"{found[:12] or 'none'}...", _REMEDY)
