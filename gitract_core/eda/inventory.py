"""What a data set consists of: cases, scans, slices, sizes."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from gitract_core.eda.annotations import SPACING_COLUMNS, Annotations


@dataclass(frozen=True)
class SizeRow:
    """Slices of one size; spacings are None where they are not known."""

    height: int
    width: int
    spacing_x_mm: float | None
    spacing_y_mm: float | None
    slices: int
    scans: int


@dataclass(frozen=True)
class Inventory:
    """Counts of a data set.

    Attributes:
        cases: patients.
        scans: case-days.
        slices: images.
        scans_per_case: number of scans -> cases that have so many.
        slices_per_scan: number of slices -> scans that have so many.
        sizes: the most frequent first.
    """

    cases: int
    scans: int
    slices: int
    scans_per_case: dict[int, int]
    slices_per_scan: dict[int, int]
    sizes: tuple[SizeRow, ...]


def take_inventory(annotations: Annotations) -> Inventory:
    """Count cases, scans, slices and sizes."""
    table = annotations.table
    scans = table.drop_duplicates("scan")
    return Inventory(
        cases=int(table["case"].nunique()),
        scans=len(scans),
        slices=len(table),
        scans_per_case=_frequencies(scans["case"].value_counts().tolist()),
        slices_per_scan=_frequencies(table["scan"].value_counts().tolist()),
        sizes=_sizes(annotations),
    )


def _frequencies(counts: list[int]) -> dict[int, int]:
    return dict(sorted(Counter(counts).items()))


def _sizes(annotations: Annotations) -> tuple[SizeRow, ...]:
    table = annotations.table
    columns = ["height", "width", *(c for c in SPACING_COLUMNS if c in table.columns)]
    sizes = table.groupby(columns)["scan"].agg(["size", "nunique"]).reset_index()
    rows = []
    for row in sizes.to_dict("records"):
        x, y = (float(row[c]) if c in row else None for c in SPACING_COLUMNS)
        size = (int(row["height"]), int(row["width"]))
        rows.append(SizeRow(*size, x, y, int(row["size"]), int(row["nunique"])))
    return tuple(sorted(rows, key=lambda row: -row.slices))
