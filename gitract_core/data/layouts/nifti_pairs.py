"""NIfTI pairs: ``images/NAME.nii.gz`` and ``labels/``, and images alone.

``labels/`` holds one label map a scan, ``NAME.nii.gz``, or one mask file an organ: in a folder,
``NAME/stomach.nii.gz``, or side by side, ``NAME_stomach.nii.gz``, as ``predict`` writes them. Mask
files may overlap. A mask file that is missing says that nobody looked for the organ; one without a
voxel says that it is not there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from gitract_core.clinic.file_kinds import is_nifti
from gitract_core.clinic.nifti import read_placing, scan_name
from gitract_core.clinic.orientation import Placing
from gitract_core.data.contents import ONE_CHANNEL, Contents
from gitract_core.data.gray import CURRENT_GRAY
from gitract_core.data.ids import natural_key
from gitract_core.data.layouts.description import NAME as DESCRIPTION
from gitract_core.data.layouts.description import Description
from gitract_core.data.layouts.label_maps import Labels, ScanMasks, read_labels
from gitract_core.data.layouts.names import check_scan
from gitract_core.data.layouts.patients import ONE_A_FILE, patients_of
from gitract_core.data.layouts.scan_table import scan_columns
from gitract_core.data.layouts.volumes_table import VolumeScan, VolumeSet
from gitract_core.data.native import along
from gitract_core.errors import DataError, FaultyDataError
from gitract_core.organs import CONTEST, Organs

_UNLABELED = "{} of {} scans have no labels: nothing is known of their organs."


def read_nifti_pairs(root: Path, said: Description, patients: str | None) -> Contents:
    """A data set of images and labels.

    Args:
        root: its folder, with ``images/`` and ``labels/``.
        said: what ``dataset.yaml`` says.
        patients: see ``patients``.

    Raises:
        DataError: a file is missing or faulty, nothing tells which patient a scan is of, or label
            values have no organs.
    """
    images = _images(root / "images", said.channels)
    labels = _LabelFiles.of(root / "labels", list(images))
    channels = tuple(said.channels or ONE_CHANNEL)
    organs = labels.organs(root, said)
    scans = [VolumeScan(n, files, labels.annotate(n, organs, said)) for n, files in images.items()]
    named = said.named(root, tuple(organs))
    volumes = VolumeSet(root, scans, named, said.slice_axis, read_placing)
    found = patients_of(patients, list(images), root)
    table, known = volumes.table(found.of_scan)
    return Contents(
        table,
        named,
        known,
        scan_columns(root, table, found.more, said.columns),
        gray=said.gray_of(root, channels, CURRENT_GRAY),
        channels=channels,
        layout="NIfTI pairs",
        assumed=labels.assumed(len(images), said),
    )


def read_nifti_images(
    root: Path, said: Description, patients: str | None, folder: Path
) -> Contents:
    """Images without labels.

    Args:
        root: the data set's folder.
        said: likewise.
        patients: likewise; each scan another patient by default, as there is nothing to train on.
        folder: that holds the images.

    Raises:
        DataError: a file is faulty.
    """
    images = _images(folder, said.channels)
    scans = [VolumeScan(name, files) for name, files in images.items()]
    found = patients_of(patients or ONE_A_FILE, list(images), root)
    table, _ = VolumeSet(root, scans, None, said.slice_axis, read_placing).table(found.of_scan)
    channels = tuple(said.channels or ONE_CHANNEL)
    gray = said.gray_of(root, channels, CURRENT_GRAY)
    organs = Organs(tuple(said.organs)) if said.organs else CONTEST
    return Contents(table, organs, gray=gray, channels=channels, layout="NIfTI images")


def _images(folder: Path, channels: Mapping[str, str] | None) -> dict[str, tuple[Path, ...]]:
    """The files of each scan, one a channel.

    Raises:
        FaultyDataError: every missing channel, and every name that may not stand in ids.
    """
    files = _by_name(folder)
    if not files:
        raise DataError(folder, "NIfTI files (.nii, .nii.gz)", "none", "check the path")
    ends = tuple(channels.values()) if channels else ("",)
    names = {n.removesuffix(end) for n in files for end in ends if n.endswith(end)}
    found, faults = {}, []
    for name in sorted(names, key=natural_key):
        missing = [end for end in ends if name + end not in files]
        if missing:
            where, remedy = folder / f"{name}{missing[0]}.nii.gz", "restore the file"
            faults.append(DataError(where, "an image of this channel", "none", remedy))
            continue
        try:
            check_scan(files[name + ends[0]], name)
        except DataError as error:
            faults.append(error)
        found[name] = tuple(files[name + end] for end in ends)
    if faults:
        raise FaultyDataError(*faults)
    return found


def _by_name(folder: Path) -> dict[str, Path]:
    """NIfTI files by their names without suffix.

    Raises:
        DataError: two of one name, as nothing says which one is meant.
    """
    found: dict[str, Path] = {}
    for file in sorted(folder.iterdir()):
        if is_nifti(file) and found.setdefault(scan_name(file), file) != file:
            got = f"{scan_name(file)} as .nii and as .nii.gz"
            raise DataError(folder, "one file a name", got, "remove one of the two")
    return found


@dataclass(frozen=True)
class _LabelFiles:
    """Where the labels of scans are.

    Attributes:
        folder: that holds them.
        maps: label map of a scan.
        masks: mask files of a scan by organ.
    """

    folder: Path
    maps: Mapping[str, Path]
    masks: Mapping[str, Mapping[str, Path]]

    @classmethod
    def of(cls, folder: Path, scans: Sequence[str]) -> _LabelFiles:
        """Those in a folder.

        Raises:
            FaultyDataError: every file that belongs to no scan.
        """
        maps: dict[str, Path] = {}
        masks: dict[str, dict[str, Path]] = {}
        faults = []
        _by_name(folder)
        known = sorted(scans, key=len, reverse=True)  # the longest name that fits
        for file in sorted(folder.iterdir()):
            if file.is_dir() and file.name in scans:
                masks.setdefault(file.name, {}).update(_by_name(file))
                continue
            if not is_nifti(file):
                continue
            name = scan_name(file)
            scan = next((s for s in known if name == s or name.startswith(f"{s}_")), None)
            if scan is None:
                faults.append(DataError(file, "an image of this name", "none", "restore it"))
            elif name == scan:
                maps[scan] = file
            else:
                masks.setdefault(scan, {})[name.removeprefix(f"{scan}_")] = file
        if maps and masks:
            both = f"{next(iter(maps.values())).name} and masks of {next(iter(masks))}"
            expected = "label maps alone, or mask files alone"
            faults.append(DataError(folder, expected, both, "remove one kind"))
        if not maps and not masks and not faults:
            faults.append(DataError(folder, "label maps or mask files", "none", "add them"))
        if faults:
            raise FaultyDataError(*faults)
        return cls(folder, maps, masks)

    def organs(self, root: Path, said: Description) -> dict[str, tuple[int | str, ...]]:
        """Label values, or names of mask files, of each organ.

        Raises:
            DataError: label maps without names; says what to write.
        """
        if self.maps and not said.organs:
            values = self._values()
            lines = ", ".join(f"organ_{value}: {value}" for value in values)
            remedy = f"write it, as in organs: {{{lines}}}"
            got = f"none, and values {', '.join(map(str, values))} in {self.folder.name}/"
            raise DataError(root / DESCRIPTION, "key organs with a name a value", got, remedy)
        if said.organs:
            values_named = isinstance(next(iter(said.organs.values()))[0], int)
            if values_named != bool(self.maps):
                kind = "label values" if self.maps else "names of mask files"
                where = f"{root / DESCRIPTION}, key organs"
                raise DataError(where, kind, "the other kind", "correct it")
            return dict(said.organs)
        names = {organ for of_scan in self.masks.values() for organ in of_scan}
        return {name: (name,) for name in sorted(names, key=natural_key)}

    def _values(self) -> list[int]:
        from gitract_core.clinic.nifti import read_volume

        found: set[int] = set()
        for file in list(self.maps.values())[:20]:
            found |= {int(value) for value in np.unique(read_volume(file).values)}
        return sorted(found - {0})

    def annotate(
        self, scan: str, organs: Mapping[str, tuple[int | str, ...]], said: Description
    ) -> partial[ScanMasks] | None:
        """What reads a scan's masks; None where it has none."""
        if scan in self.maps:
            values = {n: tuple(v for v in vs if isinstance(v, int)) for n, vs in organs.items()}
            return partial(
                _of_map, self.maps[scan], Labels(values, background=said.background), said
            )
        if scan in self.masks:
            names = {n: tuple(map(str, entries)) for n, entries in organs.items()}
            return partial(_of_files, self.folder / scan, self.masks[scan], names, said)
        return None

    def assumed(self, scans: int, said: Description) -> tuple[str, ...]:
        """What was taken for granted, a sentence each."""
        lines = []
        without = scans - len(self.maps or self.masks)
        if without:
            lines.append(_UNLABELED.format(without, scans))
        if said.annotated is None and self.maps:
            lines.append("An organ that a label map does not hold is not there (annotated: all).")
        elif said.annotated is None:
            lines.append(
                "An organ without a mask file is unknown in that scan (annotated: listed)."
            )
        return tuple(lines)


