"""Candidates and trials: a candidate is one setting of every knob, a trial one candidate on a fold.

Knobs are the fields of ``gitract_core.knobs`` and nothing else; a search space is checked against
them, a leaderboard is labelled by them, and a trial's key is a hash of them.

Keys outlive versions. The knobs of the first version (``KNOBS_ALWAYS_HASHED``) are always part of
the hashed text; a later knob is part of it where its value is not its default. A new knob so
leaves all keys as they are, provided that its default does what was done before there was the knob
and that the default never changes: a file without the knob means that default.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass, field, fields
from functools import cache, cached_property
from operator import attrgetter
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from gitract_core.errors import RunError, SpaceError, suggestion
from gitract_core.knobs import (
    AugmentationKnobs,
    InputKnobs,
    NetworkKnobs,
    OptimizerKnobs,
    PostprocessKnobs,
    TrainingKnobs,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

KEY_LENGTH = 16
KNOBS_ALWAYS_HASHED = frozenset(
    (
        "loss",
        *(f"network.{name}" for name in ("family", "widths", "depth")),
        *(f"input.{name}" for name in ("size", "channels", "context", "stride")),
        *(f"augmentation.{name}" for name in ("kinds", "probability", "noise_sd", "blur_sigma")),
        *(f"augmentation.elastic_{name}" for name in ("displacement", "smoothness")),
        *(f"optimizer.{name}" for name in ("name", "learning_rate", "schedule", "weight_decay")),
        "optimizer.batch_size",
        *(f"training.{name}" for name in ("epochs", "patience", "monitor", "precision")),
        *(f"postprocess.{name}" for name in ("threshold", "z_sigma", "fill_gaps", "smallest_mm3")),
        "postprocess.parts",
    )
)
"""The knobs that the first keys were made of. Never to be changed: a new knob is not added here."""
_LONGEST_LOSS = 500


@dataclass(frozen=True, slots=True)
class Candidate:
    """One setting of every knob.

    Attributes:
        loss: an expression of ``gitract_core.losses``, for example ``bce + 0.5*dice``.
        network, input, augmentation, optimizer, training, postprocess: groups of knobs.
        plugin: hash of the ``--plugin`` file that defines the network or a loss, several joined by
            ``+``; found by the sweep, and empty without a plugin.
    """

    loss: str = "bce + 0.5*dice"
    network: NetworkKnobs = field(default_factory=NetworkKnobs)
    input: InputKnobs = field(default_factory=InputKnobs)
    augmentation: AugmentationKnobs = field(default_factory=AugmentationKnobs)
    optimizer: OptimizerKnobs = field(default_factory=OptimizerKnobs)
    training: TrainingKnobs = field(default_factory=TrainingKnobs)
    postprocess: PostprocessKnobs = field(default_factory=PostprocessKnobs)
    plugin: str = ""

    def __post_init__(self) -> None:
        if len(self.loss) > _LONGEST_LOSS:
            expected, got = f"at most {_LONGEST_LOSS} characters", f"{len(self.loss)}"
            raise SpaceError("knob loss", expected, got, "write a shorter sum")
        step = 2**self.network.depth
        if self.input.size % step:
            raise SpaceError(
                "knob input.size",
                f"a multiple of {step}, since network.depth is {self.network.depth}",
                self.input.size,
                f"use {max(step, self.input.size // step * step)}",
            )

    @classmethod
    def from_knobs(cls, knobs: Mapping[str, Any]) -> Candidate:
        """A candidate from dotted names, for example ``{"network.depth": 5, "loss": "bce"}``.

        Knobs that are not named keep their defaults.

        Raises:
            SpaceError: an unknown knob, a value of another type, a value out of range.
        """
        known = knob_defaults()
        groups: dict[str, dict[str, Any]] = {}
        for name, value in knobs.items():
            if name not in known:
                raise SpaceError("knob " + name, "a known knob", name, suggestion(name, known))
            group, _, leaf = name.rpartition(".")
            groups.setdefault(group, {})[leaf] = _converted(name, value, known[name])
        top = groups.pop("", {})
        built = {g: _group_types()[g](**values) for g, values in groups.items()}
        return cls(**top, **built)

    def knobs(self) -> dict[str, str | int | float]:
        """Every knob by its dotted name; the inverse of ``from_knobs``."""
        names, values = _dotted()
        return dict(zip(names, values(self), strict=True))

    def recorded(self) -> dict[str, str | int | float]:
        """The knobs that files hold and keys are made of: not later ones at their defaults.

        ``from_knobs`` gives the candidate back. Equal settings are recorded alike by every version
        that knows their knobs.
        """
        defaults = _defaults()
        return {
            name: value
            for name, value in self.knobs().items()
            if name in KNOBS_ALWAYS_HASHED or value != defaults[name]
        }

    @property
    def key(self) -> str:
        """Hash of the recorded knobs, 16 hexadecimal digits."""
        return digest(self.recorded())

    @property
    def epoch_rule(self) -> str:
        """By whose cases the epoch that is kept is chosen: ``training.keep``."""
        return self.training.keep

    @property
    def trained(self) -> Candidate:
        """The candidate as far as training knows it: with the default post-processing."""
        return dataclasses.replace(self, postprocess=PostprocessKnobs())

    @property
    def trajectory(self) -> Candidate:
        """The candidate as far as the path of its weights knows it: without where that ends.

        Of two candidates of one trajectory, the one that trains longer passes through the other's
        last weights. Epochs and patience are the default's, but for the epochs of a schedule that
        is not constant: they decide every learning rate. Which epoch is kept stays part of it:
        trainings that choose it in other ways keep other files.
        """
        default, knobs = TrainingKnobs(), self.training
        epochs = default.epochs if self.optimizer.schedule == "constant" else knobs.epochs
        free = dataclasses.replace(knobs, epochs=epochs, patience=default.patience)
        return dataclasses.replace(self.trained, training=free)


@cache
def _dotted() -> tuple[tuple[str, ...], Callable[[Candidate], tuple[str | int | float, ...]]]:
    """The dotted names of all knobs, and what reads their values off a candidate."""
    default = Candidate()
    names: list[str] = []
    for item in fields(default):
        value = getattr(default, item.name)
        inner = fields(value) if dataclasses.is_dataclass(value) else ()
        names += [f"{item.name}.{f.name}" for f in inner] or [item.name]
    return tuple(names), attrgetter(*names)


@dataclass(frozen=True)
class TrialSpec:
    """One candidate trained on all folds but one and scored on that one.

    Attributes:
        candidate: the setting.
        fold: the held-out fold, 0 to ``n_folds - 1``.
        n_folds: number of folds of the plan.
        seed: seed of weights, order and augmentation.
        data_fingerprint: content hash of the data set.
        folds_fingerprint: content hash of the fold plan.
    """

    candidate: Candidate
    fold: int
    n_folds: int
    seed: int
    data_fingerprint: str
    folds_fingerprint: str

    def __post_init__(self) -> None:
        if not 0 <= self.fold < self.n_folds:
            remedy = "number folds from 0"
            raise SpaceError("fold", f"0 to {self.n_folds - 1}", self.fold, remedy)

    @cached_property
    def key(self) -> str:
        """Hash that names the trial everywhere, 16 hexadecimal digits."""
        return digest(self.to_json())

    @property
    def training_key(self) -> str:
        """Hash of what decides the path of the weights: equal for trials that train alike."""
        return dataclasses.replace(self, candidate=self.candidate.trajectory).key

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; the inverse of ``from_json``."""
        return {
            "candidate": self.candidate.recorded(),
            "fold": self.fold,
            "n_folds": self.n_folds,
            "seed": self.seed,
            "data_fingerprint": self.data_fingerprint,
            "folds_fingerprint": self.folds_fingerprint,
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> TrialSpec:
        """A spec from what ``to_json`` gave."""
        return cls(**{**values, "candidate": Candidate.from_knobs(values["candidate"])})


def refuse_newer_knobs(file: Path, knobs: Mapping[str, Any], known: Iterable[str] = ()) -> None:
    """Refuse the knobs of a file if a newer version wrote it.

    Knobs that the file lacks are no fault: they are newer than the file, and have their defaults.

    Args:
        file: for the error.
        knobs: values by name.
        known: names that there are; all dotted names if left out.

    Raises:
        RunError: a knob that this version does not know.
    """
    newer = sorted(set(knobs) - set(known or knob_defaults()))
    if newer:
        expected, got = "knobs that this version knows", f"knob {newer[0]}"
        raise RunError(file, expected, got, "update gitract-cv; a newer version wrote the file")


def digest(value: object) -> str:
    """Hash of plain JSON values that does not depend on the order of keys."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:KEY_LENGTH]


def knob_defaults() -> dict[str, str | int | float]:
    """Every knob's dotted name and default value."""
    return dict(_defaults())


@cache
def _defaults() -> Mapping[str, str | int | float]:
    return MappingProxyType(Candidate().knobs())


@cache
def _group_types() -> dict[str, type]:
    default = Candidate()
    values = {f.name: getattr(default, f.name) for f in fields(Candidate)}
    return {name: type(v) for name, v in values.items() if dataclasses.is_dataclass(v)}


def _converted(name: str, value: Any, default: str | int | float) -> str | int | float:
    """The value as the knob's own type; whole numbers serve as floats, nothing else is bent."""
    if isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, bool) or not isinstance(value, type(default)):
        kind = {"str": "text", "int": "a whole number", "float": "a number"}[type(default).__name__]
        got = f"{value!r} ({type(value).__name__})"
        raise SpaceError(f"knob {name}", kind, got, "change it in the search space")
    if isinstance(default, float) and not abs(float(value)) < float("inf"):
        raise SpaceError(f"knob {name}", "a finite number", value, "change it in the search space")
    return value
