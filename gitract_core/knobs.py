"""The knobs: frozen groups of settings that check themselves.

To add a knob, add a field to a group here and read it where it acts; search spaces, labels and
trial keys follow. Its default does what was done without the knob, and never changes: it is what
files without the knob mean, and at its default a knob leaves keys as they are.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NoReturn

from gitract_core.errors import SpaceError, suggestion
from gitract_core.view import View

PRECISIONS = ("auto", "bf16", "fp32")
MONITORS = ("loss", "dice")
KEEPS = ("held_out", "inner", "last")
SCHEDULES = ("constant", "cosine", "poly")
NO_PATIENCE = 15
"""The default of ``training.patience``: what files of a training without patience say."""
_WIDEST_MM = 2000  # no scanner's field is wider
_POLY_POWER = 0.9  # nnU-Net's (Isensee and others 2021, doi 10.1038/s41592-020-01008-z)
AUGMENTATION_KINDS = ("elastic", "noise", "blur", "affine", "flip", "intensity")


def require(knob: str, ok: bool, expected: str, got: object) -> None:
    """Raise a ``SpaceError`` that names the knob, unless ``ok``."""
    if not ok:
        raise SpaceError(f"knob {knob}", expected, repr(got), "change it in the search space")


def refuse_patience(got: object) -> NoReturn:
    """Raise the ``SpaceError`` of a patience beside ``training.keep: last``."""
    expected = "none, since training.keep is last: every epoch is trained"
    raise SpaceError("knob training.patience", expected, repr(got), "leave it out")


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
        require("network.depth", 1 <= self.depth <= 7, "1 to 7", self.depth)


@dataclass(frozen=True, slots=True)
class InputKnobs:
    """What the network sees.

    Attributes:
        size: side of the square input, pixels; a multiple of 2 to the power of the depth.
        channels: of a single slice: 1, or 3 with the gray slice repeated, as in the paper. Images
            of several channels, such as T1 and T2, are seen as they are; this then says nothing.
        context: slices seen at once, an input channel each: 1, or 3 or 5 with the slice to be
            segmented in the middle (2.5D; ``channels`` then says nothing). Beyond the first and
            last slice of a scan its outermost slice is repeated; never another scan's.
        stride: distance of those slices, 1 to 3.
        spacing_mm: side of a pixel of the input, 0.2 to 20 mm: the network sees a square of
            ``size * spacing_mm`` millimeters around the middle of the slice, and nothing beyond
            it. 0: it sees the whole slice, whatever its pixels measure.
    """

    size: int = 128
    channels: int = 3
    context: int = 1
    stride: int = 1
    spacing_mm: float = 0.0

    def __post_init__(self) -> None:
        require("input.size", 16 <= self.size <= 1024, "16 to 1024 pixels", self.size)
        require("input.channels", self.channels in (1, 3), "1 or 3", self.channels)
        require("input.context", self.context in (1, 3, 5), "1, 3 or 5 slices", self.context)
        require("input.stride", 1 <= self.stride <= 3, "1 to 3 slices", self.stride)
        spacing = self.spacing_mm
        ok = spacing == 0 or 0.2 <= spacing <= 20
        require("input.spacing_mm", ok, "0, or 0.2 to 20 mm", spacing)
        ok = self.size * spacing <= _WIDEST_MM
        most = f"at most {_WIDEST_MM} mm of input.size * input.spacing_mm"
        require("input.spacing_mm", ok, most, spacing)

    @property
    def view(self) -> View:
        """Size and spacing."""
        return View(self.size, self.spacing_mm)

    @property
    def planes(self) -> int:
        """Channels of the network's input for images of one channel."""
        return self.context if self.context > 1 else self.channels

    def planes_of(self, channels: int) -> int:
        """Channels of the network's input for images of so many channels.

        Several channels are seen as they are, those of every slice of the context.

        >>> InputKnobs().planes_of(1), InputKnobs().planes_of(2), InputKnobs(context=3).planes_of(2)
        (3, 2, 6)
        """
        return self.planes if channels == 1 else self.context * channels

    @property
    def offsets(self) -> tuple[int, ...]:
        """Where the slices of each channel lie, in slices from the one to be segmented.

        >>> InputKnobs(context=5, stride=2).offsets
        (-4, -2, 0, 2, 4)
        >>> InputKnobs(channels=3).offsets
        (0, 0, 0)
        """
        if self.context == 1:
            return (0,) * self.channels
        reach = self.context // 2
        return tuple(self.stride * step for step in range(-reach, reach + 1))


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
        require("augmentation.probability", 0 <= self.probability <= 1, "0 to 1", self.probability)
        for name in ("elastic_displacement", "elastic_smoothness", "noise_sd", "blur_sigma"):
            value = getattr(self, name)
            require(f"augmentation.{name}", 0 <= value <= 1, "0 to 1", value)

    def names(self) -> tuple[str, ...]:
        """The kinds as a tuple, empty for ``none``."""
        return () if self.kinds == "none" else tuple(k.strip() for k in self.kinds.split("+"))


