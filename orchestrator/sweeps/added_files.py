"""The files of added candidates; see ``results`` for who reads them.

::

    RUN/added/NAME/added.json          sealed: name, origin, and size and digest of every other file
    RUN/added/NAME/KEY/scored.json     sealed: the scores of one fold
    RUN/added/NAME/KEY/masks.parquet   its predictions: id, class, run-length text, if any pixel is
    RUN/added/NAME/KEY/scores.parquet  one row a (slice, class) and a (scan, class), as of a trial
    RUN/added/NAME/KEY/failure.json    why a fold has no scores
    RUN/added/NAME/KEY/oof.npz         its predictions at network size, if it may be in ensembles
    RUN/added/NAME/test.npz            likewise its predictions of the test set

KEY is the hash of name, fold, data set and fold plan, as a trial's: predictions on other folds are
never taken for those of these.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired, TypedDict

from gitract_core import __version__
from gitract_core.data.ids import NAME_PATTERN
from gitract_core.errors import RunError
from gitract_core.files.atomic import json_bytes, parse_json, read_bytes, read_json, write_bytes
from gitract_core.files.digests import Stamp, StampShape
from gitract_core.files.json_shapes import Meta, Raw
from gitract_core.organs import Organs
from gitract_core.results.result_shape import CaseSums, OwnScore, Scores
from gitract_core.results.trial_result import TrialFiles, TrialResult
from gitract_core.spec import TrialSpec
from orchestrator.sweeps.added_candidate import AddedCandidate

FOLDER, MANIFEST, MASKS, TEST = "added", "added.json", "masks.parquet", "test.npz"
_SCORED = "scored.json"
_REMEDY = "add the predictions again with --replace, or remove the candidate"
_Text = Annotated[str, Meta(max_length=4000)]


class _Manifest(TypedDict):
    format: Literal[1]
    name: Annotated[str, Meta(min_length=1, max_length=64)]
    origin: _Text
    epoch_rule: _Text
    source: _Text
    created: _Text
    version: _Text
    files: dict[str, StampShape]


class _Scored(TypedDict):
    key: str
    scores: Scores
    per_case: dict[Annotated[str, Meta(pattern=NAME_PATTERN)], CaseSums]
    organs: list[str]
    known: NotRequired[dict[str, Annotated[float, Meta(ge=0, le=1)]]]
    own: NotRequired[OwnScore]
    files: NotRequired[Raw]


@dataclass(frozen=True)
class Added:
    """What ``added.json`` says.

    Attributes:
        name, origin, epoch_rule: see ``AddedCandidate``.
        source: what was passed.
        created: when, in UTC.
        version: of this package.
        files: size and digest of every other file, by its path from the folder.
    """

    name: str
    origin: str
    epoch_rule: str
    source: str
    created: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    version: str = __version__
    files: Mapping[str, Stamp] = field(default_factory=dict)

    @classmethod
    def load(cls, folder: Path) -> Added:
        """Read ``added.json``.

        Raises:
            RunError: unreadable, changed since it was written, or of another folder.
        """
        file = folder / MANIFEST
        values = read_json(file, _Manifest, _REMEDY)
        found = cls(
            values["name"],
            values["origin"],
            values["epoch_rule"],
            values["source"],
            values["created"],
            values["version"],
            {name: Stamp(**stamp) for name, stamp in values["files"].items()},
        )
        if found.name != folder.name:
            raise RunError(file, f"name {folder.name}", found.name, _REMEDY)
        return found

    def check(self, folder: Path) -> None:
        """Compare every file with it.

        Raises:
            RunError: a file is missing or changed.
        """
        for name, stamp in self.files.items():
            stamp.check(folder / name, _REMEDY)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        files = {name: stamp.to_json() for name, stamp in self.files.items()}
        return {"format": 1, **asdict(self), "files": files}


def added_candidates(run: Path) -> tuple[AddedCandidate, ...]:
    """The added candidates of a run, by name; of one whose manifest is damaged, what is wrong."""
    found = []
    for folder in sorted((run / FOLDER).glob("[!.]*")):
        if not folder.is_dir():
            continue
        try:
            said = Added.load(folder)
        except RunError as error:
            found.append(AddedCandidate(name=folder.name, fault=str(error)))
            continue
        rule = said.epoch_rule
        found.append(AddedCandidate(name=said.name, origin=said.origin, epochs_by=rule))
    return tuple(found)


def added_trial(run: Path, spec: TrialSpec, candidate: AddedCandidate) -> TrialFiles:
    """The files of one fold of an added candidate."""
    return TrialFiles(run / FOLDER / candidate.name / spec.key)


def read_scored(files: TrialFiles, spec: TrialSpec) -> TrialResult | None:
    """The scores of one fold as a trial's result; None where there are none.

    Raises:
        RunError: damaged, of another fold, or not those that the manifest names.
    """
    file = files.directory / _SCORED
    if not file.parent.is_dir():
        return None
    stamp = Added.load(file.parent.parent).files.get(f"{file.parent.name}/{_SCORED}")
    if stamp is None:
        return None  # of an earlier set of predictions, if it is there
    content = read_bytes(file)
    stamp.check_bytes(file, content, _REMEDY)
    values: _Scored = parse_json(file, content, _Scored, _REMEDY)
    if values["key"] != spec.key:
        raise RunError(file, f"key {spec.key}", values["key"], _REMEDY)
    organs = Organs(tuple(values["organs"]))
    for case, sums in values["per_case"].items():
        if {len(column) for column in sums.values()} != {len(organs)}:  # type: ignore[arg-type]
            raise RunError(f"{file}, key per_case.{case}", f"{len(organs)} sums", "others", _REMEDY)
    return TrialResult(
        spec,
        values["scores"],
        values["per_case"],
        history={},
        known=values.get("known", {}),
        organs=organs,
        own=dict(values.get("own", {})),
        stamps=bytes(values.get("files", b"{}")),
    )


def write_scored(files: TrialFiles, result: TrialResult) -> None:
    """Write the scores of one fold, with the digests of the files beside them."""
    beside = [files.scores, files.directory / MASKS]
    beside += [files.oof] if files.oof.is_file() else []
    values: dict[str, Any] = {
        "key": result.spec.key,
        "scores": result.scores,
        "per_case": result.per_case,
        "organs": list(result.organs),
        "files": {file.name: Stamp.of(file).to_json() for file in beside},
    }
    values |= {"known": result.known} if result.known else {}
    values |= {"own": result.own} if result.own else {}
    write_bytes(files.directory / _SCORED, json_bytes(values, seal=True))


def write_added(run: Path, said: Added, fill: Callable[[Path], None]) -> Path:
    """Write the folder of an added candidate: whole, or not at all; in place of an earlier one.

    Args:
        run: its directory.
        said: what the manifest says; the digests of files are added.
        fill: writes the folds into a folder in which they are found by their keys.
    """
    home = run / FOLDER
    part, folder = home / f".{said.name}.part", home / said.name
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        fill(part)
        files = sorted(file for file in part.rglob("*") if file.is_file())
        stamps = {str(file.relative_to(part)): Stamp.of(file) for file in files}
        values = {**said.to_json(), "files": {n: s.to_json() for n, s in stamps.items()}}
        write_bytes(part / MANIFEST, json_bytes(values, seal=True))
        aside = home / f".{said.name}.before.part"
        if folder.is_dir():
            shutil.rmtree(aside, ignore_errors=True)
            folder.replace(aside)
        part.replace(folder)
        shutil.rmtree(aside, ignore_errors=True)
    finally:
        shutil.rmtree(part, ignore_errors=True)
        with suppress(OSError):
            home.rmdir()  # where nothing could be added
    return folder


def remove_added(run: Path, name: str) -> None:
    """Remove the folder of an added candidate: out of sight first, so that no half is read."""
    home = run / FOLDER
    aside = home / f".{name}.before.part"
    shutil.rmtree(aside, ignore_errors=True)
    (home / name).replace(aside)
    shutil.rmtree(aside, ignore_errors=True)


def taken_name(name: str, candidates: Sequence[AddedCandidate]) -> str | None:
    """The added candidate that has a name already, in whatever case its letters are."""
    return next((c.name for c in candidates if c.name.casefold() == name.casefold()), None)
