"""Plugins: files of a user's own that add networks and losses, and whose a registered name is.

A name that a plugin registers is known as ``NAME@HASH``, and is found by candidates that name the
plugin's hash in their field ``plugin``: two versions of one file can be known to one process, each
to its own candidates. Nothing here executes a file; ``gitract_core.plugins`` does.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from gitract_core.errors import SpaceError

T = TypeVar("T")

DIGEST_LENGTH = 16
JOINT = "+"
OF_A_PLUGIN = "(one of your own: --plugin FILE.py)"
"""What errors about an unknown name end with."""
_SIGN = "@"


@dataclass(frozen=True, slots=True)
class Plugin:
    """A plugin's file; small, so that it can be sent to any node.

    Attributes:
        name: of the file, without its folder.
        content: of the file.
    """

    name: str
    content: bytes

    @property
    def digest(self) -> str:
        """The first 16 hexadecimal digits of the content's SHA-256."""
        return digest_of_plugin(self.content)


_executed: dict[str, Plugin] = {}
_registering = ""
_added: list[tuple[dict[str, object], str]] = []


def digest_of_plugin(content: bytes) -> str:
    """The hash that names a plugin in candidates and in files."""
    return hashlib.sha256(content).hexdigest()[:DIGEST_LENGTH]


def digests_in(plugin: str) -> tuple[str, ...]:
    """The hashes in the field ``plugin`` of a candidate.

    >>> digests_in(""), digests_in("12ab+34cd")
    ((), ('12ab', '34cd'))
    """
    return tuple(plugin.split(JOINT)) if plugin else ()


def executed() -> tuple[Plugin, ...]:
    """The plugins that this process has executed."""
    return tuple(_executed.values())


@contextmanager
def registering(plugin: Plugin) -> Iterator[None]:
    """What is registered within the block is the plugin's; nothing of it stays after an error."""
    global _registering
    _registering = plugin.digest
    _added.clear()
    try:
        yield
        _executed[plugin.digest] = plugin
    except BaseException:
        for known, key in _added:
            known.pop(key, None)
        raise
    finally:
        _registering = ""
        _added.clear()


def add(known: dict[str, T], name: str, value: T) -> None:
    """Enter a name into a registry, as ours or as that of the plugin that is executed."""
    key = _key(name, _registering)
    known[key] = value
    if _registering:
        _added.append((known, key))  # type: ignore[arg-type]


def is_taken(known: Mapping[str, object], name: str) -> bool:
    """Whether a name is ours, or already the plugin's that is executed."""
    return name in known or _key(name, _registering) in known


def find(known: Mapping[str, T], name: str, plugin: str = "") -> T | None:
    """What a name means to a candidate; None if nothing.

    Args:
        known: the registry.
        name: as it stands in a space.
        plugin: hashes of the candidate's plugins.
    """
    keys = (name, *(_key(name, digest) for digest in digests_in(plugin)))
    return next((known[key] for key in keys if key in known), None)


def names(known: Mapping[str, object], plugin: str = "") -> tuple[str, ...]:
    """Our names in a registry, sorted; of plugins those alone that they add."""
    parts = [key.partition(_SIGN) for key in known]
    digests = digests_in(plugin)
    wanted = (name for name, _, owner in parts if (owner in digests if plugin else not owner))
    return tuple(sorted(wanted))


def require_executed(plugin: str) -> None:
    """Refuse to go on without a candidate's plugins.

    Raises:
        SpaceError: this process has not executed one of them.
    """
    missing = [digest for digest in digests_in(plugin) if digest not in _executed]
    if missing:
        refuse_without(missing[0], executed())


def refuse_without(digest: str, there: Sequence[Plugin]) -> None:
    """Raise the error of a plugin that was not named.

    Args:
        digest: of the plugin that is needed.
        there: those that were named instead.

    Raises:
        SpaceError: always.
    """
    got = " and ".join(f"{p.name} with the hash {p.digest}" for p in there) or "none"
    remedy = f"pass --plugin FILE.py; the run or bundle holds it as plugins/{digest}.py"
    raise SpaceError("--plugin", f"the file with the hash {digest}", got, remedy)


def _key(name: str, digest: str) -> str:
    return f"{name}{_SIGN}{digest}" if digest else name