def _of_map(file: Path, labels: Labels, said: Description, image: Placing) -> ScanMasks:
    values = read_labels(file, image, said.slice_axis)
    return labels.scan(file, values, said.annotated or "all")


def _of_files(
    where: Path,
    files: Mapping[str, Path],
    organs: Mapping[str, tuple[str, ...]],
    said: Description,
    image: Placing,
) -> ScanMasks:
    strange = set(files) - {name for names in organs.values() for name in names}
    if strange:
        file, expected = files[min(strange)], f"masks of {', '.join(organs)}"
        raise DataError(file, expected, min(strange), "name it in dataset.yaml, or remove it")
    shape = along(np.broadcast_to(np.uint8(0), image.turned_shape), said.slice_axis).shape
    masks = np.zeros((len(organs), *shape), np.bool_)
    for channel, names in enumerate(organs.values()):
        for name in names:
            if name in files:
                masks[channel] |= _mask(files[name], image, said.slice_axis)
    named = [any(name in files for name in names) for names in organs.values()]
    return ScanMasks.of(masks, named, said.annotated or "listed")


def _mask(file: Path, image: Placing, axis: str) -> np.ndarray:
    values = read_labels(file, image, axis)
    found = np.unique(values)
    if len(found) > 2 or (len(found) == 2 and found[0] != 0):
        got = f"values {', '.join(map(str, found[:5].tolist()))}"
        remedy = "write one mask file an organ, or label maps alone"
        raise DataError(file, "a mask: 0 outside and one value inside", got, remedy)
    return np.asarray(values != 0)
