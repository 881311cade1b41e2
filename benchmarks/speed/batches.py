"""Claim: batches from the cache come 20 times as fast as from a DataLoader over the PNG files.

Batches of 16 slices at 128 x 128 with three masks: ``DeviceSlices.batch_images`` and
``batch_masks`` over the memory-mapped cache, in one process, against torch's ``DataLoader`` with
two workers that decode, resize and read run-length text. The claim is on two cores.

    python -m benchmarks.speed.batches --out benchmarks/results/batches.md

Before timing every image and mask of both is compared. The workers are started before their epoch
is timed (``persistent_workers``), and every file is in the page cache by then.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from benchmarks.measuring import at_least, machine, medians, parser, publish, table
from gitract_core.data import rle
from gitract_core.data.cache import SliceCache, build_cache
from gitract_core.data.images import read_image, resize_image, resize_mask
from gitract_core.data.slices import SliceIndex
from gitract_core.knobs import InputKnobs
from gitract_core.organs import CONTEST
from gitract_core.phantom import write_phantom
from gitract_core.prediction.device_slices import DeviceSlices, slices_on
from gitract_core.prediction.inference import batches

SIZE, BATCH, WORKERS, TARGET = 128, 16, 2, 20
KNOBS = InputKnobs(size=SIZE)


class Files(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """The usual data set: an image file and three texts a slice, decoded when asked for."""

    def __init__(self, index: SliceIndex) -> None:
        columns = ["path", "height", "width", *CONTEST]
        self.root, self.rows = index.root, index.table[columns].to_numpy().tolist()

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, place: int) -> tuple[torch.Tensor, torch.Tensor]:
        path, height, width, *texts = self.rows[place]
        image = resize_image(read_image(self.root / path, height, width), SIZE)
        masks = [resize_mask(rle.decode(text, height, width), SIZE) for text in texts]
        gray = torch.from_numpy(image.astype(np.float32))
        return gray.expand(KNOBS.planes, -1, -1), torch.from_numpy(np.stack(masks)).float()


def from_cache(slices: DeviceSlices, order: torch.Tensor) -> Iterator[tuple[torch.Tensor, ...]]:
    for span in batches(len(order), BATCH):
        yield slices.batch_images(order[span], KNOBS), slices.batch_masks(order[span])


def loader(index: SliceIndex) -> DataLoader[tuple[torch.Tensor, torch.Tensor]]:
    return DataLoader(
        Files(index), BATCH, shuffle=True, num_workers=WORKERS, persistent_workers=True
    )


def check(slices: DeviceSlices, index: SliceIndex) -> None:
    """Masks are equal, images but for the scale of their scan and rounding to bytes."""
    files, scans = Files(index), index.table["scan"].to_numpy()
    for scan in index.scans:
        rows = torch.from_numpy(np.flatnonzero(scans == scan))
        pairs = [files[int(row)] for row in rows]
        images = torch.stack([image for image, _ in pairs])
        cached = slices.batch_images(rows, KNOBS)
        seen = (cached > 0.2) & (cached < 1)
        ratio = images[seen] / cached[seen]
        assert (ratio / ratio.median() - 1).abs().max() < 0.05, scan
        assert torch.equal(torch.stack([m for _, m in pairs]), slices.batch_masks(rows)), scan


def measure(cache: SliceCache, rounds: int) -> tuple[dict[str, float], int]:
    """Median seconds an epoch of each."""
    index = cache.index
    slices = slices_on(cache, torch.device("cpu"))
    check(slices, index)
    order = torch.randperm(len(index.table), generator=torch.Generator().manual_seed(0))
    files = loader(index)

    def count(source: object) -> None:
        seen = sum(len(images) for images, _ in source)  # type: ignore[attr-defined]
        assert seen == len(order)

    runs = {"cache": lambda: count(from_cache(slices, order)), "DataLoader": lambda: count(files)}
    return medians(runs, rounds), len(order)


def main() -> None:
    reader = parser(__doc__, rounds=3, threads=1)
    reader.add_argument("--data", type=Path, help="a phantom; by default one of 3 cases is made")
    options = reader.parse_args()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["GITRACT_CACHE"] = f"{folder}/cache"
        if not options.data:
            write_phantom(f"{folder}/data", cases=3, workers=2)
        index = SliceIndex.from_directory(options.data or Path(folder) / "data")
        found, slices = measure(build_cache(index, SIZE), options.rounds)
    rows = [[name, f"{slices / s:,.0f}", f"{s:.3f}"] for name, s in found.items()]
    intro = (
        f"{slices:,} slices of a phantom in random order, batches of {BATCH} at {SIZE}x{SIZE} with "
        f"three masks; DataLoader with {WORKERS} workers, the cache in one process with "
        f"torch.set_num_threads({options.threads}); medians of {options.rounds} turns."
    )
    ratio = found["DataLoader"] / found["cache"]
    verdict = at_least("cache against DataLoader", ratio, TARGET)
    parts = [intro, table(["batches from", "slices/s", "seconds an epoch"], rows), verdict]
    publish("Batches", [*parts, machine("torch", "opencv-python-headless")], options.out)


if __name__ == "__main__":
    main()
