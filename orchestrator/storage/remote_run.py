"""A run directory in an object store: ``--out s3://bucket/runs/paper``.

Truth is in the store. Each machine has a mirror of it under its cache folder, where everything is
read and written as in any run directory: a trial's files are fetched before it starts and stored
after each epoch, ``result.json`` last, so that a trial is finished exactly if its result is in the
store. A mirror may be removed at any time.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from gitract_core.errors import RunError
from gitract_core.files.atomic import replacing
from gitract_core.results.trial_result import TrialFiles
from gitract_core.spec import TrialSpec
from gitract_core.trial.reuse import training_note
from orchestrator.storage.lease import LEASE, lease
from orchestrator.storage.object_store import ObjectStore, Stamp, opened, stamp_of
from orchestrator.storage.run_storage import StoreError
from orchestrator.sweeps.run_digests import NAME as DIGESTS
from orchestrator.sweeps.run_lock import is_locked

SCHEMES = ("s3", "gs", "gcs", "abfs", "abfss")
_PIECE_BYTES = 8 * 2**20
_BULKY = re.compile(r"(best\.safetensors|oof.*\.npz)$")
_OF_WORKERS = re.compile(r"(^|/)(checkpoint\.pt|\.lock|\..*\.part|sweep\.lease\.json(\.clock)?)$")
_LAST = ("history.csv", "checkpoint.pt", "best.safetensors", "result.json")  # as they are written


@dataclass(frozen=True)
class RemoteRun(ObjectStore):
    """A run in a store, and its mirror on this machine; small, so that it can be sent to workers.

    Attributes:
        uri: of the run directory.
    """

    @classmethod
    def of(cls, path: Path | None) -> RemoteRun | None:
        """The run that a path of the command line names; None if it is a local one.

        ``pathlib`` has made ``s3:/bucket`` of ``s3://bucket`` by then.

        Raises:
            RunError: the URI holds a password.
        """
        scheme, colon, rest = str(path).partition(":/")
        if path is None or not colon or scheme not in SCHEMES:
            return None
        place, _, options = rest.lstrip("/").partition("?")
        if "@" in place or re.search(r"(key|secret|token|password)[^=&]*=", options, re.I):
            remedy = "pass them as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or in ~/.aws"
            where = f"{scheme}://{place.rpartition('@')[2]}"
            raise RunError(where, "no credentials in the URI", "some", remedy)
        return cls(f"{scheme}://{place.rstrip('/')}" + f"?{options}" * bool(options))

    @property
    def name(self) -> str:
        """Its address."""
        return self.uri

    @property
    def directory(self) -> Path:
        """The run directory's copy on this machine, its *mirror*."""
        from gitract_core.data.cache import cache_root  # loads pandas, which `report` does without

        name = hashlib.sha256(self.uri.encode()).hexdigest()[:16]
        return cache_root().resolve() / "runs" / name / self.uri.partition("?")[0].split("/")[-1]

    @contextmanager
    def held(self, on_stored: Callable[[str], object]) -> Iterator[None]:
        """Hold the run alone, its mirror up to date; what is new in it is stored at the end.

        Args:
            on_stored: called with the address when all is stored.

        Raises:
            RunError, StoreError: see ``RunStorage``.
        """
        self.check()
        with lease(self):
            self.pull()
            try:
                yield
            finally:
                self.push_rest()
                on_stored(self.uri)

    def trial(self, spec: TrialSpec) -> StoredTrial:
        """One trial of the run, on this machine."""
        return StoredTrial(self, spec)

    def pull(self, *, bulky: bool = True) -> Path:
        """Bring the mirror up to date, but for the files of trials that are not finished.

        Args:
            bulky: also weights and probabilities.
        """
        found = self.listing()
        if "sweep.json" not in found:  # a mirror of a run that is there no longer
            shutil.rmtree(self.directory, ignore_errors=True)
            return self.directory
        self._forget_deleted(found)
        busy = self._busy()
        wanted = {
            name: stamp
            for name, stamp in found.items()
            if not _OF_WORKERS.search(name)
            and (bulky or not _BULKY.search(name))
            and name.rpartition("/")[0] not in busy
        }
        # A search that runs elsewhere replaces its record: first, while the listing is fresh.
        self.fetch(dict(sorted(wanted.items(), key=lambda item: item[0] != "sweep.json")))
        return self.directory

    def _busy(self) -> set[str]:
        """Folders of trials that run on this machine: they are ahead of the store."""
        locks = (self.directory / "trials").glob("*/.lock")
        return {f"trials/{lock.parent.name}" for lock in locks if is_locked(lock)}

    def fetch(self, known: Mapping[str, Stamp]) -> None:
        """Fetch objects that differ from the mirror's files."""
        stamps = dict(known)
        for name, stamp in known.items():
            if _stamp(self.directory / name) != stamp:
                with suppress(FileNotFoundError):  # removed since it was listed
                    self.patiently(partial(self._get, name, stamps))

    def collect(self, key: str) -> None:
        """Bring a finished trial here, or why it failed to the store; at the end, if not now."""
        name = f"trials/{key}"
        with suppress(StoreError, RunError):
            known = self.listing(name, patient=False)
            if f"{name}/result.json" in known:
                self.fetch(known)
            elif (self.directory / name / "failure.json").is_file():
                self.push(f"{name}/failure.json", known=known, patient=False)

    def fetch_longer(self, name: str) -> None:
        """Bring a log here that others have written to, if the store answers."""
        with suppress(StoreError, RunError):
            known = self.listing(name.rpartition("/")[0], patient=False)
            here = _stamp(self.directory / name) or (0, 0)
            if name in known and known[name][0] > here[0]:
                self.fetch({name: known[name]})

    def collect_file(self, name: str) -> None:
        """Store a small file that was written here; at the end, if not now."""
        names = (DIGESTS, name) if (self.directory / DIGESTS).is_file() else (name,)
        with suppress(StoreError, RunError):
            for each in names if name == "sweep.json" else names[-1:]:  # as they are written
                self.push(each, known={}, patient=False)

    def push(
        self, below: str = "", *, known: Mapping[str, Stamp] | None = None, patient: bool = True
    ) -> None:
        """Store what differs below a folder of the mirror, results last."""
        folder = self.directory / below
        known = self.listing(below) if known is None else known
        files = [folder] if folder.is_file() else [p for p in folder.rglob("*") if p.is_file()]
        for file in sorted(files, key=_order):
            name = file.relative_to(self.directory).as_posix()
            if _hidden(name):
                continue
            with suppress(FileNotFoundError):  # removed or replaced just now
                if _stamp(file) != known.get(name):
                    self.patiently(partial(self._put, name), patient=patient)

    def push_rest(self) -> None:
        """Store what an earlier sweep could not: all but the files of unfinished trials."""
        known = self.listing()
        entries = self.directory.iterdir() if self.directory.is_dir() else ()
        for entry in sorted(entries, key=_order):
            if entry.name != "trials":
                self.push(entry.name, known=known)
        for trial in (self.directory / "trials").glob("*"):
            name = f"trials/{trial.name}"
            done = (trial / "result.json").is_file() and f"{name}/result.json" not in known
            if done or (trial / "failure.json").is_file():
                self.push(name, known=known)

    def _put(self, name: str) -> None:
        system, root = opened(self.uri)
        file = self.directory / name
        self.write(name, file.read_bytes())
        _date(file, stamp_of(system.get_file_info(f"{root}/{name}"))[1])

    def _get(self, name: str, stamps: dict[str, Stamp]) -> None:
        """Fetch an object; of one that is replaced meanwhile, note the new stamp for a new try."""
        system, root = opened(self.uri)
        with replacing(self.directory / name) as part, part.open("wb") as out:
            with system.open_input_stream(f"{root}/{name}") as stream:
                while piece := stream.read(_PIECE_BYTES):
                    out.write(piece)
            out.flush()
            if out.tell() != stamps[name][0]:
                stamps[name] = stamp_of(system.get_file_info(f"{root}/{name}"))
                raise OSError(f"{name} was replaced while it was read")
        _date(self.directory / name, stamps[name][1])
        if name.endswith("/result.json"):
            (self.directory / name).with_name(".stored").touch()

    def _forget_deleted(self, found: dict[str, Stamp]) -> None:
        """Remove results from the mirror that were in the store once and are not any more."""
        for result in (self.directory / "trials").glob("*/result.json"):
            name = result.relative_to(self.directory).as_posix()
            if name not in found and (result.parent / ".stored").exists():
                shutil.rmtree(result.parent)


