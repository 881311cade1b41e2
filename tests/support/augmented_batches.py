"""Batches of images and masks, and augmentations drawn for them."""

from __future__ import annotations

import numpy as np
import torch
from scipy.ndimage import gaussian_filter

from gitract_core.augment import draw
from gitract_core.knobs import AugmentationKnobs

SIZE = 48


def batch(slices=6, channels=1, dtype=torch.uint8):
    """Smooth images and one blob a class; the first class is the bright half of the image."""
    random = np.random.default_rng(0)
    noise = random.standard_normal((slices, 3, SIZE, SIZE))
    smooth = gaussian_filter(noise, (0, 0, 4, 4))
    masks = torch.tensor(smooth > 0).to(dtype)
    low, high = smooth.min(), smooth.max()
    images = torch.tensor((smooth[:, :1] - low) / (high - low)).float()
    return images.repeat(1, channels, 1, 1), masks


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def drawn(kinds, slices=6, seed=0, **strengths):
    knobs = AugmentationKnobs(kinds=kinds, **{"probability": 1.0, **strengths})
    return draw(knobs, slices, SIZE, seeded(seed))
