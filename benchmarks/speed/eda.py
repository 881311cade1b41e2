"""Claim: counts and overlaps of 38,496 slices take a tenth of the time of decoding the masks.

A table of the contest's size (tables 1 to 4 of the paper as counts, random blobs of some 30 to 60
runs as masks) is analyzed by ``gitract_core.eda.explore`` and by decoding every mask. The reference
decodes with this project's own ``rle.decode`` and counts combinations of organs with one
``bincount`` a slice. Both must give the same areas.

    python -m benchmarks.speed.eda --rounds 3 [--data DIR]

With ``--data`` the masks of a contest folder are used, and reading it is timed as well.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from gitract_core.data import rle
from gitract_core.data.slices import SliceIndex
from gitract_core.eda import Annotations, Coverage, explore
from gitract_core.organs import CONTEST

ORGANS = CONTEST.names
N_COMBINATIONS = 2 ** len(ORGANS)
EXACT = (21_906, 123, 59, 7_781, 2_286, 2_980, 160, 3_201)  # slices by combination of organs
SIZES, SIZE_SHARES = ((266, 266), (310, 360)), (0.7, 0.3)
SCANS, SLICES = 274, 144


def blob(random: np.random.Generator, height: int, width: int) -> str:
    """A text of a round organ with a wavy border, of about the real number of runs."""
    y, x = np.mgrid[:height, :width]
    center = random.uniform(0.35, 0.65, 2) * (height, width)
    dy, dx = y - center[0], x - center[1]
    waves = 1 + 0.2 * np.sin(random.integers(3, 9) * np.arctan2(dy, dx) + random.uniform(0, 6))
    return rle.encode(np.hypot(dy, dx) < random.uniform(12, 30) * waves)


def random_annotations(seed: int = 0) -> Annotations:
    """38,496 slices; each text is one of some hundred of its size."""
    random = np.random.default_rng(seed)
    texts = {size: [blob(random, *size) for _ in range(150)] for size in SIZES}
    codes = random.permutation(np.repeat(np.arange(N_COMBINATIONS), EXACT))
    places = np.arange(len(codes))
    table = pd.DataFrame({"case": places // SLICES, "slice": places % SLICES + 1}).assign(day=0)
    table["scan"] = "case" + table["case"].astype(str) + "_day0"
    table["id"] = table["scan"] + [f"_slice_{n:04d}" for n in table["slice"]]
    chosen = random.choice(2, SCANS, p=SIZE_SHARES)[table["case"] % SCANS]
    table["height"], table["width"] = np.array(SIZES)[chosen].T
    picks = random.integers(0, 150, (len(codes), len(ORGANS)))
    for channel, organ in enumerate(ORGANS):
        table[organ] = [
            texts[SIZES[size]][pick] if code >> channel & 1 else ""
            for code, size, pick in zip(codes, chosen, picks[:, channel], strict=True)
        ]
    return Annotations(table)


def decode_everything(annotations: Annotations) -> np.ndarray:
    """Pixels of each combination in each slice, by decoding; int64 (slices, 8)."""
    areas = np.empty((len(annotations), N_COMBINATIONS), np.int64)
    columns = [annotations.table[c].tolist() for c in ("height", "width", *ORGANS)]
    for row, (height, width, *texts) in enumerate(zip(*columns, strict=True)):
        masks = [rle.decode(text, height, width).view(np.uint8) for text in texts]
        codes = masks[0] | masks[1] << 1 | masks[2] << 2
        areas[row] = np.bincount(codes.ravel(), minlength=N_COMBINATIONS)
    return areas


def equal_areas(covered: Coverage, decoded: np.ndarray) -> bool:
    """Whether the areas of all organs and groups of organs are those of the decoded masks."""
    for group in range(1, N_COMBINATIONS):
        columns = [c for c in range(N_COMBINATIONS) if c & group == group]
        organs = [organ for place, organ in enumerate(ORGANS) if group >> place & 1]
        if not np.array_equal(covered.shared_px(organs), decoded[:, columns].sum(axis=1)):
            return False
    return True


def timed(runs: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median seconds; all take turns."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--data", type=Path)
    options = parser.parse_args()
    if options.data:
        annotations = Annotations.of_index(SliceIndex.from_directory(options.data))
    else:
        annotations = random_annotations()
    texts = [text for organ in ORGANS for text in annotations.table[organ] if text]
    n_runs = sum(text.count(" ") // 2 + 1 for text in texts)
    print(
        f"{len(annotations):,} slices, {len(texts):,} masks, {n_runs / len(texts):.0f} runs a mask"
    )
    same = equal_areas(Coverage.of(annotations), decode_everything(annotations))
    print(f"equal areas of all groups of organs in all slices: {same}\n")
    runs: dict[str, Callable[[], object]] = {
        "areas from run lengths": lambda: Coverage.of(annotations),
        "areas by decoding every mask": lambda: decode_everything(annotations),
        "all tables and figures' numbers": lambda: explore(annotations),
    }
    if options.data:
        runs["reading the folder"] = lambda: SliceIndex.from_directory(options.data)
    found = timed(runs, options.rounds)
    print("| what | seconds |\n|---|---:|")
    for name, value in found.items():
        print(f"| {name} | {value:.2f} |")
    ratio = found["areas by decoding every mask"] / found["areas from run lengths"]
    print(f"\ndecoding / run lengths: {ratio:.1f}")


if __name__ == "__main__":
    main()
