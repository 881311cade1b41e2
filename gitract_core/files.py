"""Files that are either whole or not there: written aside, then renamed into place."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gitract_core.errors import RunError

try:  # three times faster, which thousands of results feel; a notebook may do without it
    from msgspec.json import decode as _parsed
except ImportError:
    from json import loads as _parsed  # type: ignore[no-redef]


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path`` that takes its place when the block ends without error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    os.close(handle)
    part = Path(name)
    try:
        yield part
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.chmod(0o666 & ~_umask())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file atomically."""
    with replacing(path) as part:
        part.write_bytes(content)


def write_json(path: Path, value: object) -> None:
    """Write JSON atomically, with keys in the order given; NaN and infinity become ``null``."""
    text = json.dumps(finite_or_none(value), indent=1, allow_nan=False)
    write_bytes(path, (text + "\n").encode())


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        RunError: the file is missing, cut short or not a JSON object.
    """
    try:
        value = _parsed(path.read_bytes())
    except OSError as error:
        raise RunError(path, "a JSON file", error.strerror, "check the path") from None
    except (ValueError, RecursionError) as error:
        raise RunError(path, "a JSON object", error, "remove the file and run again") from None
    if not isinstance(value, dict):
        remedy = "remove the file and run again"
        raise RunError(path, "a JSON object", type(value).__name__, remedy)
    return value


def finite_or_none(value: Any) -> Any:
    """The value with every NaN and infinity in it replaced by None, as JSON knows neither."""
    if isinstance(value, float):
        return value if abs(value) < float("inf") else None
    if isinstance(value, dict):
        return {k: finite_or_none(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [finite_or_none(v) for v in value]
    return value


def written_once(directory: Path, build: Callable[[Path], None]) -> None:
    """Fill a directory by ``build`` unless it is there; concurrent callers wait for the first.

    What ``build`` leaves behind when it fails is removed.
    """
    import fcntl
    import shutil

    directory.parent.mkdir(parents=True, exist_ok=True)
    with (directory.parent / f".{directory.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if directory.is_dir():
            return
        part = directory.parent / f".{directory.name}.part"
        shutil.rmtree(part, ignore_errors=True)  # of a builder that was killed
        part.mkdir()
        try:
            build(part)
            part.replace(directory)
        finally:
            shutil.rmtree(part, ignore_errors=True)


def _umask() -> int:
    value = os.umask(0)
    os.umask(value)
    return value
