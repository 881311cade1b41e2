"""The cache: every slice at network size, as bytes, in two files that all trials of a node map.

::

    meta.json       format, height, width, channels, organs, name of the gray scaling
    images.npy      uint8 (slices, channels, height, width); the contest has one channel
    masks.npy       uint8 (slices, planes, height, width): bit c % 8 of plane c // 8 is organ c
    states.npy      uint8 (slices, organs), see ``annotation``; zeros without annotations
    index.parquet   the rows of the slice index, with spacings and slice numbers
    scans.parquet   one row a scan: its patient and what more is known of it

Rows are in the order of the slice index. The directory's name holds the content hash of the data
and the number of this format, so that another data set, a changed one, or files of another meaning
are never met.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Literal, Protocol, TypedDict

import numpy as np
import pandas as pd

from gitract_core.data.annotation import State
from gitract_core.data.gray import CURRENT_GRAY, FIRST_GRAY, gray_scaling
from gitract_core.data.images import read_image, resize_image, resize_mask
from gitract_core.data.slices import SliceIndex
from gitract_core.data.volumes import drawn_masks, scan_size
from gitract_core.errors import DataError, RunError
from gitract_core.files.atomic import read_json, write_json, written_once
from gitract_core.organs import Organs
from gitract_core.processors import usable_processors
from gitract_core.progress import Progress, silent

_FORMAT = 2  # raise it when what the files mean changes
_ORGANS_A_PLANE = 8


class _Meta(TypedDict):
    """What ``meta.json`` holds."""

    format: Literal[2]
    height: int
    width: int
    channels: int
    organs: list[str]
    gray: str
    annotated: bool


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
        """uint8 (slices, channels, size, size), memory-mapped read only."""
        return _mapped(self.directory / "images.npy", (self._meta["channels"], *self._side))

    @cached_property
    def masks(self) -> np.ndarray:
        """uint8 (slices, planes, size, size), one bit an organ, memory-mapped read only."""
        return _mapped(self.directory / "masks.npy", (planes_of(self.organs), *self._side))

    @cached_property
    def states(self) -> np.ndarray:
        """``State`` of each slice and organ, uint8 (slices, organs)."""
        return _mapped(self.directory / "states.npy", (len(self.organs),))

    @cached_property
    def organs(self) -> Organs:
        """Of the data set, in channel order."""
        return Organs(tuple(self._meta["organs"]))

    @property
    def gray(self) -> str:
        """Name of the gray scaling of the images."""
        return self._meta["gray"]

    @cached_property
    def index(self) -> SliceIndex:
        """The slice index the rows belong to."""
        table = pd.read_parquet(self.directory / "index.parquet")
        scans = pd.read_parquet(self.directory / "scans.parquet").set_index("scan")
        more = scans.drop(columns="case")
        known = self.states != State.UNKNOWN if self._meta["annotated"] else None
        columns = more if len(more.columns) else None
        return SliceIndex(self.root, table, self.organs, known, columns)

    @cached_property
    def _meta(self) -> _Meta:
        file, remedy = self.directory / "meta.json", f"remove {self.directory} and run again"
        meta = read_json(file, _Meta, remedy)
        if (meta["height"], meta["width"]) != (self.size, self.size):
            got = f"{meta['height']} x {meta['width']}"
            raise RunError(file, f"images of {self.size} x {self.size}", got, remedy)
        return meta

    @property
    def _side(self) -> tuple[int, int]:
        return self._meta["height"], self._meta["width"]

    @cached_property
    def scan_ends(self) -> tuple[np.ndarray, np.ndarray]:
        """For each slice the rows of its scan's first and last slice, int64 (slices,)."""
        rows = self.index.table["scan"].reset_index(drop=True)
        places = rows.index.to_series().groupby(rows)
        first, last = (np.array(places.transform(end), np.int64) for end in ("min", "max"))
        return first, last


def cache_root() -> Path:
    """Where caches live: ``GITRACT_CACHE``, or the user's own cache folder.

    Raises:
        RunError: neither is known, as for a user whom the system does not know.
    """
    if named := os.environ.get("GITRACT_CACHE"):
        return Path(named)
    if caches := os.environ.get("XDG_CACHE_HOME"):
        return Path(caches) / "gitract-cv"
    try:
        return Path.home() / ".cache" / "gitract-cv"
    except RuntimeError:
        expected, got = "a folder for caches", "none, as this user has no home"
        raise RunError("GITRACT_CACHE", expected, got, "set it to a folder") from None


