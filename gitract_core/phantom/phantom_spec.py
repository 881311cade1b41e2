"""Parameters of a phantom data set, and the published numbers that it imitates.

The counts are those of the contest's training set: 85 cases, 274 scans, 38,496 slices.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from gitract_core.errors import DataError

COMBINATION_COUNTS = (21_906, 123, 59, 7_781, 2_286, 2_980, 160, 3_201)
"""Slices by the organs they hold; the index is a sum of bits: large 1, small 2, stomach 4."""

SCANS_PER_CASE_COUNTS = (9, 8, 45, 2, 20, 1)
"""Cases with 1, 2, ... 6 scans."""

LONGEST_SCAN_SLICES = 144


@dataclass(frozen=True, slots=True)
class Protocol:
    """One size of image, as scanned.

    Attributes:
        height, width: pixels.
        spacing_mm: side of a pixel in the plane.
        n_slices: slices of a whole scan.
        paper_scans: scans of this size among the 274.
    """

    height: int
    width: int
    spacing_mm: float
    n_slices: int
    paper_scans: int


PROTOCOLS = (
    Protocol(266, 266, 1.50, 144, 180),
    Protocol(310, 360, 1.50, 144, 78),
    Protocol(276, 276, 1.63, 80, 15),
    Protocol(234, 234, 1.50, 144, 1),
)
FEWEST_SLICES = 16


@dataclass(frozen=True, slots=True)
class PhantomSpec:
    """Size and seed of a phantom.

    Attributes:
        cases: patients of the training folder, 1 or more (5 or more for five folds).
        seed: everything random derives from it; 0 or more.
        slices_per_scan: slices of a scan, in place of 144 (the 80-slice scans shrink alike): the
            same anatomy in thicker slices. ``None``: 144 and 80.
        test_cases: unseen patients of the test folder; it also has as many later days of others.
        like: ``""``, or ``"paper"`` for the counts of the whole training set, exactly.
    """

    cases: int
    seed: int = 0
    slices_per_scan: int | None = None
    test_cases: int = 1
    like: str = ""

    def __post_init__(self) -> None:
        _require("cases", self.cases >= 1, "1 or more", self.cases)
        _require("cases", self.cases <= 900, "900 or fewer", self.cases)
        _require("seed", self.seed >= 0, "0 or more", self.seed)
        _require("test_cases", 0 <= self.test_cases <= self.cases, "0 to cases", self.test_cases)
        _require("like", self.like in ("", "paper"), "'' or 'paper'", self.like)
        number = self.slices_per_scan
        ok = number is None or FEWEST_SLICES <= number <= LONGEST_SCAN_SLICES
        _require("slices_per_scan", ok, f"{FEWEST_SLICES} to {LONGEST_SCAN_SLICES}", number)
        whole = self.like == "" or (self.cases == 85 and number is None)
        _require("like", whole, "85 cases of whole scans", (self.cases, number))

    @classmethod
    def small(cls, cases: int, seed: int = 0, slices_per_scan: int | None = None) -> PhantomSpec:
        """A phantom with one unseen test patient for every five of training."""
        return cls(cases, seed, slices_per_scan, test_cases=min(max(1, cases // 5), max(cases, 0)))

    @classmethod
    def like_paper(cls, seed: int = 0) -> PhantomSpec:
        """85 cases, 274 scans, 38,496 slices, and the published counts exactly."""
        return cls(85, seed, None, test_cases=2, like="paper")

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


def _require(name: str, ok: bool, expected: str, got: object) -> None:
    if not ok:
        raise DataError(f"phantom {name}", expected, repr(got), f"pass another {name}")


def generator(*words: int | str) -> np.random.Generator:
    """A random generator that depends on the words alone, on every machine alike.

    >>> generator(1, "case3").integers(9) == generator(1, "case3").integers(9)
    np.True_
    """
    text = json.dumps(words, separators=(",", ":"))
    return np.random.default_rng(int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "big"))
