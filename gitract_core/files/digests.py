"""Digests against accidents: bytes that were damaged, files that were exchanged. Not forgers.

XXH3 with 128 bits, as fast as memory. Where the package ``xxhash`` is missing (a bundle that
predicts in someone's notebook) nothing is checked.

A JSON file may be *sealed*: its last key holds the digest of all bytes before it, so that a reader
need not parse anything twice.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypedDict

from gitract_core.errors import RunError
from gitract_core.files.json_shapes import Meta

if TYPE_CHECKING or find_spec("xxhash"):
    from xxhash import xxh3_128 as _hash

    CHECKED = True
else:
    CHECKED = False

_PIECE_BYTES = 2**22
_SEAL_START, _SEAL_END = b',\n "seal": "', b'"\n}\n'
_HEX = 32
_SEAL_BYTES = len(_SEAL_START) + _HEX + len(_SEAL_END)


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, hexadecimal: for what leaves this machine.

    Raises:
        RunError: unreadable.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise RunError(path, "a readable file", error.strerror, "restore the file") from None


class StampShape(TypedDict):
    """A ``Stamp`` in JSON."""

    size: Annotated[int, Meta(ge=0)]
    digest: str


@dataclass(frozen=True, slots=True)
class Stamp:
    """What a file is recognized by.

    Attributes:
        size: in bytes.
        digest: of all of them, hexadecimal; empty where it was not taken.
    """

    size: int
    digest: str

    @classmethod
    def of_bytes(cls, content: bytes) -> Stamp:
        """Of a file with this content."""
        return cls(len(content), digest_of(content))

    @classmethod
    def of(cls, path: Path) -> Stamp:
        """Of a file, which is read whole.

        Raises:
            OSError: it is missing, or the disk does not answer.
        """
        size, found = 0, _hash() if CHECKED else None
        with path.open("rb") as file:
            while piece := file.read(_PIECE_BYTES):
                size += len(piece)
                if found:
                    found.update(piece)
        return cls(size, found.hexdigest() if found else "")

    def to_json(self) -> dict[str, object]:
        """Plain values."""
        return asdict(self)

    def check_size(self, path: Path, remedy: str) -> None:
        """Compare a file's size alone, which needs no reading.

        Raises:
            RunError: it is missing or of another size.
        """
        try:
            size = path.stat().st_size
        except OSError as error:
            raise RunError(path, f"a file of {self.size} bytes", error.strerror, remedy) from None
        if size != self.size:
            raise RunError(path, f"{self.size} bytes", f"{size} bytes", remedy)

    def check(self, path: Path, remedy: str) -> None:
        """Compare a file with it; reads the file whole.

        Raises:
            RunError: the file is missing, or not the one that the stamp was taken of.
        """
        self.check_size(path, remedy)
        try:
            found = Stamp.of(path)
        except OSError as error:
            raise RunError(path, "a readable file", error.strerror, remedy) from None
        self._compare(path, found, remedy)

    def check_bytes(self, path: Path, content: bytes, remedy: str) -> None:
        """Compare what was read of a file.

        Raises:
            RunError: as ``check``.
        """
        self._compare(path, Stamp.of_bytes(content), remedy)

    def _compare(self, path: Path, found: Stamp, remedy: str) -> None:
        if found.size != self.size:
            raise RunError(path, f"{self.size} bytes", f"{found.size} bytes", remedy)
        if found.digest and self.digest and found.digest != self.digest:
            raise changed(path, self.digest, found.digest, remedy)


def changed(path: object, noted: str, found: str, remedy: str) -> RunError:
    """The error of a file whose bytes are not those that were written."""
    return RunError(path, f"digest {noted[:12]}...", f"{found[:12]}... (changed)", remedy)


def digest_of(content: bytes | memoryview) -> str:
    """Of bytes, 32 hexadecimal digits; empty where ``xxhash`` is missing."""
    return _hash(content).hexdigest() if CHECKED else ""


def sealed(text: str) -> bytes:
    """A JSON object as ``json.dumps(..., indent=1)`` writes it, with the seal as its last key."""
    body = text.removesuffix("\n}").encode()
    if not CHECKED or body == text.encode():
        return f"{text}\n".encode()
    return body + _SEAL_START + digest_of(body).encode() + _SEAL_END


def seal_of(content: bytes) -> str:
    """The digest that a sealed file states; empty if it has none."""
    tail = content[-_SEAL_BYTES:]
    if not (tail.startswith(_SEAL_START) and tail.endswith(_SEAL_END)):
        return ""
    return tail[len(_SEAL_START) : -len(_SEAL_END)].decode("ascii", "replace")


def check_seal(path: Path, content: bytes, remedy: str) -> None:
    """Compare a JSON file with its seal; files without one are of an earlier version.

    Raises:
        RunError: it has changed since it was written.
    """
    if not CHECKED or b'"seal"' not in content:
        return
    noted = seal_of(content)
    found = digest_of(memoryview(content)[:-_SEAL_BYTES])
    if noted != found:
        raise changed(path, noted or "at its end", found, remedy)