@dataclass(frozen=True)
class StoredTrial:
    """One trial of a run in a store; see ``TrialStorage``."""

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
        files = TrialFiles(self.run.directory / self.name)
        known = self.run.listing(self.name)
        if f"{self.name}/result.json" not in known and files.is_finished(self.spec):
            return
        log = f"{self.name}/trial.log"  # open by now: this attempt writes into it
        for file in files.directory.glob("[!.]*"):
            if f"{self.name}/{file.name}" not in (*known, log):
                file.unlink()
        self.run.fetch({name: stamp for name, stamp in known.items() if name != log})
        note = training_note(self.spec, files).relative_to(self.run.directory).as_posix()
        with suppress(FileNotFoundError):
            twin = self.run.read_text(note)
            self.run.fetch(self.run.listing("trials/.trained"))
            self.run.fetch(self.run.listing(f"trials/{twin}"))

    def save(self) -> None:
        """Store what changed; remove what the trial has removed; ``result.json`` goes last."""
        known = self.run.listing(self.name)
        self.run.push(self.name, known=known)
        folder = self.run.directory / self.name
        for name in known:
            if not (self.run.directory / name).exists():
                self.run.delete(name)
        if (folder / "result.json").is_file():
            (folder / ".stored").touch()
            note = training_note(self.spec, TrialFiles(folder))
            if note.is_file():
                self.run.push(note.relative_to(self.run.directory).as_posix())


def _order(file: Path) -> tuple[int, str]:
    if file.name == DIGESTS:
        return -2, ""
    return (_LAST.index(file.name) if file.name in _LAST else -1), str(file)


def _hidden(name: str) -> bool:
    """Locks and files that are being written; notes of trainings are kept."""
    parts = name.split("/")
    return parts[-1].startswith((".", LEASE))


def _stamp(file: Path) -> Stamp | None:
    try:
        found = file.stat()
    except FileNotFoundError:
        return None
    return found.st_size, found.st_mtime_ns


def _date(file: Path, time_ns: int | None) -> None:
    """Equal times say that a file and its object are the same."""
    if time_ns:
        os.utime(file, ns=(time_ns, time_ns))
