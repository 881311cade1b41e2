"""NIfTI of every orientation: one and the same scan inside, masks back where they belong."""

from __future__ import annotations

import gzip
from itertools import permutations, product
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from gitract_core.clinic.nifti import read_nifti, write_nifti
from gitract_core.clinic.scan import Scan, to_16_bits
from gitract_core.data.slices import SliceIndex
from gitract_core.data.sources import read_contest
from gitract_core.data.volumes import load_scan
from gitract_core.errors import DataError
from gitract_core.organs import CONTEST
from gitract_core.prediction.clinical import doubts_about, native_grid
from tests.support.clinic_files import SHAPE, block, oriented, oriented_affine

ORIENTATIONS = list(product(permutations(range(3)), product((1, -1), repeat=3)))


def write(file: Path, array: np.ndarray, affine: np.ndarray | None) -> Path:
    nib.save(nib.Nifti1Image(array, affine), file)
    return file


def inside(volume: np.ndarray) -> np.ndarray:
    """What networks should see of a block: head first, front first, right first."""
    return volume.transpose(2, 1, 0)[::-1]


def marker_masks(scan: Scan) -> np.ndarray:
    mask = scan.images == 1000
    return np.stack([mask, mask & (np.arange(mask.shape[2]) < 5), ~mask])


def world(mask: np.ndarray, affine: np.ndarray) -> set[tuple[float, ...]]:
    places = np.argwhere(mask) @ affine[:3, :3].T + affine[:3, 3]
    return set(map(tuple, places.round(3).tolist()))


@pytest.mark.parametrize(("axes", "signs"), ORIENTATIONS)
def test_all_48_orientations_are_one_scan_and_masks_return(
    tmp_path: Path, axes: tuple[int, ...], signs: tuple[int, ...]
) -> None:
    volume, affine = block(), oriented_affine(axes, signs)
    stored = oriented(volume, axes, signs)
    scan = read_nifti(write(tmp_path / "a.nii.gz", stored, affine))
    np.testing.assert_array_equal(scan.images, inside(volume))
    assert scan.placing.spacing_mm == pytest.approx((3.0, 2.0, 1.5))
    assert native_grid(scan).voxel_mm3 == pytest.approx(9.0)
    files = write_nifti(scan, marker_masks(scan), tmp_path / "out", organs=CONTEST)
    assert [f.name for f in files] == [f"a_{organ}.nii.gz" for organ in CONTEST]
    image = nib.load(files[0])
    np.testing.assert_array_equal(np.asanyarray(image.dataobj), stored == 1000)
    np.testing.assert_allclose(image.affine, affine, atol=1e-5)
    unturned = world(volume == 1000, oriented_affine((0, 1, 2), (1, 1, 1)))
    assert world(np.asanyarray(image.dataobj) > 0, image.affine) == unturned


@pytest.mark.parametrize("degrees", [0, 12, 40, -40])
def test_tilted_slices_go_to_the_nearest_axes(tmp_path: Path, degrees: float) -> None:
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    tilt = np.array([[1, 0, 0, 7], [0, c, -s, 0], [0, s, c, 0], [0, 0, 0, 1.0]])
    affine = tilt @ oriented_affine((1, 2, 0), (1, -1, 1))
    stored = oriented(block(), (1, 2, 0), (1, -1, 1))
    scan = read_nifti(write(tmp_path / "a.nii", stored, affine))
    np.testing.assert_array_equal(scan.images, inside(block()))
    image = nib.load(write_nifti(scan, marker_masks(scan), tmp_path, organs=CONTEST)[0])
    np.testing.assert_array_equal(np.asanyarray(image.dataobj), stored == 1000)
    np.testing.assert_allclose(image.affine, affine, atol=1e-5)


def test_masks_keep_both_forms_and_nothing_of_the_patient(tmp_path: Path) -> None:
    image = nib.Nifti1Image(block(), oriented_affine((0, 1, 2), (1, 1, 1)))
    image.set_sform(image.affine, code=1)
    image.set_qform(image.affine, code=1)
    image.header["descrip"] = b"Doe^Jane"
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"Doe^Jane"))
    nib.save(image, tmp_path / "a.nii")
    scan = read_nifti(tmp_path / "a.nii")
    file = write_nifti(scan, marker_masks(scan), tmp_path, organs=CONTEST)[2]
    header = nib.load(file).header
    assert (int(header["sform_code"]), int(header["qform_code"])) == (1, 1)
    assert header.get_data_dtype() == np.uint8
    assert b"Doe" not in gzip.decompress(file.read_bytes())
    again = write_nifti(scan, marker_masks(scan), tmp_path / "again", organs=CONTEST)[2]
    assert again.read_bytes() == file.read_bytes()


def test_second_version_and_scaled_values(tmp_path: Path) -> None:
    image = nib.Nifti2Image(block().astype(np.int16), oriented_affine((0, 1, 2), (1, 1, 1)))
    image.header.set_slope_inter(0.25, 0)
    nib.save(image, tmp_path / "a.nii")
    stored = np.asanyarray(nib.load(tmp_path / "a.nii").dataobj)
    scan = read_nifti(tmp_path / "a.nii")
    share = scan.images / 65535
    np.testing.assert_allclose(share, inside(stored) / stored.max(), atol=1e-5)
    masks = np.zeros((3, *scan.images.shape), dtype=bool)
    file = write_nifti(scan, masks, tmp_path, organs=CONTEST)[0]
    assert isinstance(nib.load(file), nib.Nifti2Image)
    assert not np.asanyarray(nib.load(file).dataobj).any()