def cache_directory(
    fingerprint: str, size: int, root: Path | None = None, *, gray: str = CURRENT_GRAY
) -> Path:
    """The directory of a data set's cache at one size and under one gray scaling."""
    scaled = "" if gray == FIRST_GRAY else f"-{gray}"
    return (root or cache_root()) / f"{fingerprint}-{size}-{_FORMAT}{scaled}"


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
    gray: str = CURRENT_GRAY,
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
        gray: name of the gray scaling.

    Raises:
        DataError: there is no cache and no source, and the folder is missing, faulty or another
            data set.
    """
    directory = cache_directory(fingerprint, size, gray=gray)
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
    return build_cache(index, size, gray=gray)


def build_cache(
    index: SliceIndex,
    size: int,
    *,
    workers: int | None = None,
    progress: Progress = silent,
    gray: str = CURRENT_GRAY,
) -> SliceCache:
    """The cache of an index: built once, by threads, and complete or not there.

    Args:
        index: annotated slices.
        size: side in pixels.
        workers: threads; by default one a core.
        progress: called with (slices done, all slices) after each scan.
        gray: name of the gray scaling.

    Raises:
        DataError: an image or mask cannot be read; nothing is left behind.
    """
    directory = cache_directory(index.fingerprint, size, gray=gray)
    work = _Building(index, size, gray, workers or usable_processors(), progress)
    written_once(directory, partial(_fill, work))
    return SliceCache(directory, index.root, size)


@dataclass(frozen=True)
class _Building:
    """What a cache is built from, and by how many threads."""

    index: SliceIndex
    size: int
    gray: str
    workers: int
    progress: Progress


def _fill(work: _Building, part: Path) -> None:
    index, size, organs = work.index, work.size, work.index.organs
    n_slices = len(index.table)
    images = _new(part / "images.npy", (n_slices, 1, size, size))
    masks = _new(part / "masks.npy", (n_slices, planes_of(organs), size, size))
    done = 0
    with ThreadPoolExecutor(work.workers) as pool:  # OpenCV lets go of the lock

        def one(scan: str) -> int:
            rows = index.rows_of_scan(scan)
            span = slice(int(rows.index[0]), int(rows.index[-1]) + 1)
            images[span, 0] = scan_images(index.root, rows, size, gray=work.gray)
            masks[span] = mask_bits(rows, size, organs=organs) if index.annotated else 0
            return len(rows)

        try:
            for count in pool.map(one, index.scans):
                done += count
                work.progress(done, n_slices)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    images.flush()
    masks.flush()
    index.table.to_parquet(part / "index.parquet")
    index.scan_table.to_parquet(part / "scans.parquet")
    none = np.full((n_slices, len(organs)), State.UNKNOWN, np.uint8)
    np.save(part / "states.npy", index.states if index.annotated else none, allow_pickle=False)
    shape = {"format": _FORMAT, "height": size, "width": size, "channels": 1}
    known = {"organs": list(organs), "gray": work.gray, "annotated": index.annotated}
    write_json(part / "meta.json", {**shape, **known})


def scan_images(
    root: Path, rows: pd.DataFrame, size: int, *, gray: str = CURRENT_GRAY
) -> np.ndarray:
    """One scan as networks see it: uint8 (slices, size, size), scaled as a whole."""
    return network_images(native_images(root, rows), size, gray=gray)


def native_images(root: Path, rows: pd.DataFrame) -> Iterator[np.ndarray]:
    """The slices of one scan as they were taken: uint16 (height, width) each."""
    height, width = scan_size(rows)
    return (read_image(root / path, height, width) for path in rows["path"])


def network_images(
    native: Iterable[np.ndarray], size: int, *, gray: str = CURRENT_GRAY
) -> np.ndarray:
    """Slices of one scan as networks see them: uint8 (slices, size, size), scaled as a whole."""
    return gray_scaling(gray)(np.stack([resize_image(image, size) for image in native]))


def planes_of(organs: Organs) -> int:
    """How many bytes a pixel's bits take, one bit an organ.

    >>> planes_of(Organs(("a", "b", "c"))), planes_of(Organs(tuple("abcdefghi")))
    (1, 2)
    """
    return -(-len(organs) // _ORGANS_A_PLANE)


def mask_bits(rows: pd.DataFrame, size: int, *, organs: Organs) -> np.ndarray:
    """One scan's masks at network size: uint8 (slices, planes, size, size), one bit an organ.

    Bit ``c % 8`` of plane ``c // 8`` is organ ``c``.
    """
    bits = np.zeros((len(rows), planes_of(organs), size, size), dtype=np.uint8)
    for channel, place, mask in drawn_masks(rows, organs=organs):
        plane, bit = divmod(channel, _ORGANS_A_PLANE)
        bits[place, plane] |= resize_mask(mask, size).view(np.uint8) << bit
    return bits


def organs_in_bits(bits: np.ndarray, organs: Organs) -> np.ndarray:
    """Masks from bits, boolean (slices, organs, height, width); the inverse of packing them.

    Args:
        bits: uint8 (slices, planes, height, width).
        organs: of the data set.
    """
    masks = [(bits[:, c // _ORGANS_A_PLANE] >> c % _ORGANS_A_PLANE) & 1 for c in range(len(organs))]
    return np.stack(masks, axis=1).astype(np.bool_)


def _new(path: Path, shape: tuple[int, ...]) -> np.memmap:
    return np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)


def _mapped(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    """An array of a cache, uint8 (slices, *shape)."""
    try:
        # "c": what a careless caller writes stays in memory; torch wants a writable array
        array = np.load(path, mmap_mode="c", allow_pickle=False)
    except (OSError, ValueError) as error:
        remedy = f"remove {path.parent} and run again"
        raise RunError(path, "a cache file", error, remedy) from None
    if array.ndim != 1 + len(shape) or array.shape[1:] != shape or array.dtype != np.uint8:
        got = f"{array.dtype} {array.shape}"
        remedy = f"remove {path.parent} and run again"
        expected = f"uint8 (slices, {', '.join(map(str, shape))})"
        raise RunError(path, expected, got, remedy)
    return np.asarray(array)
