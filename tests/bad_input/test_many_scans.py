"""Many scans and one that is bad, the last: it is refused before anything is written."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import pytest
from pydicom.dataset import FileDataset

from tests.bad_input.test_scans import PREDICT, good, write
from tests.support.clinic_files import axial_series, block
from tests.support.refusing import refused, run_cli

Change = Callable[[bytes], bytes]

BAD: dict[str, Change] = {
    "header": lambda old: old[:100],
    "voxels cut short": lambda old: old[:-100],
}


@pytest.mark.parametrize("damage", BAD)
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_nifti(home: Path, suffix: str, damage: str) -> None:
    (home / "ward").mkdir()
    for name in ("a", "b", "c"):
        content = BAD[damage](good()) if name == "c" else good()
        file = home / f"ward/{name}{suffix}"
        file.write_bytes(gzip.compress(content) if suffix == ".nii.gz" else content)
    refused(home, f"{PREDICT} ward", naming=f"c{suffix}")


def test_a_checksum_of_the_last(home: Path) -> None:
    (home / "ward").mkdir()
    for name in ("a", "b", "c"):
        content = gzip.compress(good())
        content = content[:-8] + bytes(8) if name == "c" else content
        (home / f"ward/{name}.nii.gz").write_bytes(content)
    refused(home, f"{PREDICT} ward", naming="c.nii.gz")


def pixels_cut_short(image: FileDataset) -> None:
    image.PixelData = bytes(20)


def no_study(image: FileDataset) -> None:
    del image.StudyInstanceUID


def no_class(image: FileDataset) -> None:
    del image.SOPClassUID


@pytest.mark.parametrize("change", [pixels_cut_short, no_study, no_class])
def test_dicom(home: Path, change: Callable[[FileDataset], None]) -> None:
    """Only pixels or only what an RTSTRUCT refers to: the headers as such are in order."""
    (home / "ward").mkdir()
    for name in ("a", "b", "c"):
        images = axial_series(block())
        if name == "c":
            change(images[3])
        write(home / "ward" / name, images)
    assert run_cli(*f"{PREDICT} ward/a".split()).code == 0
    refused(home, f"{PREDICT} ward", naming="c")


def test_contest_scans(home: Path) -> None:
    """As a submission and as NIfTI; the damage is in the pixels of the last scan's last slice."""
    (last,) = home.glob("tiny/train/case20/case20_day1/scans/slice_0006_*.png")
    content = bytearray(last.read_bytes())
    content[len(content) // 2] ^= 0xFF
    last.write_bytes(bytes(content))
    for how in ("--out out", "--out out --format nifti"):
        command = f"predict run/ensembles/one {how} --images tiny/train"
        refused(home, command, naming=last.name)


def test_dicom_series_behind_links(home: Path) -> None:
    (home / "ward").mkdir()
    write(home / "series", axial_series(block()))
    (home / "ward/a").symlink_to(home / "series", target_is_directory=True)
    write(home / "ward/b", axial_series(block()))
    ended = run_cli(*f"{PREDICT} ward".split())
    assert (ended.code, "files of 2 scans" in ended.out) == (0, True), ended
