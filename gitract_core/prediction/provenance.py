"""The provenance of a submission: a note beside it, and the check of that note.

``submission.provenance.json`` names the bytes of the submission, of the manifest and of every
member's weights by SHA-256, and the images by the content hash of their index. ``verify`` follows
the chain back and says where it breaks.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from itertools import islice
from pathlib import Path
from typing import Annotated, TypedDict

from gitract_core.data.slices import SliceIndex
from gitract_core.errors import GitractError, RunError, counted
from gitract_core.files.atomic import read_json, write_json
from gitract_core.files.digests import file_sha256
from gitract_core.files.json_shapes import Meta
from gitract_core.prediction.announced_scores import AnnouncedScores, read_announced
from gitract_core.prediction.members import Members, Predictor
from gitract_core.prediction.submission import COLUMNS, read_submission

_FORMAT = 1


class _Note(TypedDict):
    """What is read of a note."""

    submission_sha256: str
    manifest: Annotated[str, Meta(pattern=r"^[^\0]+$")]
    manifest_sha256: str | None
    weights_sha256: dict[str, str]
    images_fingerprint: str


@dataclass(frozen=True, slots=True)
class Link:
    """One link of the chain.

    Attributes:
        what: which file or content.
        ok: whether it is what the note says.
        found: one line.
    """

    what: str
    ok: bool
    found: str


def note_of(submission: Path) -> Path:
    """The note beside a submission.

    >>> note_of(Path("runs/a/submission.csv")).name
    'submission.provenance.json'
    """
    return submission.with_suffix(".provenance.json")


def write_note(submission: Path, manifest: Path, images: SliceIndex) -> Path:
    """Write the note of a submission just made from a manifest's members.

    Args:
        submission: the finished file.
        manifest: ``members.json``, or a trial's directory that served as an ensemble of one.
        images: what was predicted.
    """
    members = Members.load(manifest)
    note = note_of(submission)
    content = {
        "format": _FORMAT,
        "submission_sha256": file_sha256(submission),
        "manifest": os.path.relpath(manifest.resolve(), note.parent.resolve()),
        "manifest_sha256": file_sha256(manifest) if manifest.is_file() else None,
        "weights_sha256": {
            **{m.trial: m.sha256 for m in members.members},
            **{one.name: one.sha256 for one in members.given},
        },
        "images": str(images.root.resolve()),
        "images_fingerprint": images.fingerprint,
        "versions": {name: _version(name) for name in ("gitract-cv", "torch", "numpy")},
        "platform": platform.platform(),
    }
    write_json(note, content, seal=True)
    return note


@dataclass(frozen=True, slots=True)
class ExpectedScore:
    """The score to expect of a submission, or why none is known.

    Attributes:
        announced: the values of the ensemble's ``oof_score.json``; None where none is known.
        reason: why not, in one line; empty where one is.
    """

    announced: AnnouncedScores | None
    reason: str = ""


def expected_score(submission: Path) -> ExpectedScore:
    """What the ensemble that made a submission earned out of fold.

    Raises:
        RunError: one of the files is damaged, or the manifest is not the one that the note speaks
            of.
    """
    note = note_of(submission)
    if not note.is_file():
        return ExpectedScore(None, f"no note beside it ({note.name})")
    noted = _read_note(note)
    manifest = note.parent / noted["manifest"]
    scores = manifest.parent / "oof_score.json"
    for file in (manifest, scores):
        if not file.is_file():
            return ExpectedScore(None, f"{file} is missing or no file")
    if file_sha256(submission) != noted["submission_sha256"]:
        return ExpectedScore(None, f"the submission was changed since it was made ({note.name})")
    if (wanted := noted["manifest_sha256"]) and (found := file_sha256(manifest)) != wanted:
        expected = f"SHA-256 {wanted[:12]}..., as {note.name} says"
        raise RunError(manifest, expected, f"{found[:12]}...", "make the submission anew")
    announced = read_announced(scores)
    if announced["score"] is None:
        return ExpectedScore(None, f"{scores} has no score")
    return ExpectedScore(announced)


def verify(
    submission: Path,
    *,
    images: SliceIndex | None = None,
    predictor: Callable[[Members, Path], Predictor] | None = None,
    scans: int = 0,
) -> list[Link]:
    """Follow a submission back to its members.

    Args:
        submission: the file; its note lies beside it.
        images: the scans it is said to predict, to be compared with the note's content hash.
        predictor: loads a manifest's networks, to predict anew.
        scans: how many scans of ``images`` are predicted anew and compared row by row.

    Raises:
        RunError: there is no note, or it is damaged.
    """
    note = _read_note(note_of(submission))
    manifest = (note_of(submission).parent / note["manifest"]).resolve()
    links = [_hash_link("submission", submission, note["submission_sha256"])]
    if note["manifest_sha256"] is not None:
        links.append(_hash_link("members", manifest, note["manifest_sha256"]))
    told = any(link.what == "members" and not link.ok for link in links)
    links += _weight_links(manifest, note["weights_sha256"], told=told)
    if images is not None:
        same = images.fingerprint == note["images_fingerprint"]
        found = "those of the note" if same else f"others ({images.fingerprint})"
        links.append(Link("images", same, found))
    if images is not None and predictor is not None and all(link.ok for link in links):
        directory = manifest if manifest.is_dir() else manifest.parent
        made = predictor(Members.load(manifest), directory)
        links += [_scan_link(submission, made, images, s) for s in islice(images.scans, scans)]
    return links


def _read_note(path: Path) -> _Note:
    return read_json(path, _Note, "write the submission again")


def _hash_link(what: str, path: Path, expected: str) -> Link:
    if not path.is_file():
        return Link(what, False, f"{path} is missing")
    found = file_sha256(path)
    if found == expected:
        return Link(what, True, f"{path}, SHA-256 {found[:12]}...")
    return Link(what, False, f"{path} has changed: {found[:12]}..., noted {expected[:12]}...")


def _weight_links(manifest: Path, noted: dict[str, str], *, told: bool) -> list[Link]:
    """A link a member; ``told``: that the manifest is another one, so that it need not be read."""
    try:
        members = Members.load(manifest)
    except GitractError as error:
        return [] if told else [Link("weights", False, str(error))]
    directory = manifest if manifest.is_dir() else manifest.parent
    links = [
        _hash_link(f"weights of trial {m.trial}", directory / m.weights, noted.get(m.trial, "none"))
        for m in members.members
    ]
    links += [
        _hash_link(f"predictions of {one.name}", directory / one.file, noted.get(one.name, "none"))
        for one in members.given
    ]
    there = {m.trial for m in members.members} | {one.name for one in members.given}
    lost = sorted(set(noted) - there)
    links += [Link(f"weights of trial {trial}", False, "not in the manifest") for trial in lost]
    return links


def _scan_link(submission: Path, predictor: Predictor, images: SliceIndex, scan: str) -> Link:
    table = read_submission(submission)
    columns = (table[name] for name in COLUMNS)
    given = {(name, organ): text for name, organ, text in zip(*columns, strict=True)}
    rows = predictor.rows(images, scan)
    other = sum(given.get((name, organ)) != text for name, organ, text in rows)
    found = f"{counted(len(rows), 'row')} predicted anew, {other} differ"
    return Link(f"scan {scan}", other == 0, found)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"
