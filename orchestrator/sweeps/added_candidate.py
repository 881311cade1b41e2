"""Another tool's out-of-fold predictions in a candidate's place, and what such may be called."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from gitract_core.errors import RunError
from gitract_core.spec import Candidate, digest

EPOCH_RULES = ("held_out", "inner", "last")
"""What ``training.keep`` knows; an added candidate may have been made by any other rule."""
NOT_SAID = "not said"
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9 ._+()-]{0,62}[A-Za-z0-9.+)])?", re.ASCII)
_LETTERS = re.compile(r"[A-Za-z]{1,2}", re.ASCII)


@dataclass(frozen=True, slots=True)
class AddedCandidate(Candidate):
    """A candidate that was trained elsewhere; its knobs are not known.

    Two of one name are one candidate.

    Attributes:
        name: what it is called.
        origin: where its predictions come from, and whether their folds were checked, in words.
        epochs_by: by whose patients its epochs were chosen: one of ``EPOCH_RULES``, other words, or
            ``NOT_SAID``.
        fault: what is wrong with its files; empty for nothing.
    """

    name: str = ""
    origin: str = field(default="", compare=False)
    epochs_by: str = field(default=NOT_SAID, compare=False)
    fault: str = field(default="", compare=False)

    def knobs(self) -> dict[str, str | int | float]:
        """None: they are not known."""
        return {}

    def recorded(self) -> dict[str, str | int | float]:
        """What its key is made of: its name."""
        return {"added": self.name}

    @property
    def key(self) -> str:
        """Hash of the name."""
        return digest(self.recorded())

    @property
    def epoch_rule(self) -> str:
        """By whose patients its epochs were chosen."""
        return self.epochs_by


def is_added(candidate: Candidate) -> bool:
    """Whether a candidate was trained elsewhere."""
    return isinstance(candidate, AddedCandidate)


def origin_of(candidate: Candidate) -> str:
    """Where the predictions of a candidate of another tool come from; empty for one of this run."""
    return candidate.origin if isinstance(candidate, AddedCandidate) else ""


def added_name(candidate: Candidate) -> str:
    """The name of a candidate of another tool; empty for one of this run."""
    return candidate.name if isinstance(candidate, AddedCandidate) else ""


def check_added_name(name: str) -> None:
    """Refuse a name that means something else in commands, or that no folder can have.

    Raises:
        RunError: says which names there may be.
    """
    where, remedy = "--name", 'pass another, as in --name "nnU-Net 2d"'
    if name.isdecimal():
        raise RunError(where, "no bare number, which is a rank", repr(name), remedy)
    if _LETTERS.fullmatch(name):
        expected = "no one or two letters, which candidates of the run are called by"
        raise RunError(where, expected, repr(name), remedy)
    if "=" in name:
        raise RunError(where, "no KNOB=VALUE, which compare reads", repr(name), remedy)
    if not _NAME.fullmatch(name):
        expected = "1 to 64 of A-Z a-z 0-9 space . _ + ( ) -, from a letter or digit"
        raise RunError(where, expected, f"{name!r:.80}", remedy)
