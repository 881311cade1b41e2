"""Draw what happens to a batch, then make it happen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from gitract_core.augment.blur import Blur, draw_blur
from gitract_core.augment.flip import Flip, draw_flip
from gitract_core.augment.intensity import Intensity, draw_intensity
from gitract_core.augment.noise import Noise, draw_noise
from gitract_core.augment.warp import Warp, draw_warp
from gitract_core.errors import DataError

if TYPE_CHECKING:
    from gitract_core.knobs import AugmentationKnobs


@dataclass(frozen=True, slots=True)
class AugmentationParameters:
    """Everything random about the augmentation of one batch; a kind that no slice gets is None.

    Attributes:
        batch: number of slices it was drawn for.
        flip, warp, intensity, blur, noise: what each kind does, and to which slices.
    """

    batch: int
    flip: Flip | None = None
    warp: Warp | None = None
    intensity: Intensity | None = None
    blur: Blur | None = None
    noise: Noise | None = None


def draw(
    knobs: AugmentationKnobs, batch: int, size: int, generator: torch.Generator
) -> AugmentationParameters:
    """Draw the augmentation of a batch; equal generator states give equal parameters.

    A kind of zero strength is drawn for no slice, so it changes nothing, to the bit.

    Args:
        knobs: kinds, probability and strengths.
        batch: number of slices.
        size: side of the images, pixels.
        generator: a CPU generator; it is advanced.
    """
    kinds = knobs.names()

    def chosen(kind: str, strength: float = 1.0) -> Tensor:
        """Indices of the slices that get a kind; (rows,), int64."""
        if kind not in kinds or strength == 0:
            return torch.empty(0, dtype=torch.int64)
        return torch.nonzero(torch.rand(batch, generator=generator) < knobs.probability).flatten()

    elastic, affine = chosen("elastic", knobs.elastic_displacement), chosen("affine")
    return AugmentationParameters(
        batch=batch,
        flip=draw_flip(chosen("flip")),
        warp=draw_warp(knobs, elastic, affine, size, generator),
        intensity=draw_intensity(chosen("intensity"), generator),
        blur=draw_blur(knobs, chosen("blur", knobs.blur_sigma), size, generator),
        noise=draw_noise(knobs, chosen("noise", knobs.noise_sd), generator),
    )


def apply(
    parameters: AugmentationParameters, images: Tensor, masks: Tensor
) -> tuple[Tensor, Tensor]:
    """Augment a batch as drawn; the inputs are left as they are.

    Nothing here waits for the device: sizes are known from the parameters, which are on the host.

    Args:
        parameters: from ``draw``, for this batch size and image side.
        images: (batch, channels, height, width), float32, 0 to 1. Channels that are one gray slice
            under ``expand`` are augmented once and expanded again.
        masks: (batch, classes, height, width), any dtype, 0 or 1; may be empty.

    Returns:
        Images in 0..1 and masks of exactly 0 or 1, in their dtypes.

    Raises:
        DataError: a batch of another size than the parameters were drawn for; images that are not
            square, or masks of another size.
    """
    if not parameters.batch == len(images) == len(masks):
        raise DataError(
            "augmentation",
            f"a batch of {parameters.batch} images and masks",
            f"{len(images)} and {len(masks)}",
            "draw parameters for each batch",
        )
    if not images.shape[-2:] == masks.shape[-2:] == images.shape[:1:-1]:
        raise DataError(
            "augmentation",
            "square images and masks of one size",
            f"{tuple(images.shape[-2:])} and {tuple(masks.shape[-2:])}",
            "resize slices to input.size first",
        )
    channels = images.shape[1]
    gray = channels > 1 and images.stride(1) == 0  # one slice shown as several channels
    if gray:
        images = images[:, :1]
    for bend in (parameters.flip, parameters.warp):
        if bend is not None:
            images, masks = bend.apply(images, masks)
    for tint in (parameters.intensity, parameters.blur, parameters.noise):
        if tint is not None:
            images = tint.apply(images)
    return (images.expand(-1, channels, -1, -1) if gray else images), masks
