"""Figure 8: one slice, and a grid drawn into it, after each kind of augmentation.

The last column applies all parameters of one draw, the others one kind each. Elastic distortion and
affine map are drawn as in training; noise and blur, whose strength is drawn from zero up, are shown
at their strongest.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gitract_core import augment
from gitract_core.augment import AugmentationParameters
from gitract_core.augment.blur import gaussian_kernels
from gitract_core.data.cache import mask_bits, organs_in_bits, scan_images
from gitract_core.data.slices import SliceIndex
from gitract_core.spec import Candidate
from gitract_core.view import View
from orchestrator.report.overlay import overlay
from orchestrator.report.run_slices import fullest_slice
from orchestrator.report.style import new_figure, picture_axes

PAPER_KINDS = ("elastic", "noise", "blur")
SIDE_PX = 256
GRID_LINES = 16
_SEED = 3


@dataclass(frozen=True)
class Augmented:
    """A slice as one kind of augmentation leaves it.

    Attributes:
        title: the kind and its strength.
        image: uint8 (side, side).
        gridded: uint8 (side, side), the slice with a regular grid drawn into it.
        masks: boolean (organs, side, side), bent as the image.
    """

    title: str
    image: np.ndarray
    gridded: np.ndarray
    masks: np.ndarray


def draw_augmentation(index: SliceIndex, candidate: Candidate, used: set[str]) -> Figure:
    """Figure 8 of a run.

    Args:
        index: the run's slices.
        candidate: whose strengths are shown.
        used: kinds that any candidate of the run uses, shown beside the paper's three.

    Raises:
        DataError: an image of the slice's scan is missing or damaged.
    """
    scan, place = fullest_slice(index)
    rows = index.rows_of_scan(scan)
    side = max(SIDE_PX, candidate.input.size)
    view = View(side, candidate.input.spacing_mm * candidate.input.size / side)
    image = scan_images(index.root, rows, view)[place]
    bits = mask_bits(rows.iloc[[place]], view, organs=index.organs)
    masks = organs_in_bits(bits, index.organs)[0]
    columns = augmented_slices(image, masks, candidate, used)
    figure, axes = new_figure(2, len(columns), width=2.3, height=2.45)
    for above, below, one in zip(axes, axes[len(columns) :], columns, strict=False):
        _show(above, overlay(one.image, one.masks, index.organs, scale=2, fill=0.25), one.title)
        _show(below, overlay(one.gridded, one.masks, index.organs, scale=2, fill=0.0))
    size = candidate.input.size
    figure.suptitle(
        f"Augmentation of {rows['id'].iloc[place]}, and of a grid drawn into it "
        f"(shown at {side} x {side} pixels; the network sees {size} x {size})",
        x=0.01,
        ha="left",
        fontsize=10,
    )
    return figure


def augmented_slices(
    image: np.ndarray, masks: np.ndarray, candidate: Candidate, used: set[str]
) -> list[Augmented]:
    """The slice as it was, after each kind alone, and after all of them together.

    Args:
        image: uint8 (side, side).
        masks: boolean (organs, side, side).
        candidate: whose strengths are shown; a kind of strength 0 is left out.
        used: further kinds than the paper's.
    """
    drawn = _strongest(_drawn(candidate, used, len(image)), candidate, len(image))
    return [
        Augmented(title, *_applied(parameters, image, masks))
        for title, parameters in _taken_apart(drawn, candidate)
    ]


def _drawn(candidate: Candidate, used: set[str], side: int) -> AugmentationParameters:
    kinds = [*PAPER_KINDS, *sorted(used - set(PAPER_KINDS))]
    knobs = dataclasses.replace(candidate.augmentation, kinds="+".join(kinds), probability=1.0)
    return augment.draw(knobs, 1, side, torch.Generator().manual_seed(_SEED))


def _strongest(
    drawn: AugmentationParameters, candidate: Candidate, side: int
) -> AugmentationParameters:
    knobs = candidate.augmentation
    noise, blur = drawn.noise, drawn.blur
    if noise is not None:
        strong = torch.full_like(noise.deviations, knobs.noise_sd)
        noise = dataclasses.replace(noise, deviations=strong)
    if blur is not None:
        sigma_px = torch.tensor([knobs.blur_sigma * side])
        kernels = gaussian_kernels(sigma_px, blur.kernels.shape[1] // 2)
        blur = dataclasses.replace(blur, kernels=kernels)
    return dataclasses.replace(drawn, noise=noise, blur=blur)


def _taken_apart(
    drawn: AugmentationParameters, candidate: Candidate
) -> list[tuple[str, AugmentationParameters]]:
    """Titles and parameters: no augmentation, each kind alone, all together."""
    knobs, warp = candidate.augmentation, drawn.warp
    parts: list[tuple[str, AugmentationParameters]] = []

    def add(title: str, **kind: object) -> None:
        if all(value is not None for value in kind.values()):
            parts.append((title, AugmentationParameters(1, **kind)))  # type: ignore[arg-type]

    add("original")
    add("flip", flip=drawn.flip)
    if warp is not None:
        straight = torch.eye(2, 3)[None]
        if bool(warp.heights.any()):
            elastic = dataclasses.replace(warp, maps=straight)
            add(f"elastic\nrms {100 * knobs.elastic_displacement:.1f} % of the side", warp=elastic)
        if not torch.equal(warp.maps, straight):
            flat = torch.zeros_like(warp.heights)
            add("affine\nrotation, scale, shift", warp=dataclasses.replace(warp, heights=flat))
    add("intensity\ngamma, contrast, bias field", intensity=drawn.intensity)
    add(f"noise\nsd {knobs.noise_sd:g} of the range", noise=drawn.noise)
    add(f"blur\nsigma {100 * knobs.blur_sigma:.1f} % of the side", blur=drawn.blur)
    if len(parts) > 2:
        parts.append(("all together", drawn))
    return parts


def _applied(
    parameters: AugmentationParameters, image: np.ndarray, masks: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Image, image with grid, and masks after augmentation."""
    planes = torch.from_numpy(np.stack([image, with_grid(image)])).float() / 255
    truth = torch.from_numpy(masks.astype(np.uint8))[None]
    bent = truth
    pictures = []
    for plane in planes:  # one by one, as parameters are of one slice
        changed, bent = augment.apply(parameters, plane[None, None], truth)
        pictures.append((changed[0, 0] * 255).round().to(torch.uint8).numpy())
    return pictures[0], pictures[1], bent[0].numpy().astype(bool)


def with_grid(image: np.ndarray, lines: int = GRID_LINES) -> np.ndarray:
    """A copy of an image, uint8 (side, side), with a regular bright grid drawn into it."""
    drawn = image.copy()
    for number in range(lines):
        at = round((number + 0.5) * len(image) / lines)  # not on the border, which is repeated
        cv2.line(drawn, (at, 0), (at, len(image) - 1), 215, 1)
        cv2.line(drawn, (0, at), (len(image) - 1, at), 215, 1)
    return drawn


def _show(axes: Axes, picture: np.ndarray, title: str = "") -> None:
    picture_axes(axes).imshow(picture)
    axes.set_title(title, loc="left", fontsize=9)
