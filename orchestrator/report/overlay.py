"""A gray slice with organ masks drawn over it."""

from __future__ import annotations

import cv2
import numpy as np
from matplotlib.colors import to_rgb

from gitract_core.errors import DataError
from gitract_core.organs import Organs


def overlay(
    image: np.ndarray, masks: np.ndarray, organs: Organs, *, fill: float = 0.35, scale: int = 2
) -> np.ndarray:
    """A slice in gray with each organ's area tinted and its outline drawn.

    Args:
        image: uint8 (height, width).
        masks: boolean (organs, height, width); where organs overlap, tints mix.
        organs: in the order of the masks; each has its color in every picture.
        fill: share of color inside an organ, 0 (outlines only) to 1.
        scale: whole factor of enlargement, so that outlines stay thin.

    Returns:
        uint8 (height * scale, width * scale, 3), RGB.

    Raises:
        DataError: shapes do not belong together.
    """
    if image.ndim != 2 or masks.shape != (len(organs), *image.shape):
        expected = f"masks ({len(organs)}, height, width) of the image's size"
        raise DataError("overlay", expected, (image.shape, masks.shape), "pass a slice's own masks")
    height, width = (side * scale for side in image.shape)
    gray = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
    picture = np.repeat(gray[:, :, None], 3, axis=2).astype(np.float32)  # (height, width, 3)
    colors = [tuple(round(255 * part) for part in to_rgb(c)) for c in organs.colors.values()]
    large = [
        (_enlarged(mask, width, height), color)
        for mask, color in zip(masks, colors, strict=True)
        if mask.any()
    ]
    for mask, color in large:
        inside = mask > 0
        picture[inside] = (1 - fill) * picture[inside] + fill * np.array(color, np.float32)
    drawn = np.ascontiguousarray(picture.round().astype(np.uint8))
    for mask, color in large:
        outlines, _ = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(drawn, outlines, -1, color, 1)
    return drawn


def _enlarged(mask: np.ndarray, width: int, height: int) -> np.ndarray:
    return cv2.resize(mask.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST)


def png_bytes(picture: np.ndarray) -> bytes:
    """An RGB picture, uint8 (height, width, 3), as the bytes of a PNG file."""
    done, content = cv2.imencode(".png", np.ascontiguousarray(picture[:, :, ::-1]))
    if not done:
        raise DataError("picture", "pixels that PNG can hold", picture.shape, "check the slice")
    return bytes(content)
