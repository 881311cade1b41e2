"""The cache: every slice at network size, as bytes, in two files that all trials of a node map.

::

    meta.json       format, height, width, channels, organs, name of the gray scaling, spacing if
                    it is not that of whole slices; size and digest of every other file, and a
                    digest of itself
    images.npy      uint8 (slices, channels, height, width); the contest has one channel
    masks.npy       uint8 (slices, planes, height, width): bit c % 8 of plane c // 8 is organ c
    states.npy      uint8 (slices, organs), see ``annotation``; zeros without annotations
    index.parquet   the rows of the slice index, with spacings and slice numbers
    scans.parquet   one row a scan: its patient and what more is known of it

Rows are in the order of the slice index. The directory's name holds the content hash of the data
and the number of this format, so that another data set, a changed one, or files of another meaning
are never met. Sizes are compared whenever a cache is opened, digests of what is read whole too;
those of images and masks, which are mapped, once by the process that drives (``checked``).
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np
import pandas as pd

from gitract_core.data.annotation import State
from gitract_core.data.contents import ONE_CHANNEL
from gitract_core.data.gray import CURRENT_GRAY, FIRST_GRAY, gray_of_channels, gray_scaling
from gitract_core.data.images import resize_mask
from gitract_core.data.native import native_images, resized
from gitract_core.data.slice_cache import (
    FORMAT,
    ORGANS_A_PLANE,
    CacheMeta,
    SliceCache,
    organs_in_bits,
    planes_of,
)
from gitract_core.data.slices import SliceIndex
from gitract_core.data.volumes import drawn_masks, scan_size
from gitract_core.data.windows import mask_through, seen_through, window_of_scan
from gitract_core.errors import DataError, RunError
from gitract_core.files.atomic import read_json, write_json, written_once
from gitract_core.files.digests import Stamp
from gitract_core.organs import Organs
from gitract_core.processors import usable_processors
from gitract_core.progress import Progress, silent
from gitract_core.view import View, Window

__all__ = [
    "CacheSource",
    "SliceCache",
    "build_cache",
    "cache_directory",
    "cache_root",
    "mask_bits",
    "native_images",
    "network_images",
    "open_cache",
    "organs_in_bits",
    "planes_of",
    "scan_images",
]


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
    fingerprint: str, view: View | int, root: Path | None = None, *, gray: str = CURRENT_GRAY
) -> Path:
    """The directory of a data set's cache of one view and under one gray scaling."""
    scaled = "" if gray == FIRST_GRAY else f"-{gray}"
    return (root or cache_root()) / f"{fingerprint}-{View.of(view).name}-{FORMAT}{scaled}"


class CacheSource(Protocol):
    """A machine that has a cache, for those that have neither a cache nor the data."""

    def fetch(self, name: str, part: Path) -> None:
        """Write the files of the cache directory called ``name`` into the directory ``part``."""


def open_cache(
    data: Path,
    fingerprint: str,
    view: View | int,
    *,
    exclude: tuple[str, ...] = (),
    source: CacheSource | None = None,
    gray: str = CURRENT_GRAY,
    patients: str | None = None,
    checked: bool = False,
) -> SliceCache:
    """Open the cache of a data set by its fingerprint; build it if this machine has none.

    Where the folder is not to be seen, the cache is fetched from a source, once for all trials of
    this machine.

    Args:
        data: the contest folder, read only if there is no cache yet.
        fingerprint: content hash that the data set must have.
        view: what networks see; a bare number is the side of whole slices, pixels.
        exclude: scans left out of the index.
        source: gives the cache if the folder is missing.
        gray: name of the gray scaling.
        patients: which patient a scan is of, see ``layouts.patients``.
        checked: compare the digests of all files, once in a process; a damaged cache is built anew
            where the folder is there.

    Raises:
        DataError: there is no cache and no source, and the folder is missing, faulty or another
            data set.
        RunError: the cache is damaged, and the folder is missing.
    """
    directory = cache_directory(fingerprint, view, gray=gray)
    cache = SliceCache.of(directory, data, View.of(view))
    if directory.is_dir():
        if not checked or _is_whole(cache):
            return cache
        if not data.is_dir():
            cache.check()
    elif source and not data.is_dir():
        written_once(directory, partial(_fetch, source, directory.name))
        return cache
    index = SliceIndex.from_directory(data, patients=patients).without(exclude)
    if index.fingerprint != fingerprint:
        expected, got = f"the data set {fingerprint}", index.fingerprint
        raise DataError(data, expected, got, "point every node to the same data set")
    return build_cache(index, view, gray=gray)


def build_cache(
    index: SliceIndex,
    view: View | int,
    *,
    workers: int | None = None,
    progress: Progress = silent,
    gray: str | None = None,
) -> SliceCache:
    """The cache of an index: built once, by threads, and complete or not there.

    Args:
        index: annotated slices.
        view: what networks see; a bare number is the side of whole slices, pixels.
        workers: threads; by default one a core.
        progress: called with (slices done, all slices) after each scan.
        gray: name of the gray scaling; by default the data set's.

    Raises:
        DataError: an image or mask cannot be read; nothing is left behind.
    """
    gray = gray or index.gray
    directory, view = cache_directory(index.fingerprint, view, gray=gray), View.of(view)
    cache = SliceCache.of(directory, index.root, view)
    if directory.is_dir() and _is_whole(cache):
        return cache
    work = _Building(index, view, gray, workers or usable_processors(), progress, directory.name)
    written_once(directory, partial(_fill, work), is_whole=partial(_is_whole, cache))
    return SliceCache.of(directory, index.root, view)


