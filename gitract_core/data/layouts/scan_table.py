"""What more is known of scans: ``scans.csv``, and the further columns of a table of patients."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from gitract_core.data.scan_columns import SCAN_COLUMNS, read_scan_columns


def scan_columns(
    root: Path, table: pd.DataFrame, more: pd.DataFrame | None, further: Sequence[str]
) -> pd.DataFrame | None:
    """Columns by scan, from ``scans.csv``, else from the table of patients.

    Args:
        root: the data set's folder.
        table: rows of the slice index.
        more: of the table of patients; columns of unknown names are left out.
        further: names of columns beside ``SCAN_COLUMNS``.

    Raises:
        DataError: a faulty ``scans.csv``.
    """
    scans = table["scan"].unique()
    found = read_scan_columns(root / "scans.csv", scans, further)
    if found is not None or more is None:
        return found
    kept = [column for column in more.columns if column in (*SCAN_COLUMNS, *further)]
    return more.loc[list(scans), kept].rename_axis("scan") if kept else None
