"""DICOM studies as a data set: MR or CT series, with structure sets or alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np

from gitract_core.clinic.dicom_files import no_warnings
from gitract_core.clinic.orientation import Placing
from gitract_core.clinic.series import read_series
from gitract_core.clinic.structures.planes import Planes
from gitract_core.clinic.structures.reading import draw
from gitract_core.clinic.structures.seg_reading import THRESHOLD
from gitract_core.clinic.structures.structure_set import Region
from gitract_core.data.contents import ONE_CHANNEL, Contents
from gitract_core.data.gray import CT_GRAY, CURRENT_GRAY
from gitract_core.data.ids import check_name, natural_key
from gitract_core.data.layouts.description import NAME as DESCRIPTION
from gitract_core.data.layouts.description import Annotated, Description
from gitract_core.data.layouts.dicom.inventory import HELD_OUT, Inventory, take_inventory
from gitract_core.data.layouts.dicom.roi_names import RoiNames
from gitract_core.data.layouts.dicom.studies import Studies, Study, sort_out
from gitract_core.data.layouts.label_maps import ScanMasks, texts_of
from gitract_core.data.layouts.names import allowed
from gitract_core.data.layouts.patients import ONE_A_FILE, RULES, Patients, patients_of
from gitract_core.data.layouts.scan_table import scan_columns
from gitract_core.data.layouts.volumes_table import VolumeScan, VolumeSet
from gitract_core.data.native import along
from gitract_core.errors import DataError, FaultyDataError, counted
from gitract_core.organs import CONTEST, Organs

_DEFAULT: Annotated = "listed"
_MOST_NAMED = 8
_T = TypeVar("_T")


def read_dicom_studies(root: Path, said: Description, patients: str | None) -> Contents:
    """A data set of DICOM studies.

    Args:
        root: its folder.
        said: what ``dataset.yaml`` says.
        patients: see ``patients``; PatientID by default.

    Raises:
        DataError: a file is faulty, a structure set has no series, regions are no organs, or
            nothing tells which patient a scan is of.
    """
    faults: list[DataError] = []
    inventory = take_inventory(root)
    studies = sort_out(root, inventory)
    faults += (*inventory.faults, *studies.faults)
    if not studies.taken and not faults:
        aside = _counted(inventory.aside)
        got = f"none, and {aside}" if aside else "none"
        raise DataError(root, "DICOM series of two images or more", got, "check the path")
    drawing = _tried(faults, partial(_Drawing.of, root, said, studies))
    of_patients = _tried(faults, partial(_patients, root, patients, studies))
    gray = _tried(faults, partial(_gray, root, said, studies.taken))
    if faults or drawing is None or of_patients is None or gray is None:
        raise FaultyDataError(*faults)
    with no_warnings():
        scans = [drawing.scan(study) for study in studies.taken]
        volumes = VolumeSet(root, scans, drawing.organs, said.slice_axis, drawing.placing)
        table, known = volumes.table(of_patients.of_scan)
    return Contents(
        table,
        drawing.organs or (Organs(tuple(said.organs)) if said.organs else CONTEST),
        known,
        scan_columns(root, table, of_patients.more, said.columns),
        gray=gray,
        channels=tuple(said.channels or ONE_CHANNEL),
        layout="DICOM studies" if drawing.organs else "DICOM series",
        assumed=(*_assumed(inventory, studies, said, patients), *drawing.assumed(studies)),
    )


@dataclass
class _Drawing:
    """Reads what was drawn in studies, and remembers what it met.

    Attributes:
        said: what ``dataset.yaml`` says.
        names: of organs; None where no study has a structure set.
        organs: likewise.
        regions: of each scan and organ.
        planes: of each series that was read, by its path.
        notes: what was left aside, with the number of regions.
    """

    said: Description
    names: RoiNames | None = None
    organs: Organs | None = None
    regions: dict[str, dict[str, list[Region]]] = field(default_factory=dict)
    planes: dict[Path, Planes] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, root: Path, said: Description, studies: Studies) -> _Drawing:
        """Which regions are to be drawn.

        Raises:
            FaultyDataError: every structure set without an organ.
            DataError: names that are no organs.
        """
        sets = [study.structures for study in studies.taken if study.structures]
        if not sets:
            return cls(said)
        names = RoiNames.of(root, said, sets)
        made = cls(said, names, said.named(root, tuple(names.names)))
        faults: list[DataError] = []
        for study in studies.taken:
            if study.structures is not None:
                frame = study.series.frame_of_reference
                found = _tried(faults, partial(names.regions, study.structures, frame))
                made.regions[study.name] = found or {}
        if faults:
            raise FaultyDataError(*faults)
        return made

    def placing(self, path: Path) -> Placing:
        """Where the voxels of a series are; its planes are kept for its masks."""
        series = read_series(path, modality=None)
        self.planes[path] = Planes.of(series)
        try:
            return Placing(series.shape, series.affine)
        except DataError as error:
            raise error.within(path) from None

    def scan(self, study: Study) -> VolumeScan:
        """A study as the table of volumes takes it."""
        annotate = partial(self._masks, study) if study.structures else None
        return VolumeScan(study.name, (study.series.path,), annotate, study.series.files)

    def _masks(self, study: Study, placing: Placing) -> ScanMasks:
        assert study.structures is not None
        of_organs = self.regions[study.name]
        organs = [of_organs.get(organ, []) for organ in self.organs or ()]
        wanted = [region for regions in organs for region in regions]
        drawn = draw(study.structures, wanted, self.planes[study.series.path])
        texts, looked = [], []
        for regions in organs:  # one at a time, as volumes of many organs are large
            mask = np.zeros(placing.shape, np.bool_)
            looked.append(False)
            for found in islice(drawn, len(regions)):
                mask |= found.mask
                looked[-1] |= found.looked
                self.notes += found.notes
            texts.append(texts_of(along(placing.turned(mask), self.said.slice_axis)))
        table = np.array(texts, dtype=object).T
        return ScanMasks.of_texts(table, looked, self.said.annotated or _DEFAULT)

    def assumed(self, studies: Studies) -> list[str]:
        """What was taken for granted about regions, a sentence each."""
        if self.names is None:
            return []
        sets = [study.structures for study in studies.taken if study.structures]
        lines = []
        others = self.names.others(sets)
        if others:
            lines.append(f"Regions that are no organ are left aside: {_counted(others)}.")
        if self.said.annotated is None:
            lines.append(
                "An organ that a structure set does not hold is unknown in that scan; a region "
                "without contours says that the organ is not there (annotated: listed)."
            )
        if any(one.fractional for one in sets):
            lines.append(f"Voxels of fractional segmentations are inside from {THRESHOLD:g} on.")
        if self.notes:
            times = Counter(self.notes)
            lines.append(f"Of regions: {_counted(times)}.")
        return lines


def _tried(faults: list[DataError], read: Callable[[], _T]) -> _T | None:
    """What a step gives; None if it has faults, which are kept."""
    try:
        return read()
    except FaultyDataError as error:
        faults += error.faults
    except DataError as error:
        faults.append(error)
    return None


def _patients(root: Path, rule: str | None, studies: Studies) -> Patients:
    """By the rule, else by PatientID; scans of an unannotated data set need none.

    Raises:
        FaultyDataError: every PatientID that is blank or may be no id.
    """
    taken = studies.taken
    if rule is not None:
        return patients_of(rule, [study.name for study in taken], root)
    faults: list[DataError] = []
    for study in taken:
        patient = study.series.patient
        try:
            check_name("PatientID", patient)
        except DataError as error:
            got = repr(patient) if patient else "none"
            remedy = f"pass --patients: {RULES}"
            if patient:
                remedy = f"write {allowed(patient)} for example, or {remedy}"
            faults.append(
                DataError(study.series.folder, f"a PatientID, {error.args[1]}", got, remedy)
            )
    if faults and not any(study.structures for study in taken):
        return patients_of(ONE_A_FILE, [study.name for study in taken], root)
    if faults:
        raise FaultyDataError(*faults)
    return Patients({study.name: study.series.patient for study in taken})


def _gray(root: Path, said: Description, taken: Sequence[Study]) -> str:
    """The gray scaling that suits the images.

    Raises:
        DataError: images of several modalities; several channels.
    """
    if len(said.channels or ONE_CHANNEL) > 1:
        where = f"{root / DESCRIPTION}, key channels"
        got = ", ".join(said.channels or ())
        remedy = "convert the series to NIfTI pairs to have more"
        raise DataError(where, "one channel, as each study is one series", got, remedy)
    scans: dict[str, list[Path]] = {}
    for study in taken:
        scans.setdefault(study.series.modality, []).append(study.series.folder)
    if len(scans) > 1:
        kinds = ", ".join(f"{kind or 'none'} (in {of[0]})" for kind, of in sorted(scans.items()))
        raise DataError(root, "images of one Modality", kinds, "take the others out")
    default = CT_GRAY if "CT" in scans else CURRENT_GRAY
    return said.gray_of(root, tuple(said.channels or ONE_CHANNEL), default)


def _assumed(
    inventory: Inventory, studies: Studies, said: Description, patients: str | None
) -> list[str]:
    lines = []
    if patients is None and any(study.structures for study in studies.taken):
        lines.append("Patients are told by PatientID, which results then show.")
    without = sum(study.structures is None for study in studies.taken)
    if 0 < without < len(studies.taken):
        scans = counted(len(studies.taken), "scan")
        lines.append(f"{without} of {scans} have no structure set: their organs are unknown.")
    if studies.aside:
        some = studies.aside[0].folder
        lines.append(
            f"{len(studies.aside)} series that no structure set refers to are left aside, "
            f"in {some} for example."
        )
    if inventory.held_out:
        lines.append(f"{counted(inventory.held_out, 'file')} in {HELD_OUT}/ left for testing.")
    if inventory.aside:
        lines.append(f"Left aside: {_counted(inventory.aside)}.")
    return lines


def _counted(times: Mapping[str, int]) -> str:
    """Words with their numbers, the most frequent first.

    >>> _counted({"body": 12, "ptv": 3})
    'body (12), ptv (3)'
    """
    order = sorted(times.items(), key=lambda one: (-one[1], natural_key(one[0])))
    more = f" and {len(order) - _MOST_NAMED} more" if len(order) > _MOST_NAMED else ""
    return ", ".join(f"{word} ({number})" for word, number in order[:_MOST_NAMED]) + more
