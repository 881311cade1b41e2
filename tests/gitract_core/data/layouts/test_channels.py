"""Gray scalings belong to channels by name, and a scan has one file a channel."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from gitract_core.data.slices import SliceIndex
from gitract_core.errors import GitractError
from tests.support.other_layouts import BY_LETTER, write_nnunet, write_pairs


def gray_of(root: Path, text: str) -> str:
    with (root / "dataset.yaml").open("a") as file:
        file.write(text)
    return SliceIndex.from_directory(root, patients=BY_LETTER).gray


def two_channels(root: Path) -> Path:
    write_pairs(root)
    for file in list((root / "images").iterdir()):
        for number in range(2):
            name = file.name.replace(".nii.gz", f"_{number:04d}.nii.gz")
            shutil.copy(file, file.with_name(name))
        file.unlink()
    with (root / "dataset.yaml").open("a") as file_of_keys:
        file_of_keys.write("channels: {T1: _0000, T2: _0001}\n")
    return root


def test_gray_scalings_follow_the_channels_not_their_own_order(tmp_path: Path) -> None:
    text = "gray: {T2: zscore, T1: percentile}\n"
    assert gray_of(two_channels(tmp_path / "pairs"), text) == "percentile99.5-v1+zscore-v1"
    nnunet = write_nnunet(tmp_path / "nnunet", channels=("T1", "T2"))
    assert gray_of(nnunet, text) == "percentile99.5-v1+zscore-v1"


@pytest.mark.parametrize("names", ["T1", "T1 T3", "T1 T2 T3"])
def test_gray_scalings_name_every_channel(names: str, tmp_path: Path) -> None:
    text = f"gray: {{{', '.join(f'{name}: zscore' for name in names.split())}}}\n"
    with pytest.raises(GitractError, match="key gray: expected one for each channel: T1, T2, got"):
        gray_of(two_channels(tmp_path / "d"), text)


def test_a_ct_window_stays_with_its_channel(tmp_path: Path) -> None:
    root = write_nnunet(tmp_path / "d", channels=("MR", "CT"))
    text = "channels: {CT: _0001, MR: _0000}\n"
    assert gray_of(root, text) == "window_-160_240-v1+percentile99.5-v1"


@pytest.mark.parametrize("folder", ["images", "labels"])
def test_two_files_of_one_name_are_refused(folder: str, tmp_path: Path) -> None:
    root = write_pairs(tmp_path / "d")
    (root / folder / "p1_a.nii").write_bytes((root / folder / "p1_a.nii.gz").read_bytes())
    with pytest.raises(GitractError, match=f"{folder}: expected one file a name, got p1_a"):
        gray_of(root, "")
