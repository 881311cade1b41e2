"""Reads an ensemble's announced score from its ``oof_score.json``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, NotRequired, TypedDict

from gitract_core.errors import RunError
from gitract_core.files.atomic import parse_json, read_bytes
from gitract_core.files.digests import digest_of
from gitract_core.files.json_shapes import Meta

_Sum = Annotated[float, Meta(ge=0, le=1e9)]


class AnnouncedScores(TypedDict):
    """What is read of ``oof_score.json``; null where a figure is not known.

    Attributes:
        score, interval: of choosing everything without the fold that is scored; the interval is
            that of the mean patient, see ``orchestrator.ensembles.to_come`` for a test set.
        in_sample: the same members, scored where they were chosen.
        single: of the best candidate alone, chosen alike.
        gain, gain_interval: over it.
        members_digest: of the ``members.json`` that it speaks of; older files do not say it.
        per_case: patient -> sums and counts by organ, of the score's columns.
        fold_of_case: patient -> the fold that it was scored in; older files lack it.
        measure: the score's text; files that do not say it mean the contest's.
    """

    score: float | None
    interval: tuple[float | None, float | None]
    in_sample: float | None
    single: float | None
    gain: float | None
    gain_interval: tuple[float | None, float | None]
    members_digest: NotRequired[str]
    per_case: NotRequired[dict[str, dict[str, list[_Sum]]]]
    fold_of_case: NotRequired[dict[str, Annotated[int, Meta(ge=0, le=10**6)]]]
    measure: NotRequired[Annotated[str, Meta(max_length=500)]]


NAME = "oof_score.json"
_REMEDY = "make the ensemble anew"


def read_announced(path: Path) -> AnnouncedScores:
    """What an ensemble's ``oof_score.json`` announces.

    Raises:
        RunError: the file is damaged, or of another ensemble than the ``members.json`` beside it.
    """
    announced: AnnouncedScores = parse_json(path, read_bytes(path), AnnouncedScores, _REMEDY)
    manifest = path.with_name("members.json")
    if announced.get("members_digest") and manifest.is_file():
        check_pair(manifest, read_bytes(manifest), announced)
    return announced


def check_pair(manifest: Path, content: bytes, announced: AnnouncedScores | None = None) -> None:
    """Compare a manifest with the score beside it, if there is one that says what it is of.

    Raises:
        RunError: the score is damaged, or of another ensemble.
    """
    scores = manifest.with_name(NAME)
    if announced is None:
        if not scores.is_file():
            return
        announced = parse_json(scores, read_bytes(scores), AnnouncedScores, _REMEDY)
    noted, found = announced.get("members_digest", ""), digest_of(content)
    if noted and found and noted != found:
        expected = f"members with the digest {noted[:12]}..., as {NAME} says"
        raise RunError(manifest, expected, f"{found[:12]}...", _REMEDY)
