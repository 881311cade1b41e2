"""Claim: the cache is built on two cores 1.8 times as fast as one core decodes and resizes.

``build_cache`` with two threads (images, masks, index, files written to disk) against one pass of
``cv2.imread`` and ``cv2.resize`` over the same files on one core, without masks or files; what two
threads of that loop gain, with nothing else to do, says what the machine allows. And a second start
takes under a second: ``open_cache`` in a new process, until the first images, masks and the whole
index are at hand, not counting imports; for this cache and for one of 38,496 slices (its index is
made up from this one's rows, its arrays are empty files of the full length).

    python -m benchmarks.speed.cache --out benchmarks/results/cache.md

Before timing, the images of the cache are compared with the resized files, scan by scan.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from benchmarks.measuring import Run, at_least, at_most, machine, medians, parser, publish, table
from gitract_core.data.cache import SliceCache, build_cache, cache_directory
from gitract_core.data.gray import CURRENT_GRAY
from gitract_core.data.images import scan_to_bytes
from gitract_core.data.slices import SliceIndex
from gitract_core.files.atomic import write_json
from gitract_core.phantom import write_phantom

SIZE, FULL = 128, 38_496
SECOND_START = """
import sys, time
from pathlib import Path
import numpy, pandas
import pyarrow.parquet
from gitract_core.data.cache import open_cache
start = time.perf_counter()
cache = open_cache(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
assert len(cache.images) == len(cache.masks) == len(cache.index.table) == len(cache.scan_ends[0])
int(cache.images[0].sum()) + int(cache.masks[0].sum())
print(time.perf_counter() - start)
"""


def one_pass(index: SliceIndex, threads: int = 1) -> None:
    """Decode and resize every image, on one core or with a thread a core."""

    def small(path: str) -> None:
        image = cv2.imread(str(index.root / path), cv2.IMREAD_UNCHANGED)
        cv2.resize(image, (SIZE, SIZE), interpolation=cv2.INTER_AREA)

    paths = list(index.table["path"])
    if threads == 1:
        for path in paths:
            small(path)
        return
    shares = [paths[start::threads] for start in range(threads)]
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(lambda share: [small(path) for path in share], shares))


def build_anew(index: SliceIndex) -> SliceCache:
    shutil.rmtree(cache_directory(index.fingerprint, SIZE), ignore_errors=True)
    return build_cache(index, SIZE, workers=2)


def check(cache: SliceCache, index: SliceIndex) -> None:
    """The cache holds what ``cv2`` gives, scaled by scan."""
    for scan in index.scans:
        rows = index.rows_of_scan(scan)
        files = [cv2.imread(str(index.root / p), cv2.IMREAD_UNCHANGED) for p in rows["path"]]
        small = [cv2.resize(f, (SIZE, SIZE), interpolation=cv2.INTER_AREA) for f in files]
        assert np.array_equal(scan_to_bytes(np.stack(small)), cache.images[rows.index, 0]), scan


def full_cache(index: SliceIndex) -> str:
    """A made-up cache of the contest's size; its fingerprint."""
    copies = -(-FULL // len(index.table))
    tables = [index.table.assign(scan=index.table["scan"] + f"_{n}") for n in range(copies)]
    directory = cache_directory("full", SIZE)
    directory.mkdir(parents=True)
    full = replace(index, table=pd.concat(tables, ignore_index=True)[:FULL])
    full.table.to_parquet(directory / "index.parquet")
    full.scan_table.to_parquet(directory / "scans.parquet")
    np.save(directory / "states.npy", full.states)
    shape = {"format": 2, "height": SIZE, "width": SIZE, "channels": 1}
    known = {"organs": list(index.organs), "gray": CURRENT_GRAY, "annotated": True}
    write_json(directory / "meta.json", {**shape, **known})
    for name in ("images.npy", "masks.npy"):
        size = (FULL, 1, SIZE, SIZE)
        np.lib.format.open_memmap(directory / name, mode="w+", dtype=np.uint8, shape=size)
    return "full"


def processor_seconds(run: Run) -> float:
    """Processor time of one call, all threads together; busy neighbors hardly change it."""
    start = time.process_time()
    run()
    return time.process_time() - start


def second_start(root: Path, fingerprint: str) -> float:
    """Seconds that a new process reports."""
    command = [sys.executable, "-c", SECOND_START, str(root), fingerprint, str(SIZE)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout)


def measure(data: Path, rounds: int) -> list[str]:
    """The parts of the page."""
    index = SliceIndex.from_directory(data)
    slices = len(index.table)
    check(build_anew(index), index)
    runs = {
        "one": lambda: one_pass(index),
        "two": lambda: one_pass(index, threads=2),
        "build": lambda: build_anew(index),
    }
    found = medians(runs, rounds)
    work = {name: processor_seconds(run) for name, run in runs.items()}
    names = {f"this cache, {slices:,} slices": index.fingerprint}
    names[f"made up, {FULL:,} slices"] = full_cache(index)
    starts = {
        name: float(np.median([second_start(index.root, mark) for _ in range(rounds)]))
        for name, mark in names.items()
    }
    what = {
        "one": "cv2.imread and cv2.resize, one core",
        "two": "cv2.imread and cv2.resize, two threads",
        "build": "build_cache, two threads",
    }
    rows = [
        [words, *(f"{times[name] / slices * 1e3:.2f}" for times in (found, work))]
        for name, words in what.items()
    ]
    verdicts = [at_least("one core against build_cache", found["one"] / found["build"], 1.8)]
    verdicts.append(
        f"- one core against two threads of the same: {found['one'] / found['two']:.2f}"
    )
    verdicts += [at_most(f"second start, seconds, {name}", s, 1) for name, s in starts.items()]
    intro = (
        f"{slices:,} slices of a phantom to {SIZE}x{SIZE}, all files in the page cache, medians of "
        f"{rounds} turns."
    )
    return [intro, table(["what", "ms a slice", "processor ms a slice"], rows), "\n".join(verdicts)]


def main() -> None:
    reader = parser(__doc__, rounds=3)
    reader.add_argument("--data", type=Path, help="a phantom; by default one of 6 cases is made")
    options = reader.parse_args()
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["GITRACT_CACHE"] = f"{folder}/cache"
        if not options.data:
            write_phantom(f"{folder}/data", cases=6, workers=2)
        parts = measure(options.data or Path(folder) / "data", options.rounds)
    publish("Cache", [*parts, machine("opencv-python-headless", "numpy", "pandas")], options.out)


if __name__ == "__main__":
    main()
