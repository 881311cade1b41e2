"""What is known of scans beside their images: the optional table ``scans.csv`` of a data set.

One row a scan: ``scan`` and any of ``site``, ``scanner``, ``sex``, ``date``, as text.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from gitract_core.errors import DataError, suggestion

SCAN_COLUMNS = ("site", "scanner", "sex", "date")


def read_scan_columns(
    path: Path, scans: Iterable[str], further: Iterable[str] = ()
) -> pd.DataFrame | None:
    """The columns of a ``scans.csv``, index scan; None without such a file.

    Args:
        path: the file.
        scans: those of the data set; rows of others are left out, scans without a row get blanks.
        further: columns that it may have beside ``SCAN_COLUMNS``.

    Raises:
        DataError: unreadable, an unknown column, no column ``scan``, a scan twice.
    """
    if not path.is_file():
        return None
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise DataError(path, "a CSV table", str(error).splitlines()[0], "restore it") from None
    allowed = (*SCAN_COLUMNS, *further)
    if "scan" not in table.columns:
        raise DataError(path, "a column 'scan'", ", ".join(table.columns), "add it")
    for column in table.columns:
        if column not in ("scan", *allowed):
            remedy = suggestion(column, allowed)
            raise DataError(path, f"columns {', '.join(allowed)}", repr(column), remedy)
    twice = table["scan"].duplicated()
    if twice.any():
        raise DataError(path, "one row a scan", f"{table['scan'][twice].iloc[0]} twice", "drop one")
    return table.set_index("scan").reindex(pd.Index(list(scans), name="scan"), fill_value="")
