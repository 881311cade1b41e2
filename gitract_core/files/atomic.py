"""Files that are either whole or not there: written aside, then renamed into place."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar, overload

from gitract_core.errors import RunError
from gitract_core.files.digests import check_seal, sealed
from gitract_core.files.json_shapes import DecodeError, ValidationError, decode
from gitract_core.files.leftovers import new_part, remove_leftovers

T = TypeVar("T")
REMEDY = "remove the file and run again"


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path`` that takes its place when the block ends without error.

    What writers of the same file left behind when they were killed is removed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(path.parent, path.name)
    with new_part(path) as part:
        yield part
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.chmod(0o666 & ~_umask())
        part.replace(path)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file atomically."""
    with replacing(path) as part:
        part.write_bytes(content)


def write_json(path: Path, value: object, *, seal: bool = False) -> None:
    """Write JSON atomically, with keys in the order given; NaN and infinity become ``null``.

    Args:
        path: the file.
        value: what it is to hold.
        seal: end it with a digest of itself, which ``read_json`` compares.
    """
    write_bytes(path, json_bytes(value, seal=seal))


def json_bytes(value: object, *, seal: bool = False) -> bytes:
    """What ``write_json`` writes."""
    text = json_text(value)
    return sealed(text) if seal else f"{text}\n".encode()


def json_text(value: object) -> str:
    """JSON that every reader takes: NaN and infinity are ``null``, bytes not in UTF-8 ``?``."""
    clean = finite_or_none(value)
    text = json.dumps(clean, indent=1, allow_nan=False)
    if "\\ud" in text:  # perhaps half of a pair: bytes of a name
        text = json.dumps(clean, indent=1, ensure_ascii=False).encode(errors="replace").decode()
    return text


@overload
def read_json(path: Path) -> dict[str, Any]: ...
@overload
def read_json(path: Path, shape: type[T], remedy: str = ...) -> T: ...
def read_json(path: Path, shape: Any = dict[str, Any], remedy: str = REMEDY) -> Any:
    """Read a JSON file of a known shape.

    Args:
        path: the file.
        shape: a ``TypedDict`` or another type that msgspec decodes to; keys that it does not name
            are left out.
        remedy: what to do about a file that is not of that shape.

    Raises:
        RunError: the file is missing, cut short, no JSON, of another shape, which names the key, or
            not what was written, where it is sealed.
    """
    return parse_json(path, read_bytes(path), shape, remedy)


def parse_json(
    path: Path, content: bytes, shape: Any = dict[str, Any], remedy: str = REMEDY
) -> Any:
    """As ``read_json``, of a file's content."""
    try:
        value = decode(content, type=shape)
    except ValidationError as error:
        where, expected, got = _fault(str(error))
        raise RunError(f"{path}{where}", expected, got, remedy) from None
    except (DecodeError, ValueError, RecursionError) as error:
        raise RunError(path, "JSON", error, remedy) from None
    check_seal(path, content, remedy)
    if shape == dict[str, Any]:
        value.pop("seal", None)
    return value


def read_bytes(path: Path) -> bytes:
    """The bytes of a regular file; devices and pipes may have no end.

    Raises:
        RunError: there is none, or the disk does not answer.
    """
    try:
        if not path.is_file() and path.exists() and not path.is_dir():
            raise OSError(errno.EINVAL, "a device or a pipe")
        return path.read_bytes()
    except OSError as error:
        raise RunError(path, "a JSON file", error.strerror, "check the path") from None
    except ValueError as error:  # a name with a NUL
        raise RunError(path, "a JSON file", error, REMEDY) from None


def _fault(message: str) -> tuple[str, str, str]:
    """Place, expected and got of msgspec's "Expected `int`, got `str` - at `$.folds`".

    >>> _fault("Expected `int`, got `str` - at `$.folds[0]`")
    (', key folds[0]', 'int', 'str')
    >>> _fault("Object missing required field `key`")
    ('', 'a whole record', 'an object missing required field key')
    """
    text, _, place = message.replace("`", "").partition(" - at ")
    where = f", key {place.removeprefix('$').removeprefix('.')}" if place.strip("$") else ""
    expected, comma, got = text.removeprefix("Expected ").partition(", got ")
    if text.startswith("Expected "):
        return where, expected, got if comma else "another value"
    return where, "a whole record", f"an {text[0].lower()}{text[1:]}"


def finite_or_none(value: Any) -> Any:
    """The value with every NaN and infinity in it replaced by None, as JSON knows neither."""
    if isinstance(value, float):
        return value if abs(value) < float("inf") else None
    if isinstance(value, dict):
        return {k: finite_or_none(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [finite_or_none(v) for v in value]
    return value


def written_once(
    directory: Path, build: Callable[[Path], None], *, is_whole: Callable[[], bool] = lambda: True
) -> None:
    """Fill a directory by ``build`` unless it is there; concurrent callers wait for the first.

    What ``build`` leaves behind when it fails is removed. Nothing is written beside a directory
    that is whole: it may be one that can only be read.

    Args:
        directory: complete or not there.
        build: fills the directory that it is given, which then takes the place.
        is_whole: asked where there is one; if it is not, it is replaced.
    """
    import fcntl
    import shutil

    if directory.is_dir() and is_whole():
        return
    directory.parent.mkdir(parents=True, exist_ok=True)
    with (directory.parent / f".{directory.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if directory.is_dir() and is_whole():
            return
        part = directory.parent / f".{directory.name}.part"
        shutil.rmtree(part, ignore_errors=True)  # of a builder that was killed
        part.mkdir()
        try:
            build(part)
            if directory.is_dir():
                aside = directory.parent / f".{directory.name}.damaged.part"
                shutil.rmtree(aside, ignore_errors=True)
                directory.replace(aside)  # whoever has its files open keeps them
                shutil.rmtree(aside, ignore_errors=True)
            part.replace(directory)
        finally:
            shutil.rmtree(part, ignore_errors=True)


def _umask() -> int:
    value = os.umask(0)
    os.umask(value)
    return value
