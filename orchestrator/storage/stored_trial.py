"""A trial of a run in an object store, on the machine that runs it."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from gitract_core.results.trial_result import TrialFiles
from gitract_core.spec import TrialSpec
from gitract_core.trial.reuse import training_note
from orchestrator.storage.object_store import RemoteRun


@dataclass(frozen=True)
class StoredTrial:
    """One trial of a run in a store, on the machine that runs it."""

    run: RemoteRun
    spec: TrialSpec

    @property
    def name(self) -> str:
        """The trial's folder within the run."""
        return f"trials/{self.spec.key}"

    def begin(self) -> None:
        """Fetch what the store has of the trial, and of one whose training it can take over.

        A result that only could not be stored stays; all else that the store does not have goes.
        """
        files = TrialFiles(self.run.mirror / self.name)
        known = self.run.listing(self.name)
        if f"{self.name}/result.json" not in known and files.is_finished():
            return
        log = f"{self.name}/trial.log"  # open by now: this attempt writes into it
        for file in files.directory.glob("[!.]*"):
            if f"{self.name}/{file.name}" not in (*known, log):
                file.unlink()
        self.run.fetch({name: stamp for name, stamp in known.items() if name != log})
        note = training_note(self.spec, files).relative_to(self.run.mirror).as_posix()
        with suppress(FileNotFoundError):
            twin = self.run.read_text(note)
            self.run.fetch(self.run.listing("trials/.trained"))
            self.run.fetch(self.run.listing(f"trials/{twin}"))

    def save(self) -> None:
        """Store what changed; remove what the trial has removed; ``result.json`` goes last."""
        known = self.run.listing(self.name)
        self.run.push(self.name, known=known)
        folder = self.run.mirror / self.name
        for name in known:
            if not (self.run.mirror / name).exists():
                self.run.delete(name)
        if (folder / "result.json").is_file():
            (folder / ".stored").touch()
            note = training_note(self.spec, TrialFiles(folder))
            if note.is_file():
                self.run.push(note.relative_to(self.run.mirror).as_posix())