def test_contest_scans_get_the_radiological_orientation(tiny: Path, tmp_path: Path) -> None:
    index = SliceIndex.from_directory(tiny)
    scan, volume = read_contest(index, "case1_day0"), load_scan(index, "case1_day0")
    np.testing.assert_array_equal(scan.images, volume.images)
    assert scan.placing.spacing_mm == (3.0, 1.5, 1.5)
    assert volume.masks is not None
    image = nib.load(write_nifti(scan, volume.masks, tmp_path, organs=volume.organs)[1])
    assert nib.aff2axcodes(image.affine) == ("L", "P", "I")
    assert image.header.get_zooms() == (1.5, 1.5, 3.0)
    assert (int(image.header["sform_code"]), int(image.header["qform_code"])) == (1, 1)
    np.testing.assert_array_equal(np.asanyarray(image.dataobj).T, volume.masks[1])
    again = read_nifti(write(tmp_path / "b.nii", volume.images.T, image.affine))
    np.testing.assert_array_equal(again.images, volume.images)


def test_intensities_of_any_kind_end_alike() -> None:
    values = block().astype(np.float64)
    np.testing.assert_array_equal(to_16_bits(values.astype(np.int32)), block())
    np.testing.assert_array_equal(to_16_bits(values), block())
    for other in (values / 1000, values * 1e6, values * 70):
        np.testing.assert_allclose(to_16_bits(other) / 65535, values / 1000, atol=1e-5)
    standard = (values - values.mean()) / values.std()
    shares = to_16_bits(standard) / 65535
    assert np.corrcoef(shares.ravel(), values.ravel())[0, 1] > 0.9999
    assert shares.min() == 0
    values[0, 0, 0] = np.nan
    values[1, 0, 0] = np.inf
    assert to_16_bits(values).max() == 1000
    assert not to_16_bits(np.full((2, 2, 2), np.nan)).any()


def test_unusual_scans_are_doubted(tmp_path: Path) -> None:
    def doubts(spacing: tuple[float, float, float]) -> str:
        affine = oriented_affine((0, 1, 2), (1, 1, 1), spacing)
        return " ".join(doubts_about(read_nifti(write(tmp_path / "a.nii", block(), affine))))

    x, y = 400 / SHAPE[0], 400 / SHAPE[1]
    assert "slices" not in doubts((x, y, 3.0)) + doubts((1.3 * x, 0.7 * y, 4.4))
    assert "field of view" not in doubts((x, y, 3.0)) + doubts((1.3 * x, 0.7 * y, 4.4))
    assert "pixels of" not in doubts((1.5, 1.6, 3.0)) + doubts((2.2, 1.1, 3.0))
    assert "pixels of 3.00 x 1.50 mm (height x width)" in doubts((1.5, 3.0, 3.0))
    assert "slices 5.00 mm apart" in doubts((x, y, 5.0))
    assert "slices 1.00 mm apart" in doubts((x, y, 1.0))
    assert "field of view 400 x 640 mm" in doubts((1.6 * x, y, 3.0))
    assert "field of view 240 x 400 mm" in doubts((x, 0.6 * y, 3.0))


GOOD = oriented_affine((0, 1, 2), (1, 1, 1))
SHEARED = GOOD @ np.array([[1, 5, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])


@pytest.mark.parametrize(
    ("array", "affine", "message"),
    [
        (np.zeros((4, 4, 4, 2), np.int16), GOOD, "one gray volume"),
        (np.zeros((4, 4), np.int16), GOOD, "one gray volume"),
        (np.zeros((4, 4, 1), np.int16), GOOD, "one gray volume"),
        (np.zeros((4, 4, 4), np.complex64), GOOD, "one gray volume"),
        (np.zeros((4, 4, 4), [(c, "u1") for c in "RGB"]), GOOD, "one gray volume"),
        (np.zeros((4, 4, 4), np.int16), None, "a known orientation"),
        (np.zeros((4, 4, 4), np.int16), SHEARED, "right angles"),
    ],
)
def test_faulty_volumes_are_one_line(
    tmp_path: Path, array: np.ndarray, affine: np.ndarray | None, message: str
) -> None:
    with pytest.raises(DataError, match=message) as caught:
        read_nifti(write(tmp_path / "a.nii.gz", array, affine))
    assert "a.nii.gz" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", ["nii", "nii.gz"])
@pytest.mark.parametrize("share", [0.0, 0.2, 0.9])
def test_files_cut_short_are_one_line(tmp_path: Path, suffix: str, share: float) -> None:
    file = write(tmp_path / f"a.{suffix}", block((40, 40, 20)), GOOD)
    content = file.read_bytes()
    file.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(DataError, match="a readable NIfTI file") as caught:
        read_nifti(file)
    assert "\n" not in str(caught.value)


def test_a_fourth_axis_of_one_is_no_axis_and_microns_are_refused(tmp_path: Path) -> None:
    scan = read_nifti(write(tmp_path / "a.nii", block()[..., None], GOOD))
    np.testing.assert_array_equal(scan.images, inside(block()))
    image = nib.Nifti1Image(block(), GOOD)
    image.header.set_xyzt_units("micron")
    nib.save(image, tmp_path / "b.nii")
    with pytest.raises(DataError, match="expected millimeters, got micron"):
        read_nifti(tmp_path / "b.nii")
