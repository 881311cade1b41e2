"""Reads an ensemble's announced score from its ``oof_score.json``."""

from __future__ import annotations

from pathlib import Path
from typing import NotRequired, TypedDict

from gitract_core.files.atomic import read_json


class AnnouncedScores(TypedDict):
    """What is read of ``oof_score.json``; null where a figure is not known.

    Attributes:
        score, interval: of choosing everything without the fold that is scored; the interval is
            that of the mean patient, see ``orchestrator.ensembles.to_come`` for a test set.
        in_sample: the same members, scored where they were chosen.
        single: of the best candidate alone, chosen alike.
        gain, gain_interval: over it.
        per_case: patient -> sums and counts by organ, of the score's columns.
        fold_of_case: patient -> the fold that it was scored in; older files lack it.
    """

    score: float | None
    interval: tuple[float | None, float | None]
    in_sample: float | None
    single: float | None
    gain: float | None
    gain_interval: tuple[float | None, float | None]
    per_case: NotRequired[dict[str, dict[str, list[float]]]]
    fold_of_case: NotRequired[dict[str, int]]


def read_announced(path: Path) -> AnnouncedScores:
    """What an ensemble's ``oof_score.json`` announces.

    Raises:
        RunError: the file is damaged.
    """
    return read_json(path, AnnouncedScores, "make the ensemble anew")
