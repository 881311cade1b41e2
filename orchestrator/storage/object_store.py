"""A run directory in an object store: ``--out s3://bucket/runs/paper``.

Truth is in the store. Each machine has a mirror of it under its cache folder, where everything is
read and written as in any run directory: a trial's files are fetched before it starts and stored
after each epoch, ``result.json`` last, so that a trial is finished exactly if its result is in the
store. Objects are stored whole, or not at all. A mirror may be removed at any time.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any, TypeVar

from gitract_core.errors import RunError, TrialError
from gitract_core.files.atomic import replacing

T = TypeVar("T")
Stamp = tuple[int, int]

SCHEMES = ("s3", "gs", "gcs", "abfs", "abfss")
LEASE = "sweep.lease.json"
_PAUSES_SECONDS = (1.0, 4.0)  # on top of the client's own retries
_PIECE_BYTES = 8 * 2**20
_BULKY = re.compile(r"(best\.safetensors|oof.*\.npz)$")
_OF_WORKERS = re.compile(r"(^|/)(checkpoint\.pt|\.lock|\..*\.part|sweep\.lease\.json(\.clock)?)$")
# What clients call a refusal; anchored, for the text also names the run, the server and its port.
_REFUSED = re.compile(
    r"AWS Error (ACCESS_DENIED|INVALID_ACCESS_KEY_ID|SIGNATURE_DOES_NOT_MATCH)\b"
    r"|\(HTTP status 40[13]\)|ExceptionName: (ExpiredToken|InvalidToken)\b"
    r"|google::cloud::Status\((PERMISSION_DENIED|UNAUTHENTICATED):|Azure Error: \[\w*\] 40[13] "
)
_NO_BUCKET = re.compile(r"AWS Error NO_SUCH_BUCKET\b|\bbucket does not exist\b")
_LAST = ("history.csv", "best.safetensors", "checkpoint.pt", "result.json")


class StoreError(TrialError):
    """The store does not answer; it may later."""


@dataclass(frozen=True)
class RemoteRun:
    """A run in a store, and its mirror on this machine; small, so that it can be sent to workers.

    Attributes:
        uri: of the run directory.
    """

    uri: str

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
    def mirror(self) -> Path:
        """The run directory's copy on this machine."""
        from gitract_core.data.cache import cache_root  # loads pandas, which `report` does without

        name = hashlib.sha256(self.uri.encode()).hexdigest()[:16]
        return cache_root().resolve() / "runs" / name / self.uri.partition("?")[0].split("/")[-1]

    def listing(self, below: str = "", *, patient: bool = True) -> dict[str, Stamp]:
        """Size and time of each object below a folder of the run, by name within the run.

        Raises:
            RunError: there is no such bucket, or it is not ours to read.
            StoreError: no answer.
        """
        from pyarrow.fs import FileSelector, FileType

        system, root = _open(self.uri)
        place = f"{root}/{below}".rstrip("/")
        selector = FileSelector(place, allow_not_found=True, recursive=True)
        found = self._patiently(lambda: system.get_file_info(selector), patient=patient)
        return {
            info.path.removeprefix(f"{root}/"): _told(info)
            for info in found
            if info.type == FileType.File
        }

    def check(self) -> None:
        """Ask whether the bucket is there and answers.

        Raises:
            RunError, StoreError: as ``listing``.
        """
        from pyarrow.fs import FileType

        system, root = _open(self.uri)
        bucket = root.split("/")[0]
        if self._patiently(lambda: system.get_file_info(bucket)).type == FileType.NotFound:
            remedy = "make it, or pass another --out"
            raise RunError(self.uri, f"a bucket {bucket}", "none", remedy)

    def pull(self, *, bulky: bool = True) -> Path:
        """Bring the mirror up to date, but for the files of trials that are not finished.

        Args:
            bulky: also weights and probabilities.
        """
        found = self.listing()
        if "sweep.json" not in found:  # a mirror of a run that is there no longer
            shutil.rmtree(self.mirror, ignore_errors=True)
            return self.mirror
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
        return self.mirror

    def _busy(self) -> set[str]:
        """Folders of trials that run on this machine: they are ahead of the store."""
        from orchestrator.results.status import is_locked

        locks = (self.mirror / "trials").glob("*/.lock")
        return {f"trials/{lock.parent.name}" for lock in locks if is_locked(lock)}

    def fetch(self, known: Mapping[str, Stamp]) -> None:
        """Fetch objects that differ from the mirror's files."""
        stamps = dict(known)
        for name, stamp in known.items():
            if _stamp(self.mirror / name) != stamp:
                with suppress(FileNotFoundError):  # removed since it was listed
                    self._patiently(partial(self._get, name, stamps))

    def collect(self, key: str) -> None:
        """Bring a finished trial here, or why it failed to the store; at the end, if not now."""
        name = f"trials/{key}"
        with suppress(StoreError, RunError):
            known = self.listing(name, patient=False)
            if f"{name}/result.json" in known:
                self.fetch(known)
            elif (self.mirror / name / "failure.json").is_file():
                self.push(f"{name}/failure.json", known=known, patient=False)

    def fetch_longer(self, name: str) -> None:
        """Bring a log here that others have written to, if the store answers."""
        with suppress(StoreError, RunError):
            known = self.listing(name.rpartition("/")[0], patient=False)
            here = _stamp(self.mirror / name) or (0, 0)
            if name in known and known[name][0] > here[0]:
                self.fetch({name: known[name]})

    def collect_file(self, name: str) -> None:
        """Store a small file that was written here; at the end, if not now."""
        with suppress(StoreError, RunError):
            self.push(name, known={}, patient=False)

    def push(
        self, below: str = "", *, known: Mapping[str, Stamp] | None = None, patient: bool = True
    ) -> None:
        """Store what differs below a folder of the mirror, results last."""
        folder = self.mirror / below
        known = self.listing(below) if known is None else known
        files = [folder] if folder.is_file() else [p for p in folder.rglob("*") if p.is_file()]
        for file in sorted(files, key=_order):
            name = file.relative_to(self.mirror).as_posix()
            if _hidden(name):
                continue
            with suppress(FileNotFoundError):  # removed or replaced just now
                if _stamp(file) != known.get(name):
                    self._patiently(partial(self._put, name), patient=patient)

    def push_rest(self) -> None:
        """Store what an earlier sweep could not: all but the files of unfinished trials."""
        known = self.listing()
        for entry in self.mirror.iterdir() if self.mirror.is_dir() else ():
            if entry.name != "trials":
                self.push(entry.name, known=known)
        for trial in (self.mirror / "trials").glob("*"):
            name = f"trials/{trial.name}"
            done = (trial / "result.json").is_file() and f"{name}/result.json" not in known
            if done or (trial / "failure.json").is_file():
                self.push(name, known=known)

    def delete(self, name: str, *, patient: bool = True) -> None:
        """Remove an object; it may be gone."""
        system, root = _open(self.uri)

        def remove() -> None:
            with suppress(FileNotFoundError):
                system.delete_file(f"{root}/{name}")

        self._patiently(remove, patient=patient)

    def read_text(self, name: str, *, patient: bool = True) -> str:
        """A small object.

        Raises:
            FileNotFoundError: there is none.
        """
        system, root = _open(self.uri)

        def read() -> str:
            with system.open_input_stream(f"{root}/{name}") as stream:
                return bytes(stream.read()).decode()

        return self._patiently(read, patient=patient)

    def write_text(self, name: str, text: str) -> None:
        """Store a small object."""
        self._patiently(lambda: self._write(name, text.encode()))

    def _write(self, name: str, content: bytes) -> None:
        system, root = _open(self.uri)
        with system.open_output_stream(f"{root}/{name}") as stream:
            stream.write(content)  # at once: what is cut short must not look whole

    def _put(self, name: str) -> None:
        system, root = _open(self.uri)
        file = self.mirror / name
        self._write(name, file.read_bytes())
        _date(file, _told(system.get_file_info(f"{root}/{name}"))[1])

    def _get(self, name: str, stamps: dict[str, Stamp]) -> None:
        """Fetch an object; of one that is replaced meanwhile, note the new stamp for a new try."""
        system, root = _open(self.uri)
        with replacing(self.mirror / name) as part, part.open("wb") as out:
            with system.open_input_stream(f"{root}/{name}") as stream:
                while piece := stream.read(_PIECE_BYTES):
                    out.write(piece)
            out.flush()
            if out.tell() != stamps[name][0]:
                stamps[name] = _told(system.get_file_info(f"{root}/{name}"))
                raise OSError(f"{name} was replaced while it was read")
        _date(self.mirror / name, stamps[name][1])
        if name.endswith("/result.json"):
            (self.mirror / name).with_name(".stored").touch()

    def _forget_deleted(self, found: dict[str, Stamp]) -> None:
        """Remove results from the mirror that were in the store once and are not any more."""
        for result in (self.mirror / "trials").glob("*/result.json"):
            name = result.relative_to(self.mirror).as_posix()
            if name not in found and (result.parent / ".stored").exists():
                shutil.rmtree(result.parent)

    def _patiently(self, ask: Callable[[], T], *, patient: bool = True) -> T:
        """What the store answers, asked again a few times if it does not."""
        for pause in (*_PAUSES_SECONDS * patient, None):
            try:
                return ask()
            except FileNotFoundError:
                raise
            except OSError as error:
                said = str(error)
                if _REFUSED.search(said):
                    keys = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
                    keys = keys if self.uri.startswith("s3:") else "this machine's credentials"
                    remedy = f"set {keys}, or ask for access"
                    raise RunError(self.uri, "access", _brief(said), remedy) from None
                if _NO_BUCKET.search(said):
                    remedy = "make the bucket, or pass another --out"
                    raise RunError(self.uri, "a bucket", _brief(said), remedy) from None
                if pause is None:
                    remedy = "when it answers again, the same command goes on"
                    raise StoreError(self.uri, "an answer", _brief(said), remedy) from None
                time.sleep(pause)
        raise AssertionError


