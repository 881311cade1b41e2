"""The contest's layout: ``train.csv`` and ``train/``, or scans without masks."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from gitract_core.data.contents import Contents
from gitract_core.data.contest.images import IMAGE_COLUMNS, read_images
from gitract_core.data.contest.train_csv import MaskRows, read_annotations, rows_in_words
from gitract_core.data.scan_columns import SCAN_COLUMNS, read_scan_columns
from gitract_core.data.telling import Tell, stop
from gitract_core.errors import DataError, counted

NO_IMAGE = "an image of this slice below train/"
"""What a row of ``train.csv`` without an image lacks."""


def read_contest_data(root: Path, tell: Tell = stop) -> Contents:
    """A folder with ``train.csv`` and ``train/``, or any folder with scans below it.

    Args:
        root: the folder.
        tell: what to do with a faulty image or row; slices that lack one of both are left out.

    Raises:
        DataError: a missing file, column or image, an image whose size is not the one in its name,
            a PNG that is cut short, faulty rows of ``train.csv``.
    """
    if not (root / "train.csv").is_file():
        if (root / "train").is_dir():
            raise DataError(root / "train.csv", "a file", "none", "add the annotations")
        return Contents(read_images(root, root, tell))
    if not (root / "train").is_dir():
        raise DataError(root / "train", "a folder of cases", "none", "unpack the images")
    images = read_images(root, root / "train", tell)
    return _joined(root, images, read_annotations(root / "train.csv", tell), tell)


def _joined(root: Path, images: pd.DataFrame, rows: MaskRows, tell: Tell) -> Contents:
    """Images with their masks; every image must have its rows and the other way round."""
    masks = rows.masks
    for ids, others, what in (
        (masks.index, images["id"], NO_IMAGE),
        (images["id"], masks.index, f"{rows_in_words(rows.organs)} of this slice in train.csv"),
    ):
        lonely = ids[~ids.isin(others)]
        for name in lonely:
            many = counted(len(lonely), "such slice")
            got = f"none ({many})" if tell is stop else "none"
            tell(DataError(f"{root}, id {name}", what, got, "restore the missing files or rows"))
    images = images[images["id"].isin(masks.index)].reset_index(drop=True)
    order = masks.index.get_indexer(pd.Index(images["id"]))
    columns = {organ: masks[organ].to_numpy()[order] for organ in rows.organs}
    taken = [organ for organ in rows.organs if organ in (*IMAGE_COLUMNS, *SCAN_COLUMNS)]
    if taken:
        raise DataError(root / "train.csv", "another name of a class", taken[0], "rename it")
    known = None if rows.known is None else rows.known[order]
    more = read_scan_columns(root / "scans.csv", images["scan"].unique())
    return Contents(images.assign(**columns), rows.organs, known, more)
