"""Reads and executes plugins, and says which of them a candidate needs."""

from __future__ import annotations

import linecache
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from gitract_core.errors import GitractError, SpaceError
from gitract_core.losses.expression import parse
from gitract_core.losses.weighted_sum import every_loss_name, is_loss
from gitract_core.networks import network_names
from gitract_core.plugin import (
    JOINT,
    Plugin,
    digests_in,
    executed,
    refuse_without,
    registering,
)
from gitract_core.spec import Candidate

_MOST_BYTES = 1_000_000


def load_plugins(files: Sequence[Path | str]) -> tuple[Plugin, ...]:
    """Execute files that the user names; one that this process has executed is not run again.

    Args:
        files: Python files.

    Raises:
        GitractError: a file is missing, fails, registers nothing, or a name that is taken.
    """
    plugins = tuple(dict.fromkeys(_read(Path(file)) for file in files))
    for plugin in plugins:
        _execute(plugin)
    return plugins


def execute_of(plugin: str, plugins: Sequence[Plugin]) -> None:
    """Execute those of the driver's plugins that a candidate needs, once a process.

    Args:
        plugin: the candidate's field.
        plugins: those that were named to the driver.
    """
    needed = digests_in(plugin)
    for each in plugins:
        if each.digest in needed:
            _execute(each)


def plugin_of(candidate: Candidate, plugins: Sequence[Plugin]) -> str:
    """Hashes of the plugins that define a candidate's network and losses, sorted; or empty.

    Args:
        candidate: its own field ``plugin``, where it is not empty, says which are meant.
        plugins: those that were named.

    Raises:
        SpaceError: the loss is no sum of names, two plugins define a name, or the plugin that the
            candidate means is not among them.
    """
    meant = digests_in(candidate.plugin)
    for digest in meant:
        if digest not in (each.digest for each in plugins):
            refuse_without(digest, plugins)
    among = [each for each in plugins if not meant or each.digest in meant]
    owners = set[str]()
    for kind, name in sorted(foreign_names(candidate)):
        found = [each for each in among if (kind, name) in _defined(each)]
        if len(found) > 1:
            expected, got = "one plugin that defines it", " and ".join(map(source_name, found))
            raise SpaceError(f"{kind} {name!r}", expected, got, "rename it in one of them")
        owners.update(each.digest for each in found)
    return JOINT.join(sorted(owners))


def foreign_names(candidate: Candidate) -> set[tuple[str, str]]:
    """Kind (``network`` or ``loss``) and name of what a candidate uses that is not ours.

    Raises:
        SpaceError: the loss is no sum of names.
    """
    family = candidate.network.family.partition(":")[0]
    losses = {("loss", t.name) for t in parse(candidate.loss) if not is_loss(t.name)}
    return losses if family in network_names() else {*losses, ("network", family)}


def _defined(plugin: Plugin) -> set[tuple[str, str]]:
    losses = {("loss", name) for name in every_loss_name(plugin.digest)}
    return losses | {("network", name) for name in network_names(plugin.digest)}


def _read(path: Path) -> Plugin:
    remedy = "pass a Python file"
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise GitractError(f"--plugin {path}", "a Python file", error.strerror, remedy) from None
    if len(content) > _MOST_BYTES:
        got = f"more than {_MOST_BYTES} bytes"
        raise GitractError(f"--plugin {path}", "a Python file", got, remedy)
    return Plugin(path.name, content)


def _execute(plugin: Plugin) -> None:
    if plugin.digest in (each.digest for each in executed()):
        return
    name = f"gitract_plugin_{plugin.digest}"
    module, shown = ModuleType(name), source_name(plugin)
    module.__file__ = shown
    lines = plugin.content.decode(errors="replace").splitlines(keepends=True)
    linecache.cache[shown] = (len(plugin.content), None, lines, shown)  # for tracebacks
    sys.modules[name] = module
    try:
        with registering(plugin):
            exec(compile(plugin.content, shown, "exec"), module.__dict__)
            _check_names(plugin)
    except GitractError as error:
        del sys.modules[name]
        raise error.within(place_in(error, plugin)) from None
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        got = f"{type(error).__name__}: {error.msg if isinstance(error, SyntaxError) else error}"
        where = place_in(error, plugin)
        raise GitractError(where, "a plugin that Python can execute", got, "mend it") from None


def source_name(plugin: Plugin) -> str:
    """The file's name in tracebacks."""
    return f"{plugin.name} ({plugin.digest})"


def place_in(error: BaseException, plugin: Plugin) -> str:
    """The plugin's file and, where the error came about in it, the line."""
    shown = source_name(plugin)
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == shown]
    if isinstance(error, SyntaxError) and error.filename == shown:
        lines.append(error.lineno)
    return f"{plugin.name}, line {lines[-1]}" if lines else plugin.name


def _check_names(plugin: Plugin) -> None:
    networks, losses = network_names(plugin.digest), every_loss_name(plugin.digest)
    if not networks and not losses:
        expected, remedy = "a network or a loss that it registers", "see docs/plugins.md"
        raise GitractError("its registrations", expected, "neither", remedy)
    for name in (*networks, *losses):
        if not (name.isascii() and name.isidentifier()):
            expected = "a name of letters, digits and underscores"
            raise SpaceError("its registrations", expected, repr(name), "rename it")
