"""What is tried: a candidate is one setting of every knob, a trial is a candidate on a fold.

Knobs are the fields of the frozen dataclasses below and nothing else; a search space is checked
against them, a leaderboard is labelled by them, and a trial's key is a hash of all of them. To add
a knob, add a field here and read it where it acts.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

from gitract_core.errors import SpaceError, suggestion

if TYPE_CHECKING:
    from collections.abc import Mapping

PRECISIONS = ("auto", "bf16", "fp32")
MONITORS = ("loss", "dice")
AUGMENTATION_KINDS = ("elastic", "noise", "blur", "affine", "flip", "intensity")
KEY_LENGTH = 16


def _require(knob: str, ok: bool, expected: str, got: object) -> None:
    if not ok:
        raise SpaceError(f"knob {knob}", expected, repr(got), "change it in the search space")


@dataclass(frozen=True, slots=True)
class NetworkKnobs:
    """Which network.

    Attributes:
        family: a name registered in ``gitract_core.networks``.
        widths: feature maps per level, a preset's name (``paper``, ``standard``) or a text such as
            ``"16,32,64,128"``.
        depth: number of 2x2 poolings; a text of widths must have ``depth + 1`` numbers.
    """

    family: str = "unet"
    widths: str = "paper"
    depth: int = 4

    def __post_init__(self) -> None:
        _require("network.depth", 1 <= self.depth <= 7, "1 to 7", self.depth)


@dataclass(frozen=True, slots=True)
class InputKnobs:
    """What the network sees.

    Attributes:
        size: side of the square input, pixels; a multiple of 2 to the power of the depth.
        channels: 1, or 3 with the gray slice repeated, as in the paper.
    """

    size: int = 128
    channels: int = 3

    def __post_init__(self) -> None:
        _require("input.size", 16 <= self.size <= 1024, "16 to 1024 pixels", self.size)
        _require("input.channels", self.channels in (1, 3), "1 or 3", self.channels)


@dataclass(frozen=True, slots=True)
class AugmentationKnobs:
    """Random changes of training slices; images and masks are bent alike.

    Attributes:
        kinds: ``none``, or names of ``AUGMENTATION_KINDS`` joined by ``+``.
        probability: chance that a slice gets each kind, 0 to 1.
        elastic_displacement: root mean square displacement, as a fraction of the side.
        elastic_smoothness: Gaussian sigma of the displacement field, as a fraction of the side.
        noise_sd: largest standard deviation of the noise, in units of the image range 0 to 1.
        blur_sigma: largest Gaussian sigma, as a fraction of the side.
    """

    kinds: str = "elastic+noise+blur"
    probability: float = 0.5
    elastic_displacement: float = 0.03
    elastic_smoothness: float = 0.08
    noise_sd: float = 0.05
    blur_sigma: float = 0.01

    def __post_init__(self) -> None:
        for kind in self.names():
            if kind not in AUGMENTATION_KINDS:
                raise SpaceError(
                    "knob augmentation.kinds",
                    "'none' or kinds joined by '+'",
                    repr(kind),
                    suggestion(kind, (*AUGMENTATION_KINDS, "none")),
                )
        _require("augmentation.probability", 0 <= self.probability <= 1, "0 to 1", self.probability)
        for name in ("elastic_displacement", "elastic_smoothness", "noise_sd", "blur_sigma"):
            value = getattr(self, name)
            _require(f"augmentation.{name}", 0 <= value <= 1, "0 to 1", value)

    def names(self) -> tuple[str, ...]:
        """The kinds as a tuple, empty for ``none``."""
        return () if self.kinds == "none" else tuple(k.strip() for k in self.kinds.split("+"))


@dataclass(frozen=True, slots=True)
class OptimizerKnobs:
    """How weights move.

    Attributes:
        name: ``adam`` or ``adamw``.
        learning_rate: step size at the start.
        schedule: ``constant``, or ``cosine`` down to zero at the last epoch.
        weight_decay: L2 penalty (adam) or decoupled decay (adamw).
        batch_size: slices a step.
    """

    name: str = "adam"
    learning_rate: float = 1e-3
    schedule: str = "constant"
    weight_decay: float = 0.0
    batch_size: int = 16

    def __post_init__(self) -> None:
        _require("optimizer.name", self.name in ("adam", "adamw"), "adam or adamw", self.name)
        ok = self.schedule in ("constant", "cosine")
        _require("optimizer.schedule", ok, "constant or cosine", self.schedule)
        rate = self.learning_rate
        _require("optimizer.learning_rate", 0 < rate < 10, "a number above 0, under 10", rate)
        _require("optimizer.weight_decay", self.weight_decay >= 0, "0 or more", self.weight_decay)
        _require("optimizer.batch_size", self.batch_size >= 1, "1 or more", self.batch_size)


@dataclass(frozen=True, slots=True)
class TrainingKnobs:
    """How long, by what measure, in which arithmetic.

    Attributes:
        epochs: the most passes over the training slices.
        patience: epochs without a better validation value before the trial ends.
        monitor: what "better" and "best weights" mean: the validation ``loss`` (the paper's) or
            ``dice``.
        precision: ``bf16`` autocast, ``fp32``, or ``auto``: bf16 where the device has it.
    """

    epochs: int = 40
    patience: int = 15
    monitor: str = "loss"
    precision: str = "auto"

    def __post_init__(self) -> None:
        _require("training.epochs", self.epochs >= 1, "1 or more", self.epochs)
        _require("training.patience", self.patience >= 1, "1 or more", self.patience)
        _require("training.monitor", self.monitor in MONITORS, " or ".join(MONITORS), self.monitor)
        ok = self.precision in PRECISIONS
        _require("training.precision", ok, ", ".join(PRECISIONS), self.precision)


@dataclass(frozen=True, slots=True)
class Candidate:
    """One setting of every knob.

    Attributes:
        loss: an expression of ``gitract_core.losses``, for example ``bce + 0.5*dice``.
        network, input, augmentation, optimizer, training: groups of knobs.
    """

    loss: str = "bce + 0.5*dice"
    network: NetworkKnobs = field(default_factory=NetworkKnobs)
    input: InputKnobs = field(default_factory=InputKnobs)
    augmentation: AugmentationKnobs = field(default_factory=AugmentationKnobs)
    optimizer: OptimizerKnobs = field(default_factory=OptimizerKnobs)
    training: TrainingKnobs = field(default_factory=TrainingKnobs)

    def __post_init__(self) -> None:
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
        flat: dict[str, str | int | float] = {}
        for item in fields(self):
            value = getattr(self, item.name)
            if dataclasses.is_dataclass(value):
                inner = fields(value)
                flat.update({f"{item.name}.{f.name}": getattr(value, f.name) for f in inner})
            else:
                flat[item.name] = value
        return flat

    @property
    def key(self) -> str:
        """Hash of all knobs, 16 hexadecimal digits."""
        return digest(self.knobs())


@dataclass(frozen=True, slots=True)
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

    @property
    def key(self) -> str:
        """Hash that names the trial everywhere, 16 hexadecimal digits."""
        return digest(self.to_json())

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; the inverse of ``from_json``."""
        return {
            "candidate": self.candidate.knobs(),
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


def digest(value: object) -> str:
    """Hash of plain JSON values that does not depend on the order of keys."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:KEY_LENGTH]


def knob_defaults() -> dict[str, str | int | float]:
    """Every knob's dotted name and default value."""
    return Candidate().knobs()


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
