"""Folders of DICOM studies, damaged: commands refuse them in one line, and validate lists all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread

from tests.support.dicom_studies import mask, series, structures, study, write
from tests.support.refusing import refused, run_cli, told_or_refused
from tests.support.structure_files import segmentation
from tests.support.tiny_sweep import SPACE

COMMANDS = (
    "sweep --local --data studies --space space.yaml --out new",
    "eda --data studies",
    "plan --data studies --space space.yaml",
)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory: two studies, and a space."""
    study(tmp_path / "studies" / "a", "p1", 0)
    study(tmp_path / "studies" / "b", "p2", 1)
    (tmp_path / "space.yaml").write_text(SPACE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def another_frame(root: Path) -> None:
    made = dcmread(root / "b/RS")
    made.ReferencedFrameOfReferenceSequence[0].FrameOfReferenceUID = "1.2.3"
    for roi in made.StructureSetROISequence:
        roi.ReferencedFrameOfReferenceUID = "1.2.3"
    made.save_as(root / "b/RS")


def no_series(root: Path) -> None:
    for file in (root / "b").glob("MR*"):
        file.unlink()


def cut_short(root: Path) -> None:
    content = (root / "b/RS").read_bytes()
    (root / "b/RS").write_bytes(content[: len(content) // 2])


def same_series(root: Path) -> None:
    write(root / "c", series("p2", 1))


def other_names(root: Path) -> None:
    (root / "dataset.yaml").write_text("organs: {stomach: stomach, bowel: small bowel}\n")
    images = sorted(
        (dcmread(file) for file in (root / "b").glob("MR*")),
        key=lambda image: image.ImagePositionPatient[2],
    )
    structures(images, {"Magen": (2, 5, 2, 5)}).save_as(root / "b/RS")


FAULTS: dict[str, tuple[Callable[[Path], None], str]] = {
    "an RTSTRUCT of another frame of reference": (another_frame, "b/RS"),
    "an RTSTRUCT beside no series": (no_series, "b/RS"),
    "an RTSTRUCT cut short": (cut_short, "b/RS"),
    "two folders with one series": (same_series, "studies/c"),
    "regions that are no organ": (other_names, "Magen"),
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("fault", FAULTS)
def test_commands_refuse(home: Path, command: str, fault: str) -> None:
    change, naming = FAULTS[fault]
    change(home / "studies")
    refused(home, command, naming=naming)


@pytest.mark.parametrize("fault", FAULTS)
def test_validate_lists(home: Path, fault: str) -> None:
    change, naming = FAULTS[fault]
    change(home / "studies")
    (home / "studies" / "a").rename(home / "studies" / "a 1")
    ended = run_cli("validate", "--data", "studies")
    assert ended.code == 1
    text = ended.out.replace("\n", " ")
    assert naming in text
    assert "rename it, for example to a_1" in text
    assert "2 faults" in text


def test_a_patient_in_two_folders_has_two_scans(home: Path) -> None:
    study(home / "studies" / "c", "p1", 2)
    ended = run_cli("eda", "--data", "studies")
    assert ended.code == 0
    assert "2 cases, 3 scans" in ended.out


@pytest.mark.parametrize("form", ["RTSTRUCT", "SEG"])
def test_damaged_bytes_of_a_structure_set(home: Path, form: str) -> None:
    file = home / "studies/b/RS"
    if form == "SEG":
        images = write(home / "images", series("p2", 1))
        made = segmentation(home / "images", {"stomach": mask((2, 9, 2, 9))})
        made.save_as(file, enforce_file_format=True)
        assert len(images) == 5
    whole = np.frombuffer(file.read_bytes(), np.uint8)
    random = np.random.default_rng(0)
    codes = set()
    for _ in range(25):
        damaged = whole.copy()
        places = random.integers(140, len(whole), 6)
        damaged[places] = random.integers(0, 256, len(places))
        file.write_bytes(damaged.tobytes())
        codes.add(told_or_refused(home, "validate --data studies", naming="").code)
    assert codes <= {0, 1}
