"""The whole exploratory analysis of one data set."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from gitract_core.eda.annotations import Annotations
from gitract_core.eda.counting import (
    GROUPS,
    CountTable,
    SliceCounts,
    combination_table,
    figure_3,
    group_name,
    tables,
)
from gitract_core.eda.coverage import (
    combination_areas,
    combination_of,
    organs_of,
    shared_areas,
    slice_combinations,
)
from gitract_core.eda.inventory import Inventory, take_inventory
from gitract_core.eda.overlaps import AreaProfile, OverlapProfile, area_profile, overlap_profile
from gitract_core.eda.positions import Gap, PositionProfile, gaps, position_profile
from gitract_core.organs import N_ORGANS, ORGANS

ANY = "any"


@dataclass(frozen=True)
class ShownSlice:
    """A slice worth a picture.

    Attributes:
        id: of the slice.
        organs: what it is an example of: the organs it holds, or those that overlap.
        areas_px: of each organ in it.
        overlap_px: of ``organs``; their one area where they are one.
    """

    id: str
    organs: tuple[str, ...]
    areas_px: dict[str, int]
    overlap_px: int


@dataclass(frozen=True)
class Exploration:
    """Everything ``gitract-cv eda`` shows, in plain numbers.

    Attributes:
        inventory: cases, scans, slices, sizes.
        table_1: empty and annotated slices.
        table_2: slices by number of organs.
        table_3: slices that hold an organ.
        table_4: slices that hold a pair of organs.
        combinations: slices by the exact combination of organs, all eight.
        figure_3: annotated slices in sections A, B and C: exactly one, two, three organs.
        figure_4: a typical slice with one, two, three organs, as far as there are any.
        figure_5: the slice of the largest overlap of each pair and of all three.
        figure_6: where in a scan each organ lies, and ``any`` of them.
        figure_12: overlap areas by pair, and of all three.
        areas: area of each organ.
        gaps: scans in which an organ is missing between slices that hold it.
    """

    inventory: Inventory
    table_1: CountTable
    table_2: CountTable
    table_3: CountTable
    table_4: CountTable
    combinations: CountTable
    figure_3: dict[str, CountTable]
    figure_4: tuple[ShownSlice, ...]
    figure_5: tuple[ShownSlice, ...]
    figure_6: dict[str, PositionProfile]
    figure_12: dict[str, OverlapProfile]
    areas: dict[str, AreaProfile]
    gaps: tuple[Gap, ...]

    def to_json(self) -> dict[str, Any]:
        """The attributes as JSON values; keys are their names."""
        return asdict(self)


def explore(annotations: Annotations) -> Exploration:
    """Analyze the masks of a data set; 38,496 slices take about two seconds.

    Raises:
        RleError: a text is not a mask of the slice's size; names the slice and class.
    """
    areas = combination_areas(annotations)
    combinations = slice_combinations(areas)
    counts = SliceCounts.of(combinations)
    first, second, third, fourth = tables(counts)
    ids = annotations.table["id"].to_numpy()
    return Exploration(
        inventory=take_inventory(annotations),
        table_1=first,
        table_2=second,
        table_3=third,
        table_4=fourth,
        combinations=combination_table(counts),
        figure_3=figure_3(counts),
        figure_4=_typical(areas, combinations, ids),
        figure_5=_overlapping(areas, ids),
        figure_6=_positions(annotations, combinations),
        figure_12={
            group_name(group): overlap_profile(_shared(areas, group), ids, counts.holding(group))
            for group in GROUPS
        },
        areas={organ: area_profile(_shared(areas, [organ]), ids) for organ in ORGANS},
        gaps=_gaps(annotations, combinations),
    )


def _shared(areas: np.ndarray, organs: tuple[str, ...] | list[str]) -> np.ndarray:
    return shared_areas(areas, combination_of(organs))


def _holds(combinations: np.ndarray, organ: str) -> np.ndarray:
    return combinations & combination_of([organ]) > 0


def _positions(annotations: Annotations, combinations: np.ndarray) -> dict[str, PositionProfile]:
    numbers, scans = annotations.table["slice"].to_numpy(np.int64), annotations.scan_codes
    kinds = {organ: _holds(combinations, organ) for organ in ORGANS} | {ANY: combinations > 0}
    return {name: position_profile(held, numbers, scans) for name, held in kinds.items()}


def _gaps(annotations: Annotations, combinations: np.ndarray) -> tuple[Gap, ...]:
    found = [gaps(annotations, organ, _holds(combinations, organ)) for organ in ORGANS]
    return tuple(gap for organ_gaps in found for gap in organ_gaps)


def _shown(row: int, group: tuple[str, ...], areas: np.ndarray, ids: np.ndarray) -> ShownSlice:
    one = areas[row : row + 1]
    areas_px = {organ: int(_shared(one, [organ])[0]) for organ in ORGANS}
    return ShownSlice(str(ids[row]), group, areas_px, int(_shared(one, group)[0]))


def _typical(
    areas: np.ndarray, combinations: np.ndarray, ids: np.ndarray
) -> tuple[ShownSlice, ...]:
    """For one, two, three organs: of the most frequent combination, the most median slice.

    Most median: the sum over organs of the differences of log areas from their medians is least.
    """
    shown = []
    for number in range(1, N_ORGANS + 1):
        frequent = np.bincount(combinations)
        frequent[[c for c in range(len(frequent)) if c.bit_count() != number]] = 0
        if not frequent.any():
            continue
        combination = int(frequent.argmax())
        rows = np.flatnonzero(combinations == combination)
        group = organs_of(combination)
        logs = np.log(np.stack([_shared(areas[rows], [organ]) for organ in group]))
        distance = np.abs(logs - np.median(logs, axis=1, keepdims=True)).sum(axis=0)  # (rows,)
        shown.append(_shown(int(rows[distance.argmin()]), group, areas, ids))
    return tuple(shown)


def _overlapping(areas: np.ndarray, ids: np.ndarray) -> tuple[ShownSlice, ...]:
    """The slice of the largest overlap of each pair and of all three, where there is any."""
    largest = [(group, int(_shared(areas, group).argmax())) for group in GROUPS]
    shown = [_shown(row, group, areas, ids) for group, row in largest]
    return tuple(one for one in shown if one.overlap_px)
