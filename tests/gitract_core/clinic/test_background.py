"""What lies outside of the body changes nothing: networks see the same scan with it and without."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from gitract_core.clinic.background import outside_of
from gitract_core.clinic.dicom import read_dicom
from gitract_core.clinic.nifti import read_nifti
from gitract_core.clinic.scan import to_16_bits
from gitract_core.clinic.unlike_mr import looks_like_ct, looks_like_labels
from gitract_core.errors import NoScanError
from gitract_core.prediction.clinical import network_input
from tests.support.clinic_files import axial_series, write_series

SHAPE = (40, 36, 8)  # x, y, z
AFFINE = np.diag([-1.5, -1.5, 3.0, 1.0])


def body() -> np.ndarray:
    """A bright ellipse with noise in air that is nearly 0, as of a scanner: uint16 x, y, z."""
    x, y, _ = np.indices(SHAPE)
    random = np.random.default_rng(2)
    inside = ((x - 20) / 13) ** 2 + ((y - 18) / 11) ** 2 < 1
    air = np.abs(random.normal(0, 2, SHAPE))
    return np.where(inside, random.normal(500, 120, SHAPE).clip(50), air).astype(np.uint16)


def around() -> np.ndarray:
    """Outside of the circle that a scanner fills: boolean x, y, z."""
    x, y, _ = np.indices(SHAPE)
    circle: np.ndarray = np.hypot(x - 20, y - 18) > 16.5
    return circle


def seen(file_or_folder: Path) -> np.ndarray:
    dicom = file_or_folder.is_dir()
    scan = read_dicom(file_or_folder, "s") if dicom else read_nifti(file_or_folder)
    return network_input(scan.images, 32)


def as_nifti(folder: Path, values: np.ndarray) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(values, AFFINE), folder / "a.nii")
    return folder / "a.nii"


@pytest.mark.parametrize("kind", [np.int16, np.int32, np.float32])
@pytest.mark.parametrize("constant", [-50, -300, -1024, -32768, 1500, 30000])
def test_a_far_off_constant_around_is_background(
    tmp_path: Path, constant: int, kind: type[np.number]
) -> None:
    clean = np.where(around(), 0, body())
    control = seen(as_nifti(tmp_path / "control", clean.astype(np.int16)))
    padded = np.where(around(), constant, body()).astype(kind)
    np.testing.assert_array_equal(seen(as_nifti(tmp_path / "padded", padded)), control)


def test_a_bright_constant_of_unsigned_values_is_background(tmp_path: Path) -> None:
    clean = np.where(around(), 0, body()).astype(np.uint16)
    padded = np.where(around(), 65535, body()).astype(np.uint16)
    control = seen(as_nifti(tmp_path / "control", clean))
    np.testing.assert_array_equal(seen(as_nifti(tmp_path / "padded", padded)), control)


@pytest.mark.parametrize("nothing", [np.nan, np.inf, -np.inf])
def test_voxels_that_are_no_numbers_are_background(tmp_path: Path, nothing: float) -> None:
    clean = np.where(around(), 0, body()).astype(np.float32)
    control = seen(as_nifti(tmp_path / "control", clean))
    padded = np.where(around(), nothing, body()).astype(np.float32)
    np.testing.assert_array_equal(seen(as_nifti(tmp_path / "padded", padded)), control)


def test_zero_around_a_standardized_body_is_background(tmp_path: Path) -> None:
    values = body().astype(np.float64)
    inside = values > 30
    standard = (values - values[inside].mean()) / values[inside].std()
    darkest = np.percentile(standard[inside], 1)
    control = seen(as_nifti(tmp_path / "a", np.where(inside, standard, darkest).clip(darkest)))
    found = seen(as_nifti(tmp_path / "b", np.where(inside, standard, 0.0)))
    assert np.abs(found.astype(int) - control).max() <= 1


@pytest.mark.parametrize("constant", [400, 800])
def test_a_constant_amid_tissue_that_fills_most_faces_is_background(
    tmp_path: Path, constant: int
) -> None:
    values = np.where(body() == constant, constant + 1, body())
    far = np.indices(SHAPE)[1] > 30
    control = seen(as_nifti(tmp_path / "a", np.where(around() | far, 0, values).astype(np.int16)))
    padded = np.where(around() | far, constant, values).astype(np.int16)
    np.testing.assert_array_equal(seen(as_nifti(tmp_path / "b", padded)), control)


def test_a_plain_background_is_left_alone() -> None:
    values = body()
    for most in (400, 600, 700):
        near_the_coil = np.where(np.indices(SHAPE)[0] < 8, values + 500, values)
        assert outside_of(near_the_coil.clip(0, most)) is None
    assert outside_of(values) is None
    assert outside_of(np.where(around(), 0, values)) is None
    assert outside_of(np.clip(values, 0, 600)) is None  # saturated
    noise = np.random.default_rng(0).normal(size=SHAPE)
    assert outside_of(noise) is None


def test_one_voxel_far_beyond_all_others_does_not_set_the_scale() -> None:
    values = body().astype(np.float64) / 7
    hot = values.copy()
    hot[5, 5, 5] = 1e9
    scale = to_16_bits(hot)[20, 18, 4] / values[20, 18, 4]
    np.testing.assert_allclose(to_16_bits(hot)[10:30, 10:30], values[10:30, 10:30] * scale, atol=1)
    assert to_16_bits(hot)[20, 18, 4] > 1000


Padded = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, dict[str, object]]]


def signed(pixels: np.ndarray, outside: np.ndarray) -> tuple[np.ndarray, dict[str, object]]:
    return np.where(outside, -32768, pixels).astype(np.int16), {
        "PixelRepresentation": 1,
        "PixelPaddingValue": -32768,
    }


def of_the_wrong_sign(
    pixels: np.ndarray, outside: np.ndarray
) -> tuple[np.ndarray, dict[str, object]]:
    return np.where(outside, -2000, pixels).astype(np.int16), {
        "PixelRepresentation": 1,
        "PixelPaddingValue": -2000 + 2**16,
    }


def amid_tissue(pixels: np.ndarray, outside: np.ndarray) -> tuple[np.ndarray, dict[str, object]]:
    """Only the tag can tell: tissue has no pixel of just this value."""
    return np.where(outside, 500, np.where(pixels == 500, 501, pixels)).astype(np.uint16), {
        "PixelPaddingValue": 500
    }


def a_range(pixels: np.ndarray, outside: np.ndarray) -> tuple[np.ndarray, dict[str, object]]:
    padding = 60000 + np.arange(pixels.size).reshape(pixels.shape) % 100
    return np.where(outside, padding, pixels).astype(np.uint16), {
        "PixelPaddingValue": 60099,
        "PixelPaddingRangeLimit": 60000,
    }


def rescaled(pixels: np.ndarray, outside: np.ndarray) -> tuple[np.ndarray, dict[str, object]]:
    """The tag speaks of stored values, before the slope."""
    return np.where(outside, 60000, pixels).astype(np.uint16), {
        "PixelPaddingValue": 60000,
        "RescaleSlope": 2,
        "RescaleIntercept": 0,
    }


@pytest.mark.filterwarnings("ignore:.*:UserWarning:pydicom")  # of who writes a wrong sign
@pytest.mark.parametrize("padded", [signed, of_the_wrong_sign, amid_tissue, a_range, rescaled])
def test_padding_of_dicom_is_background(tmp_path: Path, padded: Padded) -> None:
    values, outside = body(), around()
    if padded is amid_tissue:
        values = np.where(values == 500, 501, values)
    control = write_series(tmp_path / "control", axial_series(np.where(outside, 0, values)))
    slices = axial_series(values)
    for image, ring in zip(slices, np.moveaxis(outside, 2, 0).swapaxes(1, 2), strict=True):
        stored, tags = padded(image.pixel_array, ring)
        for name, value in tags.items():
            if name == "PixelPaddingValue" and isinstance(value, int):
                image.add_new(name, "US" if value >= 0 else "SS", value)
            elif name == "PixelPaddingRangeLimit":
                image.add_new(name, "US", value)
            else:
                setattr(image, name, value)
        image.PixelData = stored.tobytes()
    series = write_series(tmp_path / "padded", slices)
    difference = seen(series).astype(int) - seen(control)
    assert np.abs(difference).max() <= (padded is rescaled)  # of rounding


@pytest.mark.parametrize("value", [0, 7])
def test_a_scan_of_one_value_is_refused(tmp_path: Path, value: int) -> None:
    flat = np.full(SHAPE, value, np.int16)
    with pytest.raises(NoScanError, match="expected a scan with contrast") as caught:
        read_nifti(as_nifti(tmp_path, flat))
    assert "a.nii" in str(caught.value)
    with pytest.raises(NoScanError, match="expected a scan with contrast"):
        read_dicom(write_series(tmp_path / "s", axial_series(flat.astype(np.uint16))), "s")


def ct() -> np.ndarray:
    x, y, _ = np.indices(SHAPE)
    random = np.random.default_rng(3)
    inside = ((x - 20) / 13) ** 2 + ((y - 18) / 11) ** 2 < 1
    bone = np.hypot(x - 20, y - 26) < 3
    values = np.where(inside, random.normal(20, 60, SHAPE), random.normal(-1000, 10, SHAPE))
    return (
        np.where(bone, random.normal(600, 90, SHAPE), values).round().clip(-1024).astype(np.int16)
    )


def labels() -> np.ndarray:
    x, y, z = np.indices(SHAPE)
    return ((x // 9 + 4 * (y // 9)) * (np.hypot(x - 20, y - 18) < 15) * (z > 1)).astype(np.uint8)


def test_values_of_ct_and_label_maps_are_told_from_mr() -> None:
    assert looks_like_ct(ct())
    assert looks_like_labels(labels())
    assert looks_like_labels(labels().astype(np.float32))
    assert looks_like_labels((labels() > 3).astype(np.uint8))
    for other in (body(), (body() // 4).astype(np.uint8), body().astype(np.float32) / 3):
        assert not looks_like_labels(other)
        assert not looks_like_ct(other)
    assert not looks_like_ct(labels())
    assert not looks_like_labels(ct())
    standard = (body().astype(float) - body().mean()) / body().std()
    assert not looks_like_ct(1000 * standard)
    padded = np.where(around(), -1024, body()).astype(np.int16)
    assert not looks_like_ct(padded, outside_of(padded))


def test_what_is_not_mr_is_questioned_in_one_line(tmp_path: Path) -> None:
    (line,) = read_nifti(as_nifti(tmp_path / "ct", ct())).notes
    assert "is this MR? Its values (from -1024 to" in line
    scan = read_nifti(as_nifti(tmp_path / "labels", labels()))
    assert scan.labels
    assert "is this a scan? It looks like a label map" in scan.notes[0]
    assert read_nifti(as_nifti(tmp_path / "mr", body())).notes == ()


def test_a_bright_plateau_that_reaches_the_outer_slices_is_tissue() -> None:
    values = np.random.default_rng(0).integers(0, 200, (6, 40, 40)).astype(np.int16)
    values[:, 10:30, 10:30] = 1000
    assert outside_of(values) is None
    around = np.full((8, 60, 60), 1000, np.int16)
    around[1:7, 10:50, 10:50] = np.random.default_rng(0).integers(0, 200, (6, 40, 40))
    outside = outside_of(around)
    assert outside is not None
    assert np.array_equal(outside, around == 1000)
