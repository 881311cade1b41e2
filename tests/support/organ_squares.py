"""A small data set in the contest's layout with organs of any names, some of them unknown."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np

from tests.support.tiny_contest import slow_encode

SCANS = ((1, 0), (1, 3), (2, 0), (11, 2), (30, 1), (31, 0))  # case, day
SIDE, SLICES = 32, 4
ScanOrgan = tuple[str, str]


def organ_names(count: int) -> tuple[str, ...]:
    """Names that are not in the order of the alphabet: ``organ_40``, ``organ_39``, ..."""
    return tuple(f"organ_{number}" for number in range(count, 0, -1))


def organ_mask(place: int, count: int) -> np.ndarray:
    """A square of an organ, boolean (height, width); neighbors overlap."""
    mask = np.zeros((SIDE, SIDE), bool)
    corner = 1 + round(place * (SIDE - 12) / max(count - 1, 1))
    mask[corner : corner + 10, corner : corner + 10] = True
    return mask


def write_organ_squares(
    root: Path,
    names: Sequence[str],
    *,
    unknown: Callable[[str, str], bool] | None = None,
    hidden_masks: bool = True,
) -> Path:
    """Write the data set; every organ is drawn in slices 2 and 3 of each scan.

    Args:
        root: a new folder.
        names: of the organs, in order.
        unknown: told scan and organ, whether the annotation is not known; without it there is no
            column ``state``.
        hidden_masks: what rows that are not known hold: the mask, or a mask of one pixel.
    """
    rows = [("id", "class", "segmentation", *(["state"] if unknown else []))]
    for case, day in SCANS:
        scan = f"case{case}_day{day}"
        folder = root / "train" / f"case{case}" / scan / "scans"
        folder.mkdir(parents=True)
        random = np.random.default_rng(1000 * case + day)
        for number in range(1, SLICES + 1):
            image = random.integers(0, 200, (SIDE, SIDE))
            for place, name in enumerate(names):
                there = organ_mask(place, len(names)) & (number in (2, 3))
                image[there] += 100 * (1 + place % 9)
                hides = unknown is not None and unknown(scan, name)
                text = "1 1" if hides and not hidden_masks else slow_encode(there)
                state = [] if unknown is None else ["unknown" if hides else ""]
                rows.append((f"{scan}_slice_{number:04d}", name, text, *state))
            file = folder / f"slice_{number:04d}_{SIDE}_{SIDE}_1.50_1.50.png"
            assert cv2.imwrite(str(file), image.astype(np.uint16))
    with (root / "train.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return root
