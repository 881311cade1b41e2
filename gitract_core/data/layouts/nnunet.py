"""nnU-Net's raw layout: ``dataset.json``, ``imagesTr/NAME_0000.nii.gz``, ``labelsTr/NAME.nii.gz``.

Version 2 of the format (https://github.com/MIC-DKFZ/nnUNet, documentation/dataset_format.md):
``labels`` names organs with their values, or with lists of values (regions, which may overlap);
``ignore`` among them marks voxels that nobody looked at. A slice that holds such a voxel is not
known for any organ: annotation is known by slice here.
"""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import Any

from gitract_core.clinic.nifti import read_placing
from gitract_core.clinic.orientation import Placing
from gitract_core.data.contents import Contents
from gitract_core.data.gray import CT_GRAY, FIRST_GRAY
from gitract_core.data.ids import natural_key
from gitract_core.data.layouts.description import Annotated, Description
from gitract_core.data.layouts.label_maps import Labels, ScanMasks, read_labels
from gitract_core.data.layouts.names import check_scan
from gitract_core.data.layouts.patients import patients_of
from gitract_core.data.layouts.scan_table import scan_columns
from gitract_core.data.layouts.volumes_table import VolumeScan, VolumeSet
from gitract_core.errors import DataError, FaultyDataError
from gitract_core.files.atomic import read_json

NAME = "dataset.json"
_ENDINGS = (".nii.gz", ".nii")
_BACKGROUND, _IGNORE = "background", "ignore"


def read_nnunet(root: Path, said: Description, patients: str | None) -> Contents:
    """A data set in nnU-Net's raw layout.

    Args:
        root: its folder.
        said: what ``dataset.yaml`` says; its organs, channels and so on come before the JSON's.
        patients: see ``patients``.

    Raises:
        DataError: a file is missing or faulty, or nothing tells which patient a scan is of.
    """
    where = root / NAME
    values = read_json(where, dict[str, Any], "restore the file")
    ending = values.get("file_ending", _ENDINGS[0])
    if ending not in _ENDINGS:
        expected = f"file_ending {' or '.join(_ENDINGS)}"
        raise DataError(where, expected, repr(ending), "convert the images to NIfTI")
    channels = _channels(where, values)
    labels = labels_of(where, values)
    if said.organs:
        labels = Labels(_as_values(root, said), labels.ignore, said.background)
    scans = _scans(root, ending, len(channels), labels, said)
    organs = said.named(root, tuple(labels.values))
    volumes = VolumeSet(root, scans, organs, said.slice_axis, read_placing)
    found = patients_of(patients, [scan.name for scan in scans], root)
    table, known = volumes.table(found.of_scan)
    channels = tuple(said.channels or channels)
    grays = [CT_GRAY if name.upper() == "CT" else FIRST_GRAY for name in channels]
    gray = grays[0] if len(set(grays)) == 1 else "+".join(grays)
    return Contents(
        table,
        organs,
        known,
        scan_columns(root, table, found.more, said.columns),
        gray=said.gray_of(root, channels, gray),
        channels=channels,
        layout="nnU-Net",
        assumed=_assumed(labels, said),
    )


def _assumed(labels: Labels, said: Description) -> tuple[str, ...]:
    lines = []
    if said.annotated is None:
        lines.append("An organ that a label map does not hold is not there (annotated: all).")
    if labels.ignore is not None:
        lines.append("A slice with a voxel of the ignore label is unknown for every organ.")
    return tuple(lines)


def _channels(where: Path, values: dict[str, Any]) -> tuple[str, ...]:
    named = values.get("channel_names", values.get("modality"))
    right = isinstance(named, dict) and sorted(named) == sorted(map(str, range(len(named))))
    if not isinstance(named, dict) or not right or not named:
        expected = 'channel_names as in {"0": "T2"}'
        raise DataError(where, expected, f"{named!r:.60}", "correct the file")
    return tuple(str(named[str(place)]) for place in range(len(named)))


