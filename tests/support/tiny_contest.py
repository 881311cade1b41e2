"""A contest folder small enough for unit tests, made without any of the project's own code."""

from __future__ import annotations

import csv
from pathlib import Path

import cv2
import numpy as np

Scan = tuple[int, int, int, int, int]
SCANS: tuple[Scan, ...] = (  # case, day, height, width, slices
    (1, 0, 40, 48, 6),
    (1, 3, 40, 48, 5),
    (7, 0, 36, 36, 6),
    (12, 2, 40, 40, 6),
    (20, 1, 36, 36, 6),
)
CLASSES = ("large_bowel", "small_bowel", "stomach")


def write_tiny_contest(root: Path, more: tuple[Scan, ...] = ()) -> Path:
    """Bright discs in noise: slices 2 to 4 hold organs, the second and third overlap."""
    rows: list[tuple[str, str, str]] = []
    for case, day, height, width, slices in (*SCANS, *more):
        folder = root / "train" / f"case{case}" / f"case{case}_day{day}" / "scans"
        folder.mkdir(parents=True)
        random = np.random.default_rng(1000 * case + day)
        for number in range(1, slices + 1):
            image = random.integers(0, 200, (height, width))
            for channel, name in enumerate(CLASSES):
                mask = disc(height, width, channel) if 2 <= number <= 4 else None
                if mask is not None:
                    image[mask] += 500 * (channel + 1)
                key = f"case{case}_day{day}_slice_{number:04d}"
                rows.append((key, name, "" if mask is None else slow_encode(mask)))
            file = folder / f"slice_{number:04d}_{width}_{height}_1.50_1.50.png"
            assert cv2.imwrite(str(file), image.astype(np.uint16))
    with (root / "train.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("id", "class", "segmentation"), *rows])
    return root


def disc(height: int, width: int, channel: int) -> np.ndarray:
    """A disc; channel 0 on the left, 1 and 2 overlapping on the right."""
    y, x = np.mgrid[:height, :width]
    center = (0.3, 0.62, 0.75)[channel] * width
    return np.hypot(y - 0.5 * height, x - center) < 0.17 * width


def slow_encode(mask: np.ndarray) -> str:
    """Row-major, 1-based run lengths, pixel by pixel."""
    text: list[int] = []
    before = False
    for place, pixel in enumerate(mask.ravel().tolist(), 1):
        if pixel and not before:
            text += [place, 0]
        if pixel:
            text[-1] += 1
        before = pixel
    return " ".join(map(str, text))
