"""``RUN/registration.json``: what was decided before anything was trained, and what deviates since.

A ranking proves something if what is ranked, and by what, was fixed before the first score was
seen. ``sweep --register`` writes that down, once, before the first training; nothing changes it
later. The report reads it and says what was done otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypedDict

from gitract_core import __version__
from gitract_core.errors import GitractError, RunError, counted
from gitract_core.files.atomic import read_json, write_json
from gitract_core.files.json_shapes import Meta
from gitract_core.metrics.score import COMPETITION
from gitract_core.spec import Candidate, refuse_newer_knobs
from orchestrator.sweeps.labels import candidate_labels

if TYPE_CHECKING:
    from orchestrator.sweeps.run_directory import SweepDirectory, SweepRecord

_MOST_NAMES = 5
_WORDS = {
    "score": "the score",
    "margin": "the margin",
    "repeats": "fold plans",
}


class _File(TypedDict):
    """What ``registration.json`` holds."""

    format: Literal[1]
    score: str
    margin: Annotated[float, Meta(ge=0, lt=1)]
    candidates: Annotated[list[dict[str, str | int | float]], Meta(min_length=1)]
    to_come: Annotated[int, Meta(ge=0, le=10_000)]
    exclude: list[str]
    repeats: Annotated[int, Meta(ge=1, le=100)]
    registered: str
    version: str


@dataclass(frozen=True)
class Registration:
    """What was decided before anything was trained.

    Attributes:
        margin: of score, for "no worse than the best by more than".
        candidates: settings that will be ranked.
        exclude: scans that are left out.
        repeats: fold plans.
        to_come: further candidates that a search will propose.
        score: by which they will be ranked, in words.
        registered: when, in UTC.
        version: of this package.
    """

    margin: float
    candidates: tuple[Candidate, ...]
    exclude: tuple[str, ...]
    repeats: int = 1
    to_come: int = 0
    score: str = COMPETITION.name
    registered: str = field(
        default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"), compare=False
    )
    version: str = field(default=__version__, compare=False)

    @classmethod
    def of(
        cls, record: SweepRecord, candidates: Sequence[Candidate], margin: float
    ) -> Registration:
        """What a sweep that is about to begin decides.

        Args:
            record: of the run.
            candidates: that the sweep asks for.
            margin: of score.
        """
        return cls(
            margin=margin,
            candidates=tuple(candidates),
            exclude=record.exclude,
            repeats=len(record.plans),
            to_come=record.to_come,
            score=record.measure.name,
        )

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        values = {name: getattr(self, name) for name in self.__dataclass_fields__}
        lists = {"candidates": [c.recorded() for c in self.candidates], "exclude": [*self.exclude]}
        return {"format": 1, **values, **lists}

    @property
    def total(self) -> int:
        """Candidates, with those that a search will propose."""
        return len(self.candidates) + self.to_come

    def differences(self, later: Registration) -> list[str]:
        """Names of what a later registration decides otherwise; orders do not count.

        What the registered search has proposed meanwhile is as registered.
        """
        differ = [w for name, w in _WORDS.items() if getattr(self, name) != getattr(later, name)]
        if set(self.exclude) != set(later.exclude):
            differ.append("excluded scans")
        first, now = set(self.candidates), set(later.candidates)
        same = first <= now if self.to_come else first == now
        if not same or self.total != later.total:
            differ.append("candidates")
        return differ


def registration_file(directory: SweepDirectory) -> Path:
    """``registration.json`` of a run."""
    return directory.path / "registration.json"


def read_registration(directory: SweepDirectory) -> Registration | None:
    """What was registered; None if nothing was.

    Raises:
        RunError: the file is damaged.
    """
    file = registration_file(directory)
    if not file.is_file():
        return None
    remedy = "restore the file: nothing can be said of what was registered without it"
    values: dict[str, Any] = dict(read_json(file, _File, remedy))
    for knobs in values["candidates"]:
        refuse_newer_knobs(file, knobs)
    try:
        candidates = tuple(Candidate.from_knobs(knobs) for knobs in values["candidates"])
    except (TypeError, GitractError) as error:
        raise RunError(file, "a registration", error, remedy) from None
    del values["format"]
    return Registration(**{**values, "candidates": candidates, "exclude": tuple(values["exclude"])})


def register(directory: SweepDirectory, asked: Registration) -> Registration:
    """Write what was decided, atomically, before the first training.

    The same command again, which goes on with an interrupted sweep, finds it written.

    Returns:
        What is registered.

    Raises:
        RunError: something else is registered, or trials are finished that nobody registered.
    """
    file, before = registration_file(directory), read_registration(directory)
    if before is not None:
        differ = before.differences(asked)
        if differ:
            remedy = (
                "leave --register out, and the report names what deviates, or pass another --out"
            )
            raise RunError(file, "what is registered", f"other {' and '.join(differ)}", remedy)
        return before
    finished = sum(1 for _ in directory.trials.glob("*/result.json"))
    if finished:
        expected, got = "a run without results", counted(finished, "finished trial")
        raise RunError(
            "--register", expected, got, "register before anything trains, in a new --out"
        )
    write_json(file, asked.to_json(), seal=True)
    return asked


def deviations(
    registered: Registration, record: SweepRecord, margin: float, score: str = COMPETITION.name
) -> list[str]:
    """What was done otherwise than registered, a sentence each; empty if nothing was.

    Args:
        registered: what was decided.
        record: of the run as it is.
        margin: that the report uses.
        score: that the report uses.
    """
    said = []
    labels = candidate_labels(tuple(dict.fromkeys((*record.candidates, *registered.candidates))))
    added = [c for c in record.candidates if c not in set(registered.candidates)]
    proposed = registered.to_come
    if len(added) > proposed:
        more = added[proposed:] if proposed else added
        said.append(f"added: {_names([labels[c] for c in more])}")
    removed = [c for c in registered.candidates if c not in set(record.candidates)]
    if removed:
        said.append(f"removed: {_names([labels[c] for c in removed])}")
    if margin != registered.margin:
        said.append(f"a margin of {margin:g} in place of {registered.margin:g}")
    if score != registered.score:
        said.append(f"another score: {score}")
    for word, scans in (
        ("excluded too", set(record.exclude) - set(registered.exclude)),
        ("not excluded", set(registered.exclude) - set(record.exclude)),
    ):
        if scans:
            said.append(f"{word}: {_names(sorted(scans))}")
    if len(record.plans) != registered.repeats:
        said.append(f"{counted(len(record.plans), 'fold plan')} in place of {registered.repeats}")
    return said


def in_words(registered: Registration, deviating: Sequence[str]) -> str:
    """One sentence or two on what was registered and what deviates from it.

    Args:
        registered: what was decided.
        deviating: as ``deviations`` says it.
    """
    what = f"{counted(len(registered.candidates), 'candidate')}, a margin of {registered.margin:g}"
    text = f"Registered before the first training ({registered.registered[:16]} UTC): {what}. "
    if not deviating:
        return f"{text}Nothing deviates from it."
    return f"{text}Deviating from it: {'; '.join(deviating)}."


def _names(names: Sequence[str]) -> str:
    more = len(names) - _MOST_NAMES
    quoted = any("," in name for name in names)  # "dice, depth 4" is one
    shown = [f"'{name}'" if quoted else name for name in names[:_MOST_NAMES]]
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")
