"""Copies of plugins in a run or a bundle.

``plugins/HASH.py`` is a copy of a plugin that some candidate needs, sealed by its name. It is never
executed from there: whoever builds one of its networks or losses names a file himself.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from gitract_core.errors import RunError
from gitract_core.files.atomic import read_bytes, write_bytes
from gitract_core.plugin import DIGEST_LENGTH, Plugin, digest_of_plugin, digests_in
from gitract_core.spec import Candidate

FOLDER = "plugins"
_NAME = re.compile(rf"[0-9a-f]{{{DIGEST_LENGTH}}}\.py")


def copy_of(folder: Path, digest: str) -> Path:
    """Where a run or a bundle has its copy of a plugin."""
    return folder / FOLDER / f"{digest}.py"


def write_copies(folder: Path, plugins: Iterable[Plugin], candidates: Iterable[Candidate]) -> None:
    """Write a copy of each plugin that a candidate needs, unless it is there.

    Args:
        folder: of a run or a bundle.
        plugins: that are known.
        candidates: that need some of them.
    """
    needed = {digest for candidate in candidates for digest in digests_in(candidate.plugin)}
    for plugin in plugins:
        file = copy_of(folder, plugin.digest)
        if plugin.digest in needed and not (file.is_file() and _is_whole(file, plugin.digest)):
            write_bytes(file, plugin.content)


def are_copies(folder: Path) -> bool:
    """Whether a folder is one of copies, and holds nothing else."""
    return folder.name == FOLDER and all(_NAME.fullmatch(p.name) for p in folder.glob("[!.]*"))


def check_copy(folder: Path, digest: str) -> None:
    """Compare a copy with its name.

    Raises:
        RunError: it is missing or was changed.
    """
    file = copy_of(folder, digest)
    found = digest_of_plugin(read_bytes(file))
    if found != digest:
        remedy = "restore the file; the same sweep writes it anew"
        raise RunError(file, f"a plugin with the hash {digest}", found, remedy)


def _is_whole(file: Path, digest: str) -> bool:
    return digest_of_plugin(read_bytes(file)) == digest
