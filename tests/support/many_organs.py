"""A folder in the contest's layout with any organs, made without any of the project's own code."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from tests.support.tiny_contest import slow_encode


def organ_names(count: int) -> tuple[str, ...]:
    """Names of the kind that data sets of many organs have.

    >>> organ_names(3)
    ('vertebra_01', 'vertebra_02', 'vertebra_03')
    """
    return tuple(f"vertebra_{number:02d}" for number in range(1, count + 1))


def write_many_organs(
    path: Path,
    names: Sequence[str],
    *,
    cases: int = 4,
    size: int = 24,
    slices: int = 4,
    unknown: Sequence[str] = (),
) -> Path:
    """Bright discs on a grid, each over its neighbor's border; the first slice of a scan is empty.

    Args:
        path: of the folder, which is made.
        names: of the organs, in the order of the rows of a slice.
        cases: patients, of one scan each.
        size: height and width of a slice.
        slices: of a scan.
        unknown: organs that nobody looked for in every second case.
    """
    header = ("id", "class", "segmentation", *(("state",) if unknown else ()))
    rows: list[tuple[str, ...]] = [header]
    for case in range(1, cases + 1):
        folder = path / "train" / f"case{case}" / f"case{case}_day0" / "scans"
        folder.mkdir(parents=True)
        random = np.random.default_rng(case)
        for number in range(1, slices + 1):
            image = random.integers(0, 200, (size, size))
            for place, name in enumerate(names):
                mask = organ_disc(size, place, len(names))
                if number > 1:
                    image[mask] += 300 + 40 * place
                hidden = name in unknown and case % 2 == 0
                text = slow_encode(mask) if number > 1 and not hidden else ""
                state = ("unknown" if hidden else "",) if unknown else ()
                rows.append((f"case{case}_day0_slice_{number:04d}", name, text, *state))
            file = folder / f"slice_{number:04d}_{size}_{size}_1.50_1.50.png"
            assert cv2.imwrite(str(file), image.astype(np.uint16))
    with (path / "train.csv").open("w", newline="") as table:
        csv.writer(table).writerows(rows)
    return path


def organ_disc(size: int, place: int, count: int) -> np.ndarray:
    """One of so many discs on a grid, boolean (size, size)."""
    columns = math.isqrt(count - 1) + 1
    step = size / columns
    y, x = np.mgrid[:size, :size] + 0.5
    center_y, center_x = (place // columns + 0.5) * step, (place % columns + 0.5) * step
    disc: np.ndarray = np.hypot(y - center_y, x - center_x) < 0.58 * step
    return disc