@dataclass(frozen=True, slots=True)
class OptimizerKnobs:
    """How weights move.

    Attributes:
        name: ``adam`` or ``adamw``.
        learning_rate: step size at the start.
        schedule: ``constant``; ``cosine``, half a wave from the full rate to nearly zero in the
            last epoch; or ``poly``, nnU-Net's ``(1 - epoch / epochs) ** 0.9``.
        weight_decay: L2 penalty (adam) or decoupled decay (adamw).
        batch_size: slices a step.
    """

    name: str = "adam"
    learning_rate: float = 1e-3
    schedule: str = "constant"
    weight_decay: float = 0.0
    batch_size: int = 16

    def __post_init__(self) -> None:
        require("optimizer.name", self.name in ("adam", "adamw"), "adam or adamw", self.name)
        ok = self.schedule in SCHEDULES
        require("optimizer.schedule", ok, "constant, cosine or poly", self.schedule)
        rate = self.learning_rate
        require("optimizer.learning_rate", 0 < rate < 10, "a number above 0, under 10", rate)
        require("optimizer.weight_decay", self.weight_decay >= 0, "0 or more", self.weight_decay)
        ok = 1 <= self.batch_size <= 4096
        require("optimizer.batch_size", ok, "1 to 4096", self.batch_size)

    def rate(self, epoch: int, epochs: int) -> float:
        """Step size in an epoch, counted from 0, of so many.

        >>> [OptimizerKnobs(learning_rate=1.0, schedule="cosine").rate(e, 2) for e in (0, 1)]
        [1.0, 0.5]
        """
        rate = self.learning_rate
        if self.schedule == "cosine":
            rate *= 0.5 * (1 + round(math.cos(math.pi * epoch / epochs), 12))
        elif self.schedule == "poly":
            rate *= (1 - epoch / epochs) ** _POLY_POWER
        return rate


@dataclass(frozen=True, slots=True)
class TrainingKnobs:
    """How long, by what measure, in which arithmetic.

    Attributes:
        epochs: the most passes over the training slices.
        patience: epochs without a better validation value before the trial ends.
        monitor: what "better" and "best weights" mean: the validation ``loss`` (the paper's) or
            ``dice``.
        precision: ``bf16`` autocast, ``fp32``, or ``auto``: bf16 where the device has it.
        keep: whose cases choose the epoch that is kept. ``held_out``: the fold that is scored, as
            in the paper, which flatters the score; ``inner``: a fifth of the training cases, which
            decide epoch and patience and are not trained on; ``last``: nobody, the last epoch is
            kept, and there is no patience (a schedule that falls to zero belongs to it).
        ema: decay of an exponential moving average of the weights and buffers, one step a batch:
            the average is what is validated and kept. It remembers about ``1 / (1 - ema)`` steps,
            which should be far fewer than the training has. 0: no average.
    """

    epochs: int = 40
    patience: int = NO_PATIENCE
    monitor: str = "loss"
    precision: str = "auto"
    keep: str = "held_out"
    ema: float = 0.0

    def __post_init__(self) -> None:
        require("training.keep", self.keep in KEEPS, ", ".join(KEEPS), self.keep)
        require("training.ema", 0 <= self.ema < 1, "0, or a decay below 1", self.ema)
        if self.keep == "last" and self.patience != NO_PATIENCE:
            refuse_patience(self.patience)
        for name in ("epochs", "patience"):
            value = getattr(self, name)
            require(f"training.{name}", 1 <= value <= 100_000, "1 to 100000", value)
        require("training.monitor", self.monitor in MONITORS, " or ".join(MONITORS), self.monitor)
        ok = self.precision in PRECISIONS
        require("training.precision", ok, ", ".join(PRECISIONS), self.precision)

    @property
    def fewest_epochs(self) -> int:
        """How many epochs a training has at least."""
        return self.epochs if self.keep == "last" else min(self.epochs, self.patience + 1)


@dataclass(frozen=True, slots=True)
class PostprocessKnobs:
    """From probabilities to masks; as a knob, for every organ alike.

    Candidates that differ in nothing else share one training: the later ones reuse its weights.

    Attributes:
        threshold: probability from which a pixel belongs to an organ, above 0, under 1.
        z_sigma: Gaussian sigma along slices, in slices, by which probabilities are smoothed; 0
            leaves them as they are.
        fill_gaps: longest run of empty slices inside an organ that is filled by interpolation.
        smallest_mm3: connected parts smaller than this are dropped.
        parts: ``all``, or ``largest`` to keep an organ's largest connected part alone.
    """

    threshold: float = 0.5
    z_sigma: float = 0.0
    fill_gaps: int = 0
    smallest_mm3: float = 0.0
    parts: str = "all"

    def __post_init__(self) -> None:
        ok = 0 < self.threshold < 1
        require("postprocess.threshold", ok, "above 0, under 1", self.threshold)
        require("postprocess.z_sigma", 0 <= self.z_sigma <= 10, "0 to 10 slices", self.z_sigma)
        require("postprocess.fill_gaps", 0 <= self.fill_gaps <= 50, "0 to 50", self.fill_gaps)
        require("postprocess.smallest_mm3", self.smallest_mm3 >= 0, "0 or more", self.smallest_mm3)
        require("postprocess.parts", self.parts in ("all", "largest"), "all or largest", self.parts)
