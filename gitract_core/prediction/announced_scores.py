"""Reads an ensemble's announced score from its ``oof_score.json``."""

from __future__ import annotations

from pathlib import Path
from typing import TypedDict

from gitract_core.files.atomic import read_json


class AnnouncedScores(TypedDict):
    """What is read of ``oof_score.json``; null where a figure is not known.

    Attributes:
        score, interval: of choosing everything without the fold that is scored.
        in_sample: the same members, scored where they were chosen.
        single: of the best candidate alone, chosen alike.
        gain, gain_interval: over it.
    """

    score: float | None
    interval: tuple[float | None, float | None]
    in_sample: float | None
    single: float | None
    gain: float | None
    gain_interval: tuple[float | None, float | None]


def read_announced(path: Path) -> AnnouncedScores:
    """What an ensemble's ``oof_score.json`` announces.

    Raises:
        RunError: the file is damaged.
    """
    return read_json(path, AnnouncedScores, "make the ensemble anew")