@cache
def _open(uri: str) -> tuple[Any, str]:
    """The file system of a URI and the path in it, once a process."""
    from pyarrow.fs import FileSystem

    if "#" in uri:  # clients take what follows for no part of the path
        raise RunError(uri, "the address of a store", "one with #", "write it as %23")
    options = "allow_delayed_open=true"  # small objects in one request, whole or not at all
    full = uri if not uri.startswith("s3:") else f"{uri}{'&' if '?' in uri else '?'}{options}"
    try:
        system, path = FileSystem.from_uri(full)
    except (OSError, ValueError) as error:
        remedy = "write s3://BUCKET/FOLDER"
        raise RunError(uri, "the address of a store", _brief(str(error)), remedy) from None
    if "/" not in path.strip("/"):
        raise RunError(uri, "a folder in a bucket", "a bucket", "write s3://BUCKET/FOLDER")
    return system, path.strip("/")


def _order(file: Path) -> tuple[int, str]:
    return (_LAST.index(file.name) if file.name in _LAST else -1), str(file)


def _hidden(name: str) -> bool:
    """Locks and files that are being written; notes of trainings are kept."""
    parts = name.split("/")
    return parts[-1].startswith((".", LEASE))


def _told(info: Any) -> Stamp:
    """Of an object; in whole seconds, for some stores tell more in listings alone."""
    return info.size or 0, (info.mtime_ns or 0) // 10**9 * 10**9


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


def _brief(text: str) -> str:
    """The first words of what the client says, without requests and addresses."""
    return re.sub(r"\s+", " ", (text.splitlines() or [""])[0])[:200]