def labels_of(where: Path, values: dict[str, Any]) -> Labels:
    """The organs of a ``dataset.json`` and their label values.

    Args:
        where: the file.
        values: what it holds.

    Raises:
        DataError: no labels, or values that are none.
    """
    named = values.get("labels")
    if not isinstance(named, dict) or not named:
        expected = 'labels as in {"background": 0, "stomach": 1}'
        raise DataError(where, expected, f"{named!r:.60}", "correct the file")
    found: dict[str, tuple[int, ...]] = {}
    for name, value in named.items():
        entries = value if isinstance(value, list) else [value]
        if not all(type(entry) is int and entry >= 0 for entry in entries) or not entries:
            expected = "a label value from 0, or a list of them"
            raise DataError(f"{where}, label {name}", expected, f"{value!r:.60}", "correct it")
        if 0 in entries and len(entries) > 1:
            expected = "a region without 0, which is background"
            raise DataError(f"{where}, label {name}", expected, entries, "correct it")
        found[name] = tuple(entries)
    ignore = _ignore(where, found)
    organs = {name: v for name, v in found.items() if name != _BACKGROUND and v != (0,)}
    if not organs:
        raise DataError(where, "a label beside background", "none", "correct the file")
    twins = [n for n, v in organs.items() if list(organs.values()).count(v) > 1]
    if twins:
        expected, got = "a value of its own for each label", f"one for {' and '.join(twins)}"
        raise DataError(where, expected, got, "correct the file")
    return Labels(organs, ignore)


def _ignore(where: Path, found: dict[str, tuple[int, ...]]) -> int | None:
    """Takes the ignore label out of the labels of a ``dataset.json``, and checks its value."""
    values = found.pop(_IGNORE, None)
    if values is None:
        return None
    place = f"{where}, label {_IGNORE}"
    if len(values) > 1:
        raise DataError(
            place, "one value", list(values), "write the same value into all label maps"
        )
    of_others = {0: _BACKGROUND} | {v: name for name, vs in found.items() for v in vs}
    if values[0] in of_others:
        got = f"{values[0]}, which {of_others[values[0]]} has too"
        raise DataError(place, "a value of its own", got, "correct it")
    return values[0]


def _as_values(root: Path, said: Description) -> dict[str, tuple[int, ...]]:
    organs = {
        name: tuple(v for v in values if isinstance(v, int))
        for name, values in (said.organs or {}).items()
    }
    if not all(organs.values()):
        where = f"{root / 'dataset.yaml'}, key organs"
        raise DataError(where, "label values, as the labels are label maps", "names", "correct it")
    return organs


def _scans(
    root: Path, ending: str, channels: int, labels: Labels, said: Description
) -> list[VolumeScan]:
    """One a file of ``labelsTr`` or ``imagesTr``.

    Raises:
        FaultyDataError: every label without images, image without a label, and missing channel.
    """
    images, truths = root / "imagesTr", root / "labelsTr"
    for folder in (images, truths):
        if not folder.is_dir():
            raise DataError(folder, "a folder", "none", "complete the data set")
    ends = tuple((said.channels or {str(n): f"_{n:04d}" for n in range(channels)}).values())
    any_channel = re.compile(rf"(.+)_\d{{4}}{re.escape(ending)}", re.ASCII)
    named = {m[1] for f in _visible(images) if (m := any_channel.fullmatch(f.name))}
    labeled = {f.name.removesuffix(ending) for f in _visible(truths) if f.name.endswith(ending)}
    faults, scans = [], []
    for name in sorted(named | labeled, key=natural_key):
        files = (truths / f"{name}{ending}", *(images / f"{name}{end}{ending}" for end in ends))
        missing = [file for file in files if not file.is_file()]
        if missing:
            what = "a label map" if missing[0] == files[0] else "an image of this channel"
            faults.append(DataError(missing[0], what, "none", "restore or remove the scan's files"))
            continue
        try:
            check_scan(files[1], name)
        except DataError as error:
            faults.append(error)
        annotate = partial(_annotate, files[0], labels, said)
        scans.append(VolumeScan(name, files[1:], annotate))
    if not scans and not faults:
        faults.append(DataError(images, f"NAME_0000{ending}", "none", "complete the data set"))
    if faults:
        raise FaultyDataError(*faults)
    return scans


def _annotate(file: Path, labels: Labels, said: Description, image: Placing) -> ScanMasks:
    annotated: Annotated = said.annotated or "all"
    return labels.scan(file, read_labels(file, image, said.slice_axis), annotated)


def _visible(folder: Path) -> list[Path]:
    return [file for file in folder.iterdir() if not file.name.startswith(".")]
