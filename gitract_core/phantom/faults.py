"""Planted annotation faults, to see whether an audit finds them.

The kinds are those on the contest organizers' own list of bad scans: organs swapped, masks moved,
slices without annotation. ``faults.csv`` beside ``train.csv`` says what was planted where.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from gitract_core.data import rle
from gitract_core.data.slices import SliceIndex
from gitract_core.errors import DataError
from gitract_core.files.atomic import write_bytes
from gitract_core.organs import Organs
from gitract_core.phantom.phantom_spec import generator

KINDS = ("swapped", "moved", "dropped")


@dataclass(frozen=True, slots=True)
class PlantedFault:
    """One faulty scan.

    Attributes:
        scan: its name.
        kind: one of ``KINDS``.
        detail: what was done, in words.
    """

    scan: str
    kind: str
    detail: str


def plant_faults(directory: Path, share: float, seed: int = 0) -> list[PlantedFault]:
    """Spoil the annotation of some scans of a contest folder; kinds take turns.

    Args:
        directory: with ``train.csv``, which is rewritten.
        share: of the annotated scans, above 0, up to 1; at least one scan.
        seed: chooses scans and faults.

    Returns:
        What was planted, also written to ``faults.csv``.

    Raises:
        DataError: faults were planted there before, the share is out of range, or nothing is
            annotated.
    """
    if not 0 < share <= 1:
        raise DataError("share of faults", "above 0, up to 1", share, "pass 0.04, for example")
    if (directory / "faults.csv").exists():
        raise DataError(directory / "faults.csv", "no faults yet", "the file", "use a new folder")
    index = SliceIndex.from_directory(directory)
    table, organs = index.table.copy(), index.organs
    held = (index.organ_counts > 0) if index.annotated else np.zeros(len(table), bool)
    scans = sorted(table.loc[held, "scan"].unique())
    if not scans:
        raise DataError(directory, "annotated scans", "none", "pass a folder with masks")
    random = generator(seed, "faults")
    count = max(1, round(share * len(scans)))
    chosen = [str(s) for s in random.choice(scans, count, replace=False)]
    planted = []
    for number, scan in enumerate(chosen):
        kinds = KINDS if len(organs) > 1 else KINDS[1:]
        kind = kinds[number % len(kinds)]
        rows = table.index[table["scan"] == scan]
        detail = _SPOIL[kind](table, rows, random, organs)
        planted.append(PlantedFault(scan, kind, detail))
    _write(directory, replace(index, table=table), planted)
    return planted


def _swap(table: pd.DataFrame, rows: pd.Index, random: np.random.Generator, organs: Organs) -> str:
    there = [organ for organ in organs if (table.loc[rows, organ] != "").any()]
    others = [organ for organ in organs if organ not in there]
    a, b = [str(o) for o in random.permutation([*there, *others][: max(2, len(there))])[:2]]
    table.loc[rows, [a, b]] = table.loc[rows, [b, a]].to_numpy()
    return f"{a} and {b}"


def _move(table: pd.DataFrame, rows: pd.Index, random: np.random.Generator, organs: Organs) -> str:
    height, width = (int(table.loc[rows[0], side]) for side in ("height", "width"))
    far = [
        int(random.integers(round(0.06 * side), round(0.15 * side) + 1)) for side in (height, width)
    ]
    down, right = (int(random.choice([-1, 1])) * step for step in far)
    for organ in organs:
        for row in rows:
            if table.loc[row, organ]:
                mask = rle.decode(str(table.loc[row, organ]), height, width)
                table.loc[row, organ] = rle.encode(_moved(mask, down, right))
    return f"{down:+d} px down, {right:+d} px right"


def _moved(mask: np.ndarray, down: int, right: int) -> np.ndarray:
    height, width = mask.shape
    wide = np.pad(mask, ((abs(down),) * 2, (abs(right),) * 2))
    top, left = abs(down) - down, abs(right) - right
    moved: np.ndarray = wide[top : top + height, left : left + width]
    return moved


def _drop(table: pd.DataFrame, rows: pd.Index, random: np.random.Generator, organs: Organs) -> str:
    held = rows[(table.loc[rows, list(organs)] != "").any(axis=1)]
    count = max(1, round(float(random.uniform(0.25, 0.5)) * len(held)))
    first = int(random.integers(0, len(held) - count + 1))
    lost = held[first : first + count]
    table.loc[lost, list(organs)] = ""
    first_slice, last_slice = (int(table.loc[place, "slice"]) for place in (lost[0], lost[-1]))
    return f"slices {first_slice} to {last_slice}"


_SPOIL = {"swapped": _swap, "moved": _move, "dropped": _drop}


def _write(directory: Path, index: SliceIndex, planted: list[PlantedFault]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("scan", "kind", "detail"))
    writer.writerows((f.scan, f.kind, f.detail) for f in planted)
    table, organs = index.table, index.organs
    long = table.melt(id_vars="id", value_vars=list(organs), ignore_index=False)
    long["order"] = long["variable"].map(organs.place)
    long = long.rename_axis("row").sort_values(["row", "order"])
    content = long[["id", "variable", "value"]].set_axis(["id", "class", "segmentation"], axis=1)
    if index.known is not None:
        content["state"] = np.where(index.known.ravel(), "", "unknown")
    write_bytes(directory / "train.csv", content.to_csv(index=False, lineterminator="\n").encode())
    write_bytes(directory / "faults.csv", text.getvalue().encode())
