"""The shape of ``result.json``, and how large its figures may be."""

from __future__ import annotations

from typing import Annotated, Literal, NotRequired, TypedDict

from gitract_core.data.contents import ExtentShape
from gitract_core.data.ids import NAME_PATTERN
from gitract_core.files.json_shapes import Meta, Raw

MOST_FIGURE = 1e12
"""The largest loss or metric of an epoch that a result can hold."""
MOST_COST = 1e15
"""The largest number of seconds, bytes or parameters."""

Sums = list[Annotated[float, Meta(ge=0, le=1e9)]]
Facts = dict[str, str | int | float | None]
Figures = dict[str, Annotated[float, Meta(ge=-1e12, le=1e12)] | None]


class CaseSums(TypedDict):
    """Of one case, one number an organ."""

    dice_sum: Sums
    dice_rows: Sums
    hausdorff_sum: Sums
    hausdorff_volumes: Sums


UnitScore = Annotated[float, Meta(ge=0, le=1)] | None


class OrganScores(TypedDict):
    """Of one organ."""

    dice: UnitScore
    hausdorff: UnitScore
    score: NotRequired[UnitScore]


class Scores(TypedDict):
    """Of the held-out fold."""

    dice: UnitScore
    hausdorff: UnitScore
    score: UnitScore
    per_class: NotRequired[dict[str, OrganScores]]
    rows: NotRequired[int]
    volumes: NotRequired[int]


class History(TypedDict):
    """Of the training; see ``summarize_history``."""

    best_epoch: Annotated[int, Meta(ge=1, le=10**6)]
    epochs: Annotated[int, Meta(ge=1, le=10**6)]
    at_best: Figures
    best: Figures


class OwnScore(TypedDict):
    """Sums of the sweep's score, where that is not the contest's.

    Attributes:
        score: the expression.
        per_case: of each case the sums by the score's columns, one number an organ.
    """

    score: Annotated[str, Meta(max_length=500)]
    per_case: dict[Annotated[str, Meta(pattern=NAME_PATTERN)], dict[str, Sums]]


class Spec(TypedDict):
    """See ``TrialSpec``."""

    candidate: dict[str, str | int | float]
    fold: int
    n_folds: int
    seed: int
    data_fingerprint: str
    folds_fingerprint: str


class ResultShape(TypedDict):
    """What ``result.json`` holds."""

    key: str
    spec: Spec
    scores: Scores
    per_case: dict[Annotated[str, Meta(pattern=NAME_PATTERN)], CaseSums]
    history: History
    cost: Facts
    environment: Facts
    known: NotRequired[dict[str, Annotated[float, Meta(ge=0, le=1)]]]
    organs: NotRequired[list[str]]
    pairs: NotRequired[list[list[str]]]
    channels: NotRequired[list[str]]
    axis: NotRequired[Literal["axial", "coronal", "sagittal"]]
    extent: NotRequired[ExtentShape]
    gray: NotRequired[str]
    own: NotRequired[OwnScore]
    files: NotRequired[Raw]  # dict[str, StampShape], which few readers need
