"""The whole exploratory analysis of one data set."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from gitract_core.eda.annotations import Annotations
from gitract_core.eda.counting import (
    FEW_ORGANS,
    CountTable,
    SliceCounts,
    combination_table,
    figure_3,
    group_name,
    groups_of,
    tables,
)
from gitract_core.eda.coverage import Coverage
from gitract_core.eda.inventory import Inventory, take_inventory
from gitract_core.eda.overlaps import AreaProfile, OverlapProfile, area_profile, overlap_profile
from gitract_core.eda.positions import Gap, PositionProfile, gaps, position_profile

ANY = "any"
MOST_SHOWN = 8
"""Slices of figures 4 and 5, where there are more than a few organs."""


@dataclass(frozen=True)
class ShownSlice:
    """A slice that a figure shows.

    Attributes:
        id: of the slice.
        organs: what it is an example of: the organs it holds, or those that overlap.
        areas_px: of each organ in it.
        overlap_px: pixels shared by ``organs``; of a single organ, its area.
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
        combinations: slices by the exact combination of organs.
        figure_3: annotated slices in sections A, B, C and so on: exactly one, two, three organs.
        figure_4: a typical slice with one, two, three organs and so on, as far as there are any.
        figure_5: the slice of the largest overlap of each pair and of all organs; of many organs
            those of the largest overlaps.
        figure_6: where in a scan each organ lies, and ``any`` of them.
        figure_12: overlap areas by pair, and of all organs; of many organs where there is one.
        areas: area of each organ.
        gaps: scans in which an organ is missing between slices that hold it.
        organs: of the data set.
        known: by organ, the share of slices whose annotation is known; others are left out, and
            unknown counts as not there.
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
    organs: tuple[str, ...]
    known: dict[str, float]

    def to_json(self) -> dict[str, Any]:
        """The attributes as JSON values; keys are their names."""
        return asdict(self)


def explore(annotations: Annotations) -> Exploration:
    """Analyze the masks of a data set; 38,496 slices take about two seconds.

    Raises:
        RleError: a text is not a mask of the slice's size; names the slice and class.
    """
    covered = Coverage.of(annotations)
    organs, present = covered.organs, covered.present
    counts = SliceCounts.of(present, organs)
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
        figure_4=_typical(covered, counts, ids),
        figure_5=_overlapping(covered, ids),
        figure_6=_positions(annotations, present),
        figure_12={
            group_name(group): overlap_profile(covered.shared_px(group), ids, counts.holding(group))
            for group in _groups(covered)
        },
        areas={organ: area_profile(covered.shared_px([organ]), ids) for organ in organs},
        gaps=_gaps(annotations, present),
        organs=organs.names,
        known=dict(annotations.known),
    )


def _groups(covered: Coverage) -> list[tuple[str, ...]]:
    """Pairs and all organs; of many organs those that overlap."""
    groups = groups_of(covered.organs)
    if len(covered.organs) <= FEW_ORGANS:
        return groups
    return [group for group in groups if covered.shared_px(group).any()]


def _positions(annotations: Annotations, present: np.ndarray) -> dict[str, PositionProfile]:
    numbers, scans = annotations.table["slice"].to_numpy(np.int64), annotations.scan_codes
    kinds = dict(zip(annotations.organs, present.T, strict=True)) | {ANY: present.any(axis=1)}
    return {name: position_profile(held, numbers, scans) for name, held in kinds.items()}


def _gaps(annotations: Annotations, present: np.ndarray) -> tuple[Gap, ...]:
    kinds = zip(annotations.organs, present.T, strict=True)
    return tuple(gap for organ, held in kinds for gap in gaps(annotations, organ, held))


def _shown(row: int, group: tuple[str, ...], covered: Coverage, ids: np.ndarray) -> ShownSlice:
    areas_px = dict(zip(covered.organs, covered.areas_px[row].tolist(), strict=True))
    return ShownSlice(str(ids[row]), group, areas_px, int(covered.shared_px(group)[row]))


def _typical(covered: Coverage, counts: SliceCounts, ids: np.ndarray) -> tuple[ShownSlice, ...]:
    """For each number of organs, the typical slice of the most frequent combination.

    Typical: the sum over organs of the distances of log areas from their medians is least.
    """
    frequent = []
    for number in range(1, counts.most_organs + 1):
        kinds = [kind for kind in counts.combinations(number) if counts.exact.get(kind)]
        frequent += [max(kinds, key=counts.exact.__getitem__)] if kinds else []
    if len(frequent) > MOST_SHOWN:
        places = np.linspace(0, len(frequent) - 1, MOST_SHOWN).round().astype(int)
        frequent = [frequent[place] for place in places]
    shown = []
    for group in frequent:
        in_group = np.array([organ in group for organ in covered.organs])
        rows = np.flatnonzero((covered.present == in_group).all(axis=1))
        logs = np.log(covered.areas_px[rows][:, in_group].T)
        distance = np.abs(logs - np.median(logs, axis=1, keepdims=True)).sum(axis=0)  # (rows,)
        shown.append(_shown(int(rows[distance.argmin()]), group, covered, ids))
    return tuple(shown)


def _overlapping(covered: Coverage, ids: np.ndarray) -> tuple[ShownSlice, ...]:
    """The slice of the largest overlap of each pair and of all organs, where there is any."""
    groups = _groups(covered)
    largest = [(group, covered.shared_px(group)) for group in groups]
    overlaps = [(group, int(px.argmax()), int(px.max())) for group, px in largest]
    if len(covered.organs) > FEW_ORGANS:
        overlaps = sorted(overlaps, key=lambda overlap: -overlap[2])[:MOST_SHOWN]
    return tuple(_shown(row, group, covered, ids) for group, row, px in overlaps if px)
