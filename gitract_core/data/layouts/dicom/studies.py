"""Which structure set is of which series, and what a scan is called."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from gitract_core.clinic.structures.structure_set import StructureSet
from gitract_core.data.layouts.dicom.inventory import ImageSeries, Inventory
from gitract_core.data.layouts.names import check_scan
from gitract_core.errors import DataError


@dataclass(frozen=True)
class Study:
    """A scan and what was drawn in it.

    Attributes:
        name: of the scan.
        series: its images.
        structures: None if there are none.
    """

    name: str
    series: ImageSeries
    structures: StructureSet | None = None


@dataclass(frozen=True)
class Studies:
    """What an inventory holds, sorted out.

    Attributes:
        taken: the scans.
        aside: series that no structure set refers to, beside such ones.
        faults: of structure sets, folders and names.
    """

    taken: tuple[Study, ...]
    aside: tuple[ImageSeries, ...]
    faults: tuple[DataError, ...]


def sort_out(root: Path, inventory: Inventory) -> Studies:
    """The scans of a data set.

    A structure set belongs to the series that it names, or else to the only one in its frame of
    reference. Beside a series with a structure set, in its folder or in its study, others are left
    aside; elsewhere each series is a scan.
    """
    faults: list[DataError] = []
    drawn: dict[str, StructureSet] = {}
    known = list({series.uid: series for series in reversed(inventory.series)}.values())
    for found in inventory.structure_sets:
        try:
            series = _series_of(found, known)
            if series.uid in drawn:
                got = f"another beside {drawn[series.uid].file}"
                expected, remedy = "one structure set a series", "take one of them out"
                raise DataError(found.file, expected, got, remedy)
            drawn[series.uid] = found
        except DataError as error:
            faults.append(error)
    studies = {(s.study, s.patient) for s in inventory.series if s.uid in drawn}
    folders = [_common(s.folder, drawn[s.uid]) for s in inventory.series if s.uid in drawn]
    taken: list[ImageSeries] = []
    aside: list[ImageSeries] = []
    for series in inventory.series:
        beside = (series.study, series.patient) in studies
        beside = beside or any(
            f != root and f in (series.folder, *series.folder.parents) for f in folders
        )
        (aside if beside and series.uid not in drawn else taken).append(series)
    named = [Study(*one) for one in _named(root, taken, drawn)]
    faults += _name_faults(named)
    return Studies(tuple(named), tuple(aside), tuple(faults))


def _series_of(found: StructureSet, known: Sequence[ImageSeries]) -> ImageSeries:
    """The series of a structure set.

    Raises:
        DataError: none, several, or one in another frame of reference.
    """
    frames = [frame for frame in found.frames_of_reference if frame]
    named = [series for series in known if series.uid in found.series]
    if named and frames:
        alike = [s for s in named if not s.frame_of_reference or s.frame_of_reference in frames]
        if not alike:
            expected = f"the frame of reference of its series ({named[0].frame_of_reference})"
            remedy = "export series and structure set together"
            raise DataError(found.file, expected, f"another ({frames[0]})", remedy)
        named = alike
    named = named or [series for series in known if series.frame_of_reference in frames]
    if not named:
        uid = ", ".join(found.series) or "not named"
        expected, remedy = (
            f"the series that it refers to ({uid})",
            "restore it, or take the file out",
        )
        raise DataError(found.file, expected, "none in the data set", remedy)
    if len(named) > 1:
        got = f"{len(named)}, in {named[0].folder} and {named[1].folder}"
        raise DataError(found.file, "one series that it refers to", got, "export one set a series")
    return named[0]


def _common(folder: Path, structures: StructureSet | None) -> Path:
    """The folder of a series and its structure set."""
    if structures is None:
        return folder
    return Path(os.path.commonpath([folder, structures.file.parent]))


def _named(
    root: Path, taken: Sequence[ImageSeries], drawn: dict[str, StructureSet]
) -> Iterator[tuple[str, ImageSeries, StructureSet | None]]:
    """Scans are called by the folder of all their files, or of their images if others lie there."""
    for series in taken:
        structures = drawn.get(series.uid)
        folder = _common(series.folder, structures)
        inside = [s for s in taken if folder in (s.folder, *s.folder.parents)]
        parts = (folder if len(inside) == 1 else series.folder).relative_to(root).parts
        yield "_".join(parts) or root.resolve().name, series, structures


def _name_faults(studies: Sequence[Study]) -> Iterator[DataError]:
    times = Counter(study.name for study in studies)
    first: dict[str, ImageSeries] = {}
    for study in studies:
        other = first.setdefault(study.name, study.series)
        folder = study.series.folder
        if times[study.name] > 1 and other is not study.series:
            if other.folder == folder:
                got = f"several: {other.files[0].name} and {study.series.files[0].name} differ"
                remedy = "put each series in a folder of its own"
                yield DataError(folder, "one series", got, remedy)
            else:
                expected, got = f"a scan of its own, {study.name}", f"that of {other.folder} too"
                yield DataError(folder, expected, got, "rename one of the folders")
            continue
        try:
            check_scan(folder, study.name)
        except DataError as error:
            yield error
