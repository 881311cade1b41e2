"""What a score is: sums and counts by (case, organ), from which every figure follows.

A score takes from each scan and organ values of 0 to 1, larger is better, each with a weight: an
organ found on one side alone is worth 0, an organ that neither side holds is not counted, nor is
one whose annotation is not known. Sums and counts add up over scans, cases and organs, so ranking,
racing, intervals, thresholds and weights of ensembles see these alone and know no metric.

A distance enters as ``closeness``, never as an infinity or a NaN that a mean drops: fewer organs
found would then be a better score. A ``Mixture`` is a weighted sum of means. Whether a mean runs
over slices or over scans is part of its name.

``COMPETITION`` is the score of the contest. Its weights, columns and formula are here alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from gitract_core.errors import DataError
from gitract_core.metrics.scan_score import ScanScore, row_dice, volume_dice
from gitract_core.metrics.surfaces.distances import SurfaceMeasure

Floats = NDArray[np.float64]


class Score(Protocol):
    """What everything that ranks knows of a score."""

    @property
    def name(self) -> str:
        """The formula in words, with what each mean runs over."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of sums and counts: a sum, its count, the next sum, its count, and so on."""

    @property
    def needs(self) -> tuple[SurfaceMeasure, ...]:
        """What ``count`` needs measured in millimeters of each scan."""

    def of_organ(self, place: int) -> Score:
        """What counts a ``ScanScore`` of this organ alone."""

    def count(self, scan: ScanScore) -> Floats:
        """Sums and counts of one scan, (organs, columns); they add up over scans."""

    def of(self, sums: Floats) -> Floats:
        """The score, 0 to 1, of sums and counts on the last axis.

        NaN where nothing is counted.
        """

    def shares(self, sums: Floats) -> Floats:
        """Each part's share in the score of all parts together, (..., parts).

        Their mean is the score, and their variance over their number estimates its sampling
        variance (Taylor linearization of a ratio: Cochran, Sampling Techniques, 1977, section 6.3).

        Args:
            sums: (..., parts, columns), for example of the cases of a fold.
        """


@dataclass(frozen=True, slots=True)
class Mean:
    """The mean of values of 0 to 1.

    Attributes:
        key: short name, as in JSON.
        title: name in words.
        over: what the mean runs over, in the plural.
        columns: names of its sum and its count.
        values: of a scan, float (organs, any number); NaN where there is nothing to count.
        short: header of a narrow column.
        header: of a wide one.
        note: what a reader of the column must know; empty for nothing.
        needs: what ``values`` needs measured in millimeters.
        weights: of the values of each organ, above 0; empty where all count alike.
    """

    key: str
    title: str
    over: str
    columns: tuple[str, str]
    values: Callable[[ScanScore], np.ndarray]
    short: str = ""
    header: str = ""
    note: str = ""
    needs: tuple[SurfaceMeasure, ...] = ()
    weights: tuple[float, ...] = ()

    @property
    def name(self) -> str:
        """For example ``Dice over slices``."""
        return f"{self.title} over {self.over}"

    def count(self, scan: ScanScore) -> Floats:
        """Sum and number of a scan's values, (organs, 2); weighted by organ."""
        values = self.values(scan)
        found = np.stack([np.nansum(values, axis=1), np.isfinite(values).sum(axis=1)], axis=1)
        return found * np.array(self.weights)[:, None] if self.weights else found

    def of_organ(self, place: int) -> Mean:
        """What counts a ``ScanScore`` of this organ alone."""
        return replace(self, weights=self.weights[place : place + 1]) if self.weights else self

    def of(self, sums: Floats) -> Floats:
        """The mean; NaN where nothing is counted."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(sums[..., 0] / sums[..., 1])

    def shares(self, sums: Floats) -> Floats:
        """Each part's share; see ``Score``."""
        totals = sums.sum(axis=-2, keepdims=True)
        ratio, mean_count = totals[..., 0] / totals[..., 1], totals[..., 1] / sums.shape[-2]
        return np.asarray(ratio + (sums[..., 0] - ratio * sums[..., 1]) / mean_count)


