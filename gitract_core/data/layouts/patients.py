"""Which patient a scan is of, where the layout does not say it. Folds are by patient, always."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from gitract_core.data.ids import check_name
from gitract_core.errors import DataError, counted, suggestion

ONE_A_FILE = "one-a-file"
"""Every scan is another patient's."""
RULES = f"{ONE_A_FILE}, a pattern whose first group is the patient, or a table scan,patient"


@dataclass(frozen=True)
class Patients:
    """The patient of each scan, and what more a table says of scans.

    Attributes:
        of_scan: scan -> patient.
        more: further columns of the table, index scan, or None.
    """

    of_scan: dict[str, str]
    more: pd.DataFrame | None = None


def patients_of(rule: str | None, scans: Sequence[str], root: Path) -> Patients:
    """The patients of scans.

    Args:
        rule: ``one-a-file``; or the path of a table with columns ``scan`` and ``patient``, from the
            current folder or from ``root``; or else a regular expression that is found in the
            scan's name, whose first group is the patient.
        scans: their names.
        root: the data set's folder.

    Raises:
        DataError: no rule; a pattern or table that leaves a scan without a patient.
    """
    if rule is None:
        expected = "a rule which patient a scan is of, as folds keep patients together"
        raise DataError(root, expected, "none", f"pass --patients: {RULES}")
    if rule == ONE_A_FILE:
        return Patients({scan: scan for scan in scans})
    for table in (Path(rule), root / rule):  # an existing file is a table
        if table.is_file():
            return _of_table(table, scans)
    return Patients(_of_pattern(rule, scans))


def _of_pattern(rule: str, scans: Sequence[str]) -> dict[str, str]:
    try:
        pattern = re.compile(rule, re.ASCII)
    except re.error as error:
        raise DataError(
            f"--patients {rule}", RULES, f"a bad pattern: {error}", "correct it"
        ) from None
    if not pattern.groups:
        raise DataError(f"--patients {rule}", RULES, "a pattern without a group", "add ( )")
    found = {scan: pattern.search(scan) for scan in scans}
    without = [scan for scan, match in found.items() if not (match and match[1])]
    if without:
        got = (
            f"{without[0]}, which it does not fit ({len(without)} of {counted(len(scans), 'scan')})"
        )
        raise DataError(f"--patients {rule}", "a pattern that fits every scan", got, "correct it")
    named = {scan: match[1] for scan, match in found.items() if match}
    for scan, name in named.items():
        _check(f"--patients {rule}, scan {scan}", name)
    return named


def _of_table(path: Path, scans: Sequence[str]) -> Patients:
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise DataError(path, "a CSV table", str(error).splitlines()[0], "restore it") from None
    for column in ("scan", "patient"):
        if column not in table.columns:
            got = ", ".join(map(str, table.columns))
            remedy = "separate columns by commas" if ";" in got or "\t" in got else "add it"
            raise DataError(path, f"a column {column!r}", got, remedy)
        if f"{column}.1" in table.columns:  # so pandas calls the second of a name
            raise DataError(path, "each column once", f"{column} twice", "remove one of the two")
    twice = table["scan"].duplicated()
    if twice.any():
        raise DataError(path, "one row a scan", f"{table['scan'][twice].iloc[0]} twice", "drop one")
    rows = table.set_index("scan")
    for scan in scans:
        if scan not in rows.index:
            remedy = suggestion(scan, list(rows.index)) + ", or add a row"
            raise DataError(path, f"a row of scan {scan}", "none", remedy)
        _check(f"{path}, scan {scan}", rows["patient"][scan])
    rows = rows.loc[list(scans)]
    more = rows.drop(columns="patient")
    return Patients(
        dict(zip(scans, rows["patient"], strict=True)), more if len(more.columns) else None
    )


def _check(where: str, name: str) -> None:
    try:
        check_name("patient", name)
    except DataError as error:
        raise error.within(where) from None
