"""Rows of train.csv, made up."""

from __future__ import annotations

import numpy as np
import pandas as pd

from gitract_core.data.contest.images import in_order
from gitract_core.data.contest.train_csv import wide_annotations
from gitract_core.eda import Annotations
from gitract_core.organs import CONTEST
from tests.support.tiny_contest import slow_encode

ORGANS = CONTEST.names


def rows_of(masks: dict[str, np.ndarray]) -> pd.DataFrame:
    """The table of slices, id -> masks (3, height, width)."""
    return pd.DataFrame(
        [
            {
                "id": name,
                "class": organ,
                "segmentation": slow_encode(mask),
                "height": mask.shape[0],
                "width": mask.shape[1],
            }
            for name, three in masks.items()
            for organ, mask in zip(ORGANS, three, strict=True)
        ]
    )


def annotations_of(rows: pd.DataFrame) -> Annotations:
    """The masks of such a table, its rows in any order."""
    masks = wide_annotations(rows, "rows").masks
    table = masks.join(rows.groupby("id")[["height", "width"]].first()).reset_index()
    names = table["id"].str.extract(r"(case(\d+)_day\d+)_slice_(\d+)")
    table = table.assign(scan=names[0], case=names[1], slice=names[2].astype(int))
    return Annotations(in_order(table))
