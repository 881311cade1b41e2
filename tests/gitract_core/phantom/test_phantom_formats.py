"""The phantom in other layouts: the same scans, masks, spacings and patients; equal bytes."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import numpy as np
import pytest

from gitract_core.data.slices import SliceIndex
from gitract_core.data.validation import find_faults
from gitract_core.data.volumes import load_scan
from gitract_core.errors import DataError
from gitract_core.phantom import Format, PhantomSpec, write_phantom, write_phantom_as
from gitract_core.phantom.writing import claim

SPEC = PhantomSpec.small(2, 2, 16)
OTHERS: tuple[Format, ...] = ("nnunet", "nifti", "dicom")
RULES = {"nnunet": r"case(\d+)_", "nifti": r"case(\d+)_", "dicom": None}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The phantom in each layout."""
    home = tmp_path_factory.mktemp("phantoms")
    write_phantom(home / "contest", cases=2, seed=2, slices_per_scan=16, workers=1)
    for layout in OTHERS:
        begun(home / layout, home / "contest", layout)
        write_phantom_as(home / layout, SPEC, layout)
    return home


def begun(root: Path, contest: Path, layout: Format, **more: object) -> Path:
    """A phantom that was drawn and nothing else, so that it is drawn once for all tests."""
    claim(root, SPEC, {"layout": layout, **more})
    shutil.copytree(contest, root / ".contest")
    return root


def digests(root: Path) -> dict[str, str]:
    files = (p for p in root.rglob("*") if p.is_file())
    return {str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def assert_alike(found: SliceIndex, contest: SliceIndex) -> None:
    same = ["id", "case", "slice", "scan", "height", "width", "spacing_x_mm", "spacing_y_mm"]
    assert found.table[same].equals(contest.table[same])
    assert found.gray == contest.gray
    for scan in contest.scans:
        one, other = load_scan(found, scan), load_scan(contest, scan)
        assert one.spacing_mm == other.spacing_mm
        assert one.images.dtype == other.images.dtype
        assert (one.images == other.images).all()
        if other.masks is not None:
            assert one.masks is not None
            assert (one.masks == other.masks).all()


@pytest.mark.parametrize("layout", OTHERS)
def test_every_layout_reads_as_the_contests(home: Path, layout: Format) -> None:
    contest = SliceIndex.from_directory(home / "contest")
    found = SliceIndex.from_directory(home / layout, patients=RULES[layout])
    assert found.organs == contest.organs
    assert found.known is None  # what is not there was looked for
    assert (found.states == contest.states).all()
    assert (contest.organ_counts > 1).any()
    masks = load_scan(contest, contest.scans[0]).masks
    assert masks is not None
    assert_alike(found, contest)
    by_itself = SliceIndex.from_directory(home / layout)  # dataset.yaml or PatientID tell patients
    assert by_itself.table["case"].equals(contest.table["case"])


@pytest.mark.parametrize("layout", OTHERS)
def test_held_out_scans_have_a_place_of_their_own(home: Path, layout: Format) -> None:
    contest = SliceIndex.from_directory(home / "contest" / "test")
    folder = {"nnunet": "imagesTs", "nifti": "test", "dicom": "test"}[layout]
    if layout == "nnunet":
        files = {
            file.name.removesuffix("_0000.nii.gz") for file in (home / layout / folder).iterdir()
        }
        assert files == set(contest.scans)
        return
    found = SliceIndex.from_directory(home / layout / folder, patients=RULES[layout])
    assert found.annotated
    assert_alike(found, contest)


@pytest.mark.parametrize("layout", ["nnunet", "dicom"])
def test_equal_seeds_give_equal_bytes_and_a_cut_short_one_is_finished(
    home: Path, layout: Format, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gitract_core.phantom.formats import drawn_scan as module

    times = []
    whole = module.drawn_scan

    def stops(*arguments: object, **more: object) -> object:
        times.append(1)
        if len(times) > 2:
            raise KeyboardInterrupt
        return whole(*arguments, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "drawn_scan", stops)
    begun(tmp_path / "d", home / "contest", layout)
    with pytest.raises(KeyboardInterrupt):
        write_phantom_as(tmp_path / "d", SPEC, layout)
    monkeypatch.undo()
    assert not (tmp_path / "d" / "dataset.yaml").exists()
    write_phantom_as(tmp_path / "d", SPEC, layout)
    assert digests(tmp_path / "d") == digests(home / layout)
    assert not (tmp_path / "d" / ".contest").exists()


@pytest.mark.parametrize("layout", OTHERS)
def test_validate_finds_nothing(home: Path, layout: Format) -> None:
    assert find_faults(home / layout).faults == ()


def test_it_is_drawn_where_nothing_is_yet(home: Path, tmp_path: Path) -> None:
    write_phantom_as(tmp_path / "d", SPEC, "nifti")
    assert digests(tmp_path / "d") == digests(home / "nifti")


def test_a_folder_of_another_layout_is_left_alone(home: Path) -> None:
    before = digests(home / "nifti")
    write_phantom_as(home / "nifti", SPEC, "nifti")
    for layout in ("contest", "dicom"):
        with pytest.raises(DataError, match="expected a phantom of"):
            write_phantom_as(home / "nifti", SPEC, layout)  # type: ignore[arg-type]
    assert digests(home / "nifti") == before


def test_planted_faults_are_the_same_in_every_layout(home: Path, tmp_path: Path) -> None:
    lists = []
    for layout in ("contest", "nifti"):
        root = tmp_path / layout
        if layout == "contest":
            shutil.copytree(home / "contest", root)
        else:
            begun(root, home / "contest", "nifti", faults=0.4)
        planted = write_phantom_as(root, SPEC, layout, faults=0.4)  # type: ignore[arg-type]
        assert planted
        lists.append((root / "faults.csv").read_text())
    assert lists[0] == lists[1]
    contest = SliceIndex.from_directory(tmp_path / "contest")
    assert_alike(SliceIndex.from_directory(tmp_path / "nifti"), contest)
    scan = planted[0].scan
    untouched = load_scan(SliceIndex.from_directory(home / "nifti"), scan).masks
    spoiled = load_scan(contest, scan).masks
    assert untouched is not None
    assert not np.array_equal(untouched, spoiled)
