"""A folder in an object store: ``s3://bucket/runs/paper``.

Objects are stored whole, or not at all. A store that does not answer is asked again a few times.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar

from gitract_core.errors import RunError
from orchestrator.storage.run_storage import StoreError

T = TypeVar("T")
Stamp = tuple[int, int]
"""Size and time of an object, bytes and nanoseconds since 1970."""

_PAUSES_SECONDS = (1.0, 4.0)  # on top of the client's own retries
# What clients call a refusal; anchored, for the text also names the run, the server and its port.
_REFUSED = re.compile(
    r"AWS Error (ACCESS_DENIED|INVALID_ACCESS_KEY_ID|SIGNATURE_DOES_NOT_MATCH)\b"
    r"|\(HTTP status 40[13]\)|ExceptionName: (ExpiredToken|InvalidToken)\b"
    r"|google::cloud::Status\((PERMISSION_DENIED|UNAUTHENTICATED):|Azure Error: \[\w*\] 40[13] "
)
_NO_BUCKET = re.compile(r"AWS Error NO_SUCH_BUCKET\b|\bbucket does not exist\b")


@dataclass(frozen=True)
class ObjectStore:
    """A folder in a store.

    Attributes:
        uri: of the folder.
    """

    uri: str

    def listing(self, below: str = "", *, patient: bool = True) -> dict[str, Stamp]:
        """Size and time of each object below a folder, by name within the store's own.

        Raises:
            RunError: there is no such bucket, or it is not ours to read.
            StoreError: no answer.
        """
        from pyarrow.fs import FileSelector, FileType

        system, root = opened(self.uri)
        place = f"{root}/{below}".rstrip("/")
        selector = FileSelector(place, allow_not_found=True, recursive=True)
        found = self.patiently(lambda: system.get_file_info(selector), patient=patient)
        return {
            info.path.removeprefix(f"{root}/"): stamp_of(info)
            for info in found
            if info.type == FileType.File
        }

    def check(self) -> None:
        """Ask whether the bucket is there and answers.

        Raises:
            RunError, StoreError: as ``listing``.
        """
        from pyarrow.fs import FileType

        system, root = opened(self.uri)
        bucket = root.split("/")[0]
        if self.patiently(lambda: system.get_file_info(bucket)).type == FileType.NotFound:
            remedy = "make it, or pass another --out"
            raise RunError(self.uri, f"a bucket {bucket}", "none", remedy)

    def delete(self, name: str, *, patient: bool = True) -> None:
        """Remove an object; it may be gone."""
        system, root = opened(self.uri)

        def remove() -> None:
            with suppress(FileNotFoundError):
                system.delete_file(f"{root}/{name}")

        self.patiently(remove, patient=patient)

    def read_text(self, name: str, *, patient: bool = True) -> str:
        """A small object.

        Raises:
            FileNotFoundError: there is none.
        """
        system, root = opened(self.uri)

        def read() -> str:
            with system.open_input_stream(f"{root}/{name}") as stream:
                return bytes(stream.read()).decode()

        return self.patiently(read, patient=patient)

    def write_text(self, name: str, text: str) -> None:
        """Store a small object."""
        self.patiently(lambda: self.write(name, text.encode()))

    def write(self, name: str, content: bytes) -> None:
        """Store an object, asking once."""
        system, root = opened(self.uri)
        with system.open_output_stream(f"{root}/{name}") as stream:
            stream.write(content)  # at once: what is cut short must not look whole

    def patiently(self, ask: Callable[[], T], *, patient: bool = True) -> T:
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
def opened(uri: str) -> tuple[Any, str]:
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


def stamp_of(info: Any) -> Stamp:
    """Of an object; in whole seconds, for some stores tell more in listings alone."""
    return info.size or 0, (info.mtime_ns or 0) // 10**9 * 10**9


def _brief(text: str) -> str:
    """The first words of what the client says, without requests and addresses."""
    return re.sub(r"\s+", " ", (text.splitlines() or [""])[0])[:200]