@dataclass(frozen=True, slots=True)
class Mixture:
    """A weighted sum of means.

    >>> COMPETITION.formula
    '0.4 Dice + 0.6 Hausdorff score'
    >>> round(float(COMPETITION.of(np.array([3.0, 4.0, 1.0, 2.0]))), 4)
    0.6

    Attributes:
        means: each with its own key and columns.
        weights: one a mean, each above 0; they add up to 1.
        text: what it is called in files and on the command line.
    """

    means: tuple[Mean, ...]
    weights: tuple[float, ...]
    text: str = ""

    def __post_init__(self) -> None:
        right = len(self.means) == len(self.weights) > 0 and min(self.weights) > 0
        if not right or abs(sum(self.weights) - 1) > 1e-9:
            expected = "one weight a mean, above 0, that add up to 1"
            raise DataError("score", expected, self.weights, "correct the weights")
        if len(set(self.columns)) < len(self.columns):
            raise DataError("score", "columns named once", self.columns, "name them apart")

    @property
    def name(self) -> str:
        """The formula with what each mean runs over."""
        return self._in_words([mean.name for mean in self.means])

    @property
    def formula(self) -> str:
        """The formula, short."""
        return self._in_words([mean.title for mean in self.means])

    def _in_words(self, names: list[str]) -> str:
        if len(names) == 1:
            return names[0]
        pairs = zip(self.weights, names, strict=True)
        return " + ".join(f"{weight:g} {name}" for weight, name in pairs)

    @property
    def columns(self) -> tuple[str, ...]:
        """Those of the means, one mean after the other."""
        return tuple(column for mean in self.means for column in mean.columns)

    @property
    def needs(self) -> tuple[SurfaceMeasure, ...]:
        """What the means need measured in millimeters."""
        return tuple(measure for mean in self.means for measure in mean.needs)

    def of_organ(self, place: int) -> Mixture:
        """What counts a ``ScanScore`` of this organ alone."""
        return replace(self, means=tuple(mean.of_organ(place) for mean in self.means))

    def count(self, scan: ScanScore) -> Floats:
        """Sums and counts of one scan, (organs, columns)."""
        return np.concatenate([mean.count(scan) for mean in self.means], axis=1)

    def by_mean(self, sums: Floats) -> dict[str, Floats]:
        """Each mean by its key, of sums and counts on the last axis."""
        return {mean.key: mean.of(part) for mean, part in self._parts(sums)}

    def mix(self, figures: Mapping[str, Any]) -> Any:
        """The weighted sum of figures (numbers, arrays, series) by the key of each mean."""
        pairs = zip(self.weights, self.means, strict=True)
        first, *others = (weight * figures[mean.key] for weight, mean in pairs)
        return sum(others, start=first)

    def of(self, sums: Floats) -> Floats:
        """The score; NaN where any of its means has nothing to count."""
        return np.asarray(self.mix(self.by_mean(sums)))

    def shares(self, sums: Floats) -> Floats:
        """Each part's share; see ``Score``."""
        each = {mean.key: mean.shares(part) for mean, part in self._parts(sums)}
        return np.asarray(self.mix(each))

    def _parts(self, sums: Floats) -> list[tuple[Mean, Floats]]:
        """Each mean with its two columns."""
        return [(mean, sums[..., 2 * n : 2 * n + 2]) for n, mean in enumerate(self.means)]


def closeness(distance: np.ndarray, limit: float = 1.0) -> np.ndarray:
    """A distance as a value of 0 to 1: ``1 - min(distance / limit, 1)``.

    >>> closeness(np.array([0.0, 5.0, np.inf]), limit=20.0).tolist()
    [1.0, 0.75, 0.0]

    Args:
        distance: 0 or more; infinite where one side is empty, NaN where there is nothing to count.
        limit: the distance, in the same unit, from which on nothing is right.
    """
    return np.asarray(1.0 - np.minimum(distance / limit, 1.0))


def _hausdorff_values(scan: ScanScore) -> np.ndarray:
    return closeness(np.asarray(scan.hausdorff))[:, None]


def _volume_dice_values(scan: ScanScore) -> np.ndarray:
    return volume_dice(scan)[:, None]


SLICE_DICE = Mean("dice", "Dice", "slices", ("dice_sum", "dice_rows"), row_dice, "Dice", "Dice")
"""Rows (slice, organ) pooled over all scans, at native size."""

HAUSDORFF_SCORE = Mean(
    "hausdorff",
    "Hausdorff score",
    "scans",
    ("hausdorff_sum", "hausdorff_volumes"),
    _hausdorff_values,
    "Haus.",
    "Hausdorff",
    "Haus.: 1 - normalized Hausdorff distance, higher is better",
)
"""1 - distance over the diagonal of the volume."""

SCAN_DICE = Mean(
    "scan_dice", "Dice", "scans", ("scan_dice_sum", "scan_dice_volumes"), _volume_dice_values
)
"""Dice of the whole volume of an organ: a scan counts once, however many slices it has."""

CONTEST_SCORE = "contest"
"""What the contest's score is called."""

COMPETITION = Mixture((SLICE_DICE, HAUSDORFF_SCORE), (0.4, 0.6), CONTEST_SCORE)
"""The contest's: every ranking of this project uses it by default."""
