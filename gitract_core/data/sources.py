"""Every scan below a path, of the one kind that lies there; nothing is read before it is needed."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from gitract_core.clinic.dicom import read_dicom
from gitract_core.clinic.file_kinds import Kind, files_below, is_dicom, is_nifti
from gitract_core.clinic.nifti import read_nifti, scan_name
from gitract_core.clinic.orientation import Placing
from gitract_core.clinic.scan import Scan, to_16_bits
from gitract_core.clinic.series import holds_images
from gitract_core.data.contents import ONE_CHANNEL
from gitract_core.data.scan_table_faults import scan_doubts
from gitract_core.data.slices import SliceIndex
from gitract_core.data.volumes import load_scan
from gitract_core.errors import DataError

_FIRST_CHANNEL = "_0000"


@dataclass(frozen=True, slots=True)
class Source:
    """A scan that can be read.

    Attributes:
        name: unique among the scans of a path.
        read: reads it; raises DataError.
        others: read the further channels of a scan of several.
    """

    name: str
    read: Callable[[], Scan]
    others: tuple[Callable[[], Scan], ...] = ()


def find_sources(
    path: Path, kind: Kind, *, raw: bool = False, channels: Sequence[str] = ONE_CHANNEL
) -> list[Source]:
    """The scans below a path: contest scans, NIfTI files directly in it, or folders of DICOM files.

    Args:
        path: a folder, or a NIfTI file.
        kind: what lies there.
        raw: read the files' own values, not 16 bits of them: for a gray scaling that is absolute.
        channels: of the images; of several every scan has a NIfTI file a channel, ``NAME_0000``
            and so on.

    Raises:
        DataError: none, two of one name, or a channel is missing.
    """
    if len(channels) > 1:
        return _of_channels(path, kind, channels, raw=raw)
    if kind == "contest":
        index = SliceIndex.from_directory(path)
        found = [Source(scan, partial(read_contest, index, scan)) for scan in index.scans]
    elif kind == "nifti":
        files = [path] if path.is_file() else sorted(f for f in path.iterdir() if is_nifti(f))
        names = [scan_name(f) for f in files]
        if all(name.endswith(_FIRST_CHANNEL) for name in names):  # as nnU-Net names images
            names = [name.removesuffix(_FIRST_CHANNEL) for name in names]
        reads = (partial(read_nifti, f, raw=raw) for f in files)
        found = [Source(name, read) for name, read in zip(names, reads, strict=True)]
    else:
        folders = sorted({f.parent for f in files_below(path) if is_dicom(f)})
        folders = [folder for folder in folders if holds_images(folder)]
        names = [_folder_name(path, folder) for folder in folders]
        wanted = None if raw else "MR"  # an absolute scaling is that of another modality
        read = partial(read_dicom, raw=raw, modality=wanted)
        found = [Source(n, partial(read, f, n)) for n, f in zip(names, folders, strict=True)]
    if not found:
        raise DataError(path, "scans", f"no {kind} images", "check the path")
    name, times = Counter(source.name for source in found).most_common(1)[0]
    if times > 1:
        raise DataError(path, "one scan a name", f"{times} called {name}", "rename one of them")
    return found


def _of_channels(path: Path, kind: Kind, channels: Sequence[str], *, raw: bool) -> list[Source]:
    """Scans of several channels, the files of each."""
    expected = f"NIfTI files NAME_0000 to NAME_{len(channels) - 1:04d} ({', '.join(channels)})"
    if kind != "nifti" or path.is_file():
        raise DataError(path, expected, "other images", "pass a folder of such files")
    files = {scan_name(f): f for f in sorted(path.iterdir()) if is_nifti(f)}
    found = []
    for name in dict.fromkeys(re.sub(r"_\d{4}$", "", name) for name in files):
        each = [files.get(f"{name}_{number:04d}") for number in range(len(channels))]
        there = [file for file in each if file is not None]
        if len(there) < len(each):
            got = f"{len(there)} of {len(each)} for {name}"
            raise DataError(path, expected, got, "restore the missing files")
        first, *others = (partial(read_nifti, file, raw=raw) for file in there)
        found.append(Source(name, first, tuple(others)))
    if not found:
        raise DataError(path, expected, "no such files", "check the path")
    return found


def read_contest(index: SliceIndex, name: str) -> Scan:
    """A scan of the contest; its corner is the origin, as PNGs know no place in the patient.

    Raises:
        DataError: as ``volumes.load_scan``.
    """
    volume = load_scan(index, name)
    slices, rows, columns = volume.spacing_mm
    affine = np.diag([-columns, -rows, -slices, 1.0])  # NIfTI's order, x first: left, back, feet
    shape = volume.images.shape
    placing = Placing((shape[2], shape[1], shape[0]), affine)
    table = index.rows_of_scan(name)
    notes, numbers = tuple(scan_doubts(index.root, table)), tuple(table["slice"].tolist())
    return Scan(name, to_16_bits(volume.images), placing, notes=notes, numbers=numbers)


def _folder_name(path: Path, folder: Path) -> str:
    parts = folder.relative_to(path).parts
    return "_".join(parts) if parts else path.resolve().name
