"""An open cache: its files, as ``cache`` builds them, checked whenever they are opened."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, NotRequired, TypedDict

import numpy as np
import pandas as pd

from gitract_core.data.annotation import State
from gitract_core.data.contents import ONE_CHANNEL
from gitract_core.data.slices import SliceIndex
from gitract_core.errors import RunError, counted, one_line
from gitract_core.files.atomic import read_json
from gitract_core.files.digests import Stamp, StampShape
from gitract_core.organs import Organs
from gitract_core.view import View

FORMAT = 2
"""Raised when what the files mean changes."""
ORGANS_A_PLANE = 8


class CacheMeta(TypedDict):
    """What ``meta.json`` holds."""

    format: Literal[2]
    height: int
    width: int
    channels: int
    organs: list[str]
    gray: str
    annotated: bool
    pairs: NotRequired[list[list[str]]]
    channel_names: NotRequired[list[str]]
    spacing_mm: NotRequired[float]
    name: NotRequired[str]
    files: NotRequired[dict[str, StampShape]]


@dataclass(frozen=True)
class SliceCache:
    """An open cache.

    Attributes:
        directory: where its files lie.
        root: folder of the data set, for reading native images.
        size: side of images and masks, pixels.
        spacing_mm: of those pixels; 0 where they show whole slices.
    """

    directory: Path
    root: Path
    size: int
    spacing_mm: float = 0.0

    @classmethod
    def of(cls, directory: Path, root: Path, view: View) -> SliceCache:
        """The cache of a view."""
        return cls(directory, root, view.size, view.spacing_mm)

    @property
    def view(self) -> View:
        """What its images show of slices."""
        return View(self.size, self.spacing_mm)

    @cached_property
    def images(self) -> np.ndarray:
        """uint8 (slices, channels, size, size), memory-mapped read only."""
        shape = (len(self.states), self._meta["channels"], *self._side)
        return _mapped(self.directory / "images.npy", shape)

    @cached_property
    def masks(self) -> np.ndarray:
        """uint8 (slices, planes, size, size), one bit an organ, memory-mapped read only."""
        shape = (len(self.states), planes_of(self.organs), *self._side)
        return _mapped(self.directory / "masks.npy", shape)

    @cached_property
    def states(self) -> np.ndarray:
        """``State`` of each slice and organ, uint8 (slices, organs)."""
        self._check("states.npy")
        return _mapped(self.directory / "states.npy", (None, len(self.organs)))

    @cached_property
    def organs(self) -> Organs:
        """Of the data set, in channel order."""
        return Organs.of(self._meta)

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the images' channels."""
        return tuple(self._meta.get("channel_names", ONE_CHANNEL))

    @property
    def gray(self) -> str:
        """Name of the gray scaling of the images."""
        return self._meta["gray"]

    @cached_property
    def index(self) -> SliceIndex:
        """The slice index the rows belong to."""
        table = self._table("index.parquet")
        if len(table) != len(self.states):
            expected, got = f"{counted(len(self.states), 'row')}, as in states.npy", len(table)
            raise RunError(self.directory / "index.parquet", expected, got, self._remedy)
        more = self._table("scans.parquet").set_index("scan").drop(columns="case")
        known = self.states != State.UNKNOWN if self._meta["annotated"] else None
        columns = more if len(more.columns) else None
        return SliceIndex(
            self.root,
            table,
            self.organs,
            known,
            columns,
            gray=self.gray,
            channels=self.channels,
        )

    @cached_property
    def _meta(self) -> CacheMeta:
        file = self.directory / "meta.json"
        if not file.is_file():
            raise RunError(file, "a cache's description", "none", self._remedy)
        meta = read_json(file, CacheMeta, self._remedy)
        if (meta["height"], meta["width"]) != (self.size, self.size):
            got = f"{meta['height']} x {meta['width']}"
            raise RunError(file, f"images of {self.size} x {self.size}", got, self._remedy)
        if (spacing := meta.get("spacing_mm", 0.0)) != self.spacing_mm:
            expected = f"pixels of {self.spacing_mm:g} mm" if self.spacing_mm else "whole slices"
            raise RunError(file, expected, f"pixels of {spacing:g} mm", self._remedy)
        if (name := meta.get("name", self.directory.name)) != self.directory.name:
            raise RunError(file, f"cache {self.directory.name}", name, self._remedy)
        for name, stamp in meta.get("files", {}).items():
            Stamp(**stamp).check_size(self.directory / name, self._remedy)
        return meta

    @property
    def _remedy(self) -> str:
        return f"remove {self.directory} and run again"

    @property
    def stamps(self) -> dict[str, Stamp]:
        """Size and digest of its files by name; empty where an earlier version built it."""
        return {name: Stamp(**stamp) for name, stamp in self._meta.get("files", {}).items()}

    def check(self) -> None:
        """Read all of it, and compare every digest.

        Raises:
            RunError: a file is missing, cut or changed; names it.
        """
        for name, stamp in self.stamps.items():
            stamp.check(self.directory / name, self._remedy)
        if not self.stamps:
            _ = self.images, self.masks, self.index  # headers alone

    def _check(self, name: str) -> None:
        if stamp := self.stamps.get(name):
            stamp.check(self.directory / name, self._remedy)

    def _table(self, name: str) -> pd.DataFrame:
        from pyarrow import ArrowException  # not where a bundle predicts

        self._check(name)
        try:
            return pd.read_parquet(self.directory / name)
        except (OSError, ValueError, KeyError, TypeError, ArrowException) as error:
            expected, got = "a table of a cache", one_line(error)
            raise RunError(self.directory / name, expected, got, self._remedy) from None

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


def planes_of(organs: Organs) -> int:
    """How many bytes a pixel's bits take, one bit an organ.

    >>> planes_of(Organs(("a", "b", "c"))), planes_of(Organs(tuple("abcdefghi")))
    (1, 2)
    """
    return -(-len(organs) // ORGANS_A_PLANE)


def organs_in_bits(bits: np.ndarray, organs: Organs) -> np.ndarray:
    """Masks from bits, boolean (slices, organs, height, width); the inverse of packing them.

    Args:
        bits: uint8 (slices, planes, height, width).
        organs: of the data set.
    """
    masks = [(bits[:, c // ORGANS_A_PLANE] >> c % ORGANS_A_PLANE) & 1 for c in range(len(organs))]
    return np.stack(masks, axis=1).astype(np.bool_)


def _mapped(path: Path, shape: tuple[int | None, ...]) -> np.ndarray:
    """An array of a cache, uint8 of a shape; None is any number of slices."""
    try:
        # "c": what a careless caller writes stays in memory; torch wants a writable array
        array = np.load(path, mmap_mode="c", allow_pickle=False)
        if not isinstance(array, np.ndarray):
            raise ValueError("an archive")
    except (OSError, ValueError, EOFError) as error:
        remedy = f"remove {path.parent} and run again"
        raise RunError(path, "a cache file", error, remedy) from None
    fits = len(array.shape) == len(shape) and all(
        wanted in (None, found) for wanted, found in zip(shape, array.shape, strict=True)
    )
    if not fits or array.dtype != np.uint8:
        got = f"{array.dtype} {array.shape}"
        remedy = f"remove {path.parent} and run again"
        expected = f"uint8 ({', '.join('slices' if n is None else str(n) for n in shape)})"
        raise RunError(path, expected, got, remedy)
    return np.asarray(array)
