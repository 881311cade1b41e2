"""The cache: every slice at network size, as bytes, in two files that all trials of a node map.

``images.npy`` is uint8 (slices, size, size); ``masks.npy`` is uint8 (slices, size, size) with bit
``c`` set where organ ``c`` of ``ORGANS`` is. Rows are in the order of the slice index, a copy of
which lies beside them. The directory's name holds the content hash of the data, so that another
data set, or a changed one, never meets an old cache.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
import pandas as pd

from gitract_core.data.images import read_image, resize_image, resize_mask, scan_to_bytes
from gitract_core.data.slices import SliceIndex
from gitract_core.data.volumes import drawn_masks, scan_size
from gitract_core.errors import DataError, RunError
from gitract_core.files.atomic import written_once
from gitract_core.processors import usable_processors
from gitract_core.progress import Progress, silent

_FORMAT = 1  # raise it when what the files mean changes


@dataclass(frozen=True)
class SliceCache:
    """An open cache.

    Attributes:
        directory: where its files lie.
        root: folder of the data set, for reading native images.
        size: side of images and masks, pixels.
    """

    directory: Path
    root: Path
    size: int

    @cached_property
    def images(self) -> np.ndarray:
        """uint8 (slices, size, size), memory-mapped read only."""
        return _mapped(self.directory / "images.npy", self.size)

    @cached_property
    def masks(self) -> np.ndarray:
        """uint8 (slices, size, size), one bit an organ, memory-mapped read only."""
        return _mapped(self.directory / "masks.npy", self.size)

    @cached_property
    def index(self) -> SliceIndex:
        """The slice index the rows belong to."""
        return SliceIndex(self.root, pd.read_parquet(self.directory / "index.parquet"))

    @cached_property
    def scan_ends(self) -> tuple[np.ndarray, np.ndarray]:
        """For each slice the rows of its scan's first and last slice, int64 (slices,)."""
        rows = self.index.table["scan"].reset_index(drop=True)
        places = rows.index.to_series().groupby(rows)
        first, last = (np.array(places.transform(end), np.int64) for end in ("min", "max"))
        return first, last


def cache_root() -> Path:
    """Where caches live: ``GITRACT_CACHE``, or the user's own cache folder."""
    named = os.environ.get("GITRACT_CACHE")
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(named) if named else Path(home) / "gitract-cv"


def cache_directory(fingerprint: str, size: int, root: Path | None = None) -> Path:
    """The directory of a data set's cache at one size."""
    return (root or cache_root()) / f"{fingerprint}-{size}-{_FORMAT}"


class CacheSource(Protocol):
    """A machine that has a cache, for those that have neither a cache nor the data."""

    def fetch(self, name: str, part: Path) -> None:
        """Write the files of the cache directory called ``name`` into the directory ``part``."""


def open_cache(
    data: Path,
    fingerprint: str,
    size: int,
    *,
    exclude: tuple[str, ...] = (),
    source: CacheSource | None = None,
) -> SliceCache:
    """Open the cache of a data set by its fingerprint; build it if this machine has none.

    Where the folder is not to be seen, the cache is fetched from a source, once for all trials of
    this machine.

    Args:
        data: the contest folder, read only if there is no cache yet.
        fingerprint: content hash that the data set must have.
        size: side in pixels.
        exclude: scans left out of the index.
        source: gives the cache if the folder is missing.

    Raises:
        DataError: there is no cache and no source, and the folder is missing, faulty or another
            data set.
    """
    directory = cache_directory(fingerprint, size)
    if directory.is_dir():
        return SliceCache(directory, data, size)
    if source and not data.is_dir():
        fetch = source.fetch
        written_once(directory, lambda part: fetch(directory.name, part))
        return SliceCache(directory, data, size)
    index = SliceIndex.from_directory(data).without(exclude)
    if index.fingerprint != fingerprint:
        expected, got = f"the data set {fingerprint}", index.fingerprint
        raise DataError(data, expected, got, "point every node to the same data set")
    return build_cache(index, size)


def build_cache(
    index: SliceIndex, size: int, *, workers: int | None = None, progress: Progress = silent
) -> SliceCache:
    """The cache of an index: built once, by threads, and complete or not there.

    Args:
        index: annotated slices.
        size: side in pixels.
        workers: threads; by default one a core.
        progress: called with (slices done, all slices) after each scan.

    Raises:
        DataError: an image or mask cannot be read; nothing is left behind.
    """
    directory = cache_directory(index.fingerprint, size)
    written_once(directory, lambda part: _fill(part, index, size, (workers, progress)))
    return SliceCache(directory, index.root, size)


def _fill(part: Path, index: SliceIndex, size: int, run: tuple[int | None, Progress]) -> None:
    workers, progress = run
    shape = (len(index.table), size, size)
    images = _new(part / "images.npy", shape)
    masks = _new(part / "masks.npy", shape)
    done = 0
    with ThreadPoolExecutor(workers or usable_processors()) as pool:  # OpenCV lets go of the lock

        def one(scan: str) -> int:
            rows = index.rows_of_scan(scan)
            span = slice(int(rows.index[0]), int(rows.index[-1]) + 1)
            images[span] = scan_images(index.root, rows, size)
            masks[span] = mask_bits(rows, size) if index.annotated else 0
            return len(rows)

        try:
            for count in pool.map(one, index.scans):
                done += count
                progress(done, shape[0])
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    images.flush()
    masks.flush()
    index.table.to_parquet(part / "index.parquet")


def scan_images(root: Path, rows: pd.DataFrame, size: int) -> np.ndarray:
    """One scan as networks see it: uint8 (slices, size, size), scaled as a whole."""
    return network_images(native_images(root, rows), size)


def native_images(root: Path, rows: pd.DataFrame) -> Iterator[np.ndarray]:
    """The slices of one scan as they were taken: uint16 (height, width) each."""
    height, width = scan_size(rows)
    return (read_image(root / path, height, width) for path in rows["path"])


def network_images(native: Iterable[np.ndarray], size: int) -> np.ndarray:
    """Slices of one scan as networks see them: uint8 (slices, size, size), scaled as a whole."""
    return scan_to_bytes(np.stack([resize_image(image, size) for image in native]))


def mask_bits(rows: pd.DataFrame, size: int) -> np.ndarray:
    """One scan's masks at network size: uint8 (slices, size, size), one bit an organ."""
    bits = np.zeros((len(rows), size, size), dtype=np.uint8)
    for channel, place, mask in drawn_masks(rows):
        bits[place] |= resize_mask(mask, size).view(np.uint8) << channel
    return bits


def _new(path: Path, shape: tuple[int, ...]) -> np.memmap:
    return np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)


def _mapped(path: Path, size: int) -> np.ndarray:
    try:
        # "c": what a careless caller writes stays in memory; torch wants a writable array
        array = np.load(path, mmap_mode="c", allow_pickle=False)
    except (OSError, ValueError) as error:
        remedy = f"remove {path.parent} and run again"
        raise RunError(path, "a cache file", error, remedy) from None
    if array.ndim != 3 or array.shape[1:] != (size, size) or array.dtype != np.uint8:
        got = f"{array.dtype} {array.shape}"
        remedy = f"remove {path.parent} and run again"
        raise RunError(path, f"uint8 (slices, {size}, {size})", got, remedy)
    return np.asarray(array)