def _is_whole(cache: SliceCache) -> bool:
    """Whether all digests of a cache are those of its files; looked at once in a process."""
    known = (cache.directory, _changed_at(cache.directory))
    if known in _whole:
        return True
    try:
        replace(cache).check()  # a fresh one, that has read nothing
    except RunError:
        return False
    _whole.add(known)
    return True


def _changed_at(directory: Path) -> int:
    """When a cache was built; 0 where that cannot be told."""
    try:
        return (directory / "meta.json").stat().st_mtime_ns
    except OSError:
        return 0


_whole: set[tuple[Path, int]] = set()


def _fetch(source: CacheSource, name: str, part: Path) -> None:
    """Fetch a cache, and compare what came with what it should be."""
    source.fetch(name, part)
    meta = read_json(part / "meta.json", CacheMeta, "fetch it again")
    for file, stamp in meta.get("files", {}).items():
        Stamp(**stamp).check(part / file, f"remove {name} where it was fetched from")


@dataclass(frozen=True)
class _Building:
    """What a cache is built from, and by how many threads."""

    index: SliceIndex
    view: View
    gray: str
    workers: int
    progress: Progress
    name: str


def _fill(work: _Building, part: Path) -> None:
    index, view, organs = work.index, work.view, work.index.organs
    size = view.size
    n_slices = len(index.table)
    channels = len(index.channels)
    images = _new(part / "images.npy", (n_slices, channels, size, size))
    masks = _new(part / "masks.npy", (n_slices, planes_of(organs), size, size))
    done = 0
    with ThreadPoolExecutor(work.workers) as pool:  # OpenCV lets go of the lock

        def one(scan: str) -> int:
            rows = index.rows_of_scan(scan)
            span = slice(int(rows.index[0]), int(rows.index[-1]) + 1)
            seen = scan_images(index.root, rows, view, gray=work.gray)
            images[span] = seen.reshape(len(rows), channels, size, size)
            masks[span] = mask_bits(rows, view, organs=organs) if index.annotated else 0
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
    shape = {"format": FORMAT, "height": size, "width": size, "channels": channels}
    known = {**organs.to_json(), "gray": work.gray, "annotated": index.annotated}
    if view.spacing_mm:
        known["spacing_mm"] = view.spacing_mm
    if index.channels != ONE_CHANNEL:
        known["channel_names"] = list(index.channels)
    files = {file.name: Stamp.of(file).to_json() for file in sorted(part.iterdir())}
    named = {"name": work.name, "files": files}
    write_json(part / "meta.json", {**shape, **known, **named}, seal=True)


def scan_images(
    root: Path, rows: pd.DataFrame, view: View | int, *, gray: str = CURRENT_GRAY
) -> np.ndarray:
    """One scan as networks see it, scaled as a whole; see ``network_images``."""
    scan_size(rows)
    view = View.of(view)
    window = window_of_scan(rows, view)
    return network_images(native_images(root, rows), view.size, gray=gray, window=window)


def network_images(
    native: Iterable[np.ndarray],
    size: int,
    *,
    gray: str = CURRENT_GRAY,
    window: Window | None = None,
) -> np.ndarray:
    """Slices of one scan as networks see them, scaled as a whole.

    Args:
        native: slices of one scan, (height, width) or (channels, height, width) each, of any real
            dtype.
        size: side in pixels.
        gray: name of the gray scaling, of all channels or one each.
        window: what is seen of each slice; by default all of it. The gray levels are those of
            whole slices, so that they do not depend on it, and beyond the slice there is the
            scan's darkest one.

    Returns:
        uint8 (slices, size, size), or (slices, channels, size, size) of several channels.
    """
    if window is not None:
        return _images_through(window, native, size, gray)
    if isinstance(native, np.ndarray) and native.ndim == 4:
        scalings = gray_of_channels(gray, native.shape[1])
        each = [s.scale(resized(s.prepare(native[:, c]), size)) for c, s in enumerate(scalings)]
        return np.stack(each, axis=1)
    scaling = gray_scaling(gray)
    prepared = scaling.prepare(native) if isinstance(native, np.ndarray) else native
    return scaling.scale(resized(prepared, size))


def _images_through(
    window: Window, native: Iterable[np.ndarray], size: int, gray: str
) -> np.ndarray:
    """As ``network_images``, through a window."""
    scan = native if isinstance(native, np.ndarray) else np.stack(list(native))
    channels = scan[:, None] if scan.ndim == 3 else scan
    seen = np.empty((*channels.shape[:2], size, size), np.uint8)
    for number, scaling in enumerate(gray_of_channels(gray, channels.shape[1])):
        scaled = scaling(channels[:, number])
        dark = int(scaled.min())
        for place, image in enumerate(scaled):
            seen[place, number] = seen_through(image, window, (size, size), dark=dark)
    return seen[:, 0] if scan.ndim == 3 else seen


def mask_bits(rows: pd.DataFrame, view: View | int, *, organs: Organs) -> np.ndarray:
    """One scan's masks as networks see them: uint8 (slices, planes, size, size), one bit an organ.

    Bit ``c % 8`` of plane ``c // 8`` is organ ``c``.
    """
    view = View.of(view)
    size, window = view.size, window_of_scan(rows, view)
    bits = np.zeros((len(rows), planes_of(organs), size, size), dtype=np.uint8)
    for channel, place, mask in drawn_masks(rows, organs=organs):
        plane, bit = divmod(channel, ORGANS_A_PLANE)
        if window is None:
            small = resize_mask(mask, size)
        else:
            small = mask_through(mask, window, (size, size))
        bits[place, plane] |= small.view(np.uint8) << bit
    return bits


def _new(path: Path, shape: tuple[int, ...]) -> np.memmap:
    return np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
