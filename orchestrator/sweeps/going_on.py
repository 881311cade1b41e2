"""The command that goes on with a run: the last sweep's, without what was removed since."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from orchestrator.sweeps.run_directory import SweepDirectory, SweepRecord

_OF_THE_SPACE = ("--budget", "--write-space", "--space", "--set", "--precision", "--folds")


def remaining_space(directory: SweepDirectory) -> Path:
    """The space of the last sweep's candidates that were not removed."""
    return directory.path / "remaining.yaml"


def sweep_of_space(arguments: Sequence[str], space: Path) -> str:
    """A command line as a sweep of another space.

    Args:
        arguments: after the name of the command.
        space: whose settings are whole: what changes a space is left out.

    >>> sweep_of_space(["--data", "d", "--set", "loss=bce", "--space=paper"], Path("new.yaml"))
    'gitract-cv sweep --data d --space new.yaml'
    """
    words: list[str] = []
    given = iter(arguments)
    for word in given:
        name = word.partition("=")[0]
        if name in _OF_THE_SPACE:
            if name == word:
                next(given, None)
            continue
        words.append(word)
    return shlex.join(["gitract-cv", "sweep", *words, "--space", str(space)])


def command_to_go_on(directory: SweepDirectory, record: SweepRecord) -> str:
    """Trains what is left of the last sweep; empty where no command does.

    That is: it was not a command, or a search that may propose again what was removed.
    """
    command = record.commands[-1] if record.commands else ""
    if not command.startswith("gitract-cv sweep") or (record.left_out and record.to_come):
        return ""
    if not record.left_out:
        return command
    return sweep_of_space(shlex.split(command)[2:], remaining_space(directory))
