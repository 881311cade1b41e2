"""DICOM series and RTSTRUCT: files in any order, faults in one line, contours in millimeters."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import nibabel as nib
import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import FileDataset
from pydicom.uid import JPEGLosslessSV1, RLELossless

from gitract_core.clinic.contours import outlines
from gitract_core.clinic.dicom import read_dicom
from gitract_core.clinic.nifti import write_nifti
from gitract_core.clinic.rtstruct import write_rtstruct
from gitract_core.clinic.scan import Scan
from gitract_core.data.sources import find_sources
from gitract_core.errors import DataError
from gitract_core.organs import CONTEST
from tests.support.clinic_files import (
    axial_series,
    block,
    dicom_slice,
    oriented_affine,
    write_series,
)

BIG = (40, 36, 8)


def coronal_series(volume: np.ndarray) -> list[FileDataset]:
    """Images seen from the front: columns to the left, rows to the feet, 3 mm apart."""
    planes = np.moveaxis(volume, 1, 0).swapaxes(1, 2)[:, ::-1]
    cosines = (1, 0, 0, 0, 0, -1)
    return [dicom_slice(p, (-40.0, -30.0 + 3 * y, 90.0), cosines) for y, p in enumerate(planes)]


def tilted_series(volume: np.ndarray) -> list[FileDataset]:
    """As axial slices, tilted by 20 degrees about the x axis."""
    c, s = np.cos(np.radians(20)), np.sin(np.radians(20))
    planes = np.moveaxis(volume, 2, 0).swapaxes(1, 2)
    start, normal = np.array([-40.0, -30.0, 5.0]), np.array([0, -s, c])
    return [
        dicom_slice(p, tuple(start + 3 * z * normal), (1, 0, 0, 0, c, s))
        for z, p in enumerate(planes)
    ]


SERIES = {"axial": axial_series, "coronal": coronal_series, "tilted": tilted_series}


def inside(volume: np.ndarray) -> np.ndarray:
    return volume.transpose(2, 1, 0)[::-1]


@pytest.mark.parametrize("kind", SERIES)
def test_any_plane_and_order_of_files_is_one_scan(tmp_path: Path, kind: str) -> None:
    folder = write_series(tmp_path / "s", SERIES[kind](block()))
    scan = read_dicom(folder, "s")
    np.testing.assert_array_equal(scan.images, inside(block()))
    expected = (2.0, 3.0, 1.5) if kind == "coronal" else (3.0, 2.0, 1.5)
    assert scan.placing.spacing_mm == pytest.approx(expected)


def test_nifti_of_a_series_lies_where_the_series_does(tmp_path: Path) -> None:
    scan = read_dicom(write_series(tmp_path / "s", axial_series(block())), "s")
    masks = np.stack([scan.images == 1000] * 3)
    image = nib.load(write_nifti(scan, masks, tmp_path, organs=CONTEST)[0])
    found = np.argwhere(np.asanyarray(image.dataobj)) @ image.affine[:3, :3].T + image.affine[:3, 3]
    affine = oriented_affine((0, 1, 2), (1, 1, 1))
    places = np.argwhere(block() == 1000) @ affine[:3, :3].T + affine[:3, 3]
    assert set(map(tuple, found.round(3))) == set(map(tuple, places.round(3)))


def test_rescale_of_each_image_is_applied_and_compression_undone(tmp_path: Path) -> None:
    slices = axial_series(block())
    for number, image in enumerate(slices):
        slope = 2 if number % 2 else 1
        pixels = image.pixel_array // slope  # loses a bit, so compare in steps of 2
        image.PixelData = pixels.astype(np.uint16).tobytes()
        image.RescaleSlope, image.RescaleIntercept = slope, 0
        image.compress(RLELossless, generate_instance_uid=False)
    scan = read_dicom(write_series(tmp_path / "s", slices), "s")
    difference = inside(block()).astype(int) - scan.images
    assert 0 <= difference.min() <= difference.max() <= 1


@pytest.mark.parametrize("kind", SERIES)
def test_contours_drawn_again_are_the_masks(tmp_path: Path, kind: str) -> None:
    volume = block(BIG)
    folder = write_series(tmp_path / "s", SERIES[kind](volume))
    scan = read_dicom(folder, "s")
    masks = organs_with_holes(scan)
    file = write_rtstruct(scan, masks, tmp_path / "out", organs=CONTEST)[0]
    made = dcmread(file)
    assert [str(r.ROIName) for r in made.StructureSetROISequence] == list(CONTEST)
    colors = ["#" + bytes(c.ROIDisplayColor).hex().upper() for c in made.ROIContourSequence]
    assert colors == list(CONTEST.colors.values())
    for mask, region in zip(masks, made.ROIContourSequence, strict=True):
        truth = scan.placing.turned_back(mask)
        drawn, area_mm2 = drawn_again(region, scan, truth.shape)
        np.testing.assert_array_equal(drawn, truth)
        gap_mm = 3.0
        assert area_mm2 * gap_mm == pytest.approx(mask.sum() * scan.placing.voxel_mm3, rel=0.03)


def organs_with_holes(scan: Scan) -> np.ndarray:
    """A disc with two holes and an island in one, a ragged part, and nothing."""
    _, y, x = np.indices(scan.images.shape)
    ring = np.hypot(y - 17, x - 19) < 14
    ring &= ~(np.hypot(y - 17, x - 13) < 5) & ~(np.hypot(y - 20, x - 26) < 3)
    ring |= (abs(y - 17) < 2) & (abs(x - 13) < 2)
    ring[0] = ring[-1] = False
    ragged = np.random.default_rng(3).random(scan.images.shape) < 0.3
    ragged = np.array([cv2.medianBlur(plane.astype(np.uint8), 5) > 0 for plane in ragged | ring])
    if scan.images.shape[0] != BIG[2]:
        raise AssertionError("slices come first")
    return np.stack([ring, ragged, np.zeros_like(ring)])


def drawn_again(region: object, scan: Scan, shape: tuple[int, ...]) -> tuple[np.ndarray, float]:
    """Masks (images, rows, columns) from contours, each filled on its own; and their area.

    A pixel is inside if its center is: a ray to the right crosses the outline an odd number of
    times.
    """
    masks, area = np.zeros(shape, dtype=bool), 0.0
    order = {header.SOPInstanceUID: place for place, header in enumerate(scan.series)}
    rows, columns = np.indices(shape[1:])
    for contour in getattr(region, "ContourSequence", []):
        points = np.array(contour.ContourData, dtype=float).reshape(-1, 3)
        assert contour.NumberOfContourPoints == len(points)
        assert contour.ContourGeometricType == "CLOSED_PLANAR"
        place = order[contour.ContourImageSequence[0].ReferencedSOPInstanceUID]
        header = scan.series[place]
        cosines = np.array(header.ImageOrientationPatient, dtype=float)
        away = points - np.array(header.ImagePositionPatient, dtype=float)
        assert abs(away @ np.cross(cosines[:3], cosines[3:])).max() < 0.01
        x, y = away @ cosines[:3] / 1.5, away @ cosines[3:] / 2.0
        inside = np.zeros(shape[1:], dtype=bool)
        for x0, y0, x1, y1 in zip(x, y, np.roll(x, -1), np.roll(y, -1), strict=True):
            if abs(y0 - y1) > 1e-9:
                crossing = x0 + (rows - y0) * (x1 - x0) / (y1 - y0)
                inside ^= ((y0 > rows) != (y1 > rows)) & (columns < crossing)
        masks[place] |= inside
        area += abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2 * 1.5 * 2.0
    return masks, area


def test_rtstruct_belongs_to_its_series(tmp_path: Path) -> None:
    folder = write_series(tmp_path / "s", axial_series(block(BIG)))
    scan = read_dicom(folder, "s")
    file = write_rtstruct(scan, organs_with_holes(scan), tmp_path / "out", organs=CONTEST)[0]
    made, source = dcmread(file), scan.series[0]
    assert file.name == "s_rtstruct.dcm"
    for name in ("PatientID", "StudyInstanceUID", "FrameOfReferenceUID"):
        assert made[name].value == source[name].value
    assert made.SeriesInstanceUID != source.SeriesInstanceUID
    assert (made.Modality, made.ApprovalStatus) == ("RTSTRUCT", "UNAPPROVED")
    frame = made.ReferencedFrameOfReferenceSequence[0]
    series = frame.RTReferencedStudySequence[0].RTReferencedSeriesSequence[0]
    named = {i.ReferencedSOPInstanceUID for i in series.ContourImageSequence}
    assert named == {dcmread(f).SOPInstanceUID for f in folder.iterdir()}
    assert "ContourSequence" not in made.ROIContourSequence[2]
    shutil.copy(file, folder / "zz.dcm")  # beside the images it is no image
    assert [s.name for s in find_sources(tmp_path, "dicom")] == ["s"]
    np.testing.assert_array_equal(read_dicom(folder, "s").images, scan.images)


def test_outlines_are_plain_rings() -> None:
    square = np.zeros((9, 9), dtype=bool)
    square[2:6, 3:8] = True
    (ring,) = outlines(square)
    assert len(ring) == 8
    assert (ring.min(axis=0) == (1.5, 2.5)).all()
    assert (ring.max(axis=0) == (5.5, 7.5)).all()
    assert len(outlines(np.ones((3, 3), dtype=bool))) == 1  # to the image's border
    assert outlines(np.zeros((3, 3), dtype=bool)) == []


def spoiled(fault: str | tuple[str, object]) -> list[FileDataset]:
    slices = axial_series(block())
    one = slices[2]
    if fault == "missing":
        del slices[2]
    elif fault == "twice":
        slices.append(axial_series(block())[2])
    elif fault == "two series":
        slices[4].SeriesInstanceUID = "1.9"
    elif fault == "beside":
        for image in slices[3:]:
            image.ImagePositionPatient = [-38.0, *image.ImagePositionPatient[1:]]
    elif fault == "single":
        del slices[1:]
    elif fault == "jpeg":
        one.PixelData = b"\xfe\xff\x00\xe0\x00\x00\x00\x00\xfe\xff\x00\xe0\x04\x00\x00\x00abcd"
        one.file_meta.TransferSyntaxUID = JPEGLosslessSV1
        one["PixelData"].is_undefined_length = True
    elif fault == "bits":
        one.PixelData = one.PixelData[:100]
    else:
        setattr(one, *fault)
    return slices


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("missing", "expected images 3.00 mm apart, got 6.00 mm; restore the missing images"),
        ("twice", "images at different places"),
        ("two series", "expected one series"),
        ("beside", "images on one line"),
        ("single", "two images or more"),
        ("jpeg", "pixels in JPEG Lossless"),
        ("bits", "pixels in Explicit VR"),
        (("Modality", "CT"), "expected Modality MR, got CT"),
        (("SamplesPerPixel", 3), "a gray image"),
        (("PhotometricInterpretation", "RGB"), "got RGB"),
        (("ImagePositionPatient", None), "expected ImagePositionPatient, got none"),
        (("ImagePositionPatient", [1.0, 2.0]), "a readable DICOM header"),
        (("ImageOrientationPatient", [1.0, 0, 0, 0, 0.96, 0.28]), "one ImageOrientationPatient"),
        (("ImageOrientationPatient", [1.0, 0, 0, 0, 0.9, 0.1]), "cosines of length 1"),
        (("ImageOrientationPatient", [1.0, 0, 0, 0.6, 0.8, 0]), "at right angles"),
        (("PixelSpacing", [0.0, 1.5]), "a PixelSpacing above 0"),
        (("PixelSpacing", [2.0, 1.6]), "one PixelSpacing"),
        (("Rows", 9), "one Rows"),
        (("FrameOfReferenceUID", "1.7"), "one FrameOfReferenceUID"),
    ],
)
def test_faulty_series_are_one_line(
    tmp_path: Path, fault: str | tuple[str, object], message: str
) -> None:
    folder = write_series(tmp_path / "s", spoiled(fault))
    with pytest.raises(DataError) as caught:
        read_dicom(folder, "s")
    assert message in str(caught.value)
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_many_frames_in_one_file_are_refused(tmp_path: Path) -> None:
    slices = axial_series(block())
    slices[0].NumberOfFrames = 20
    folder = write_series(tmp_path / "s", slices)
    with pytest.raises(DataError, match="one image a file, got 20 frames; convert it to NIfTI"):
        read_dicom(folder, "s")


@pytest.mark.parametrize("length", [0, 20, 200, 500, -30])
def test_files_cut_short_are_one_line(tmp_path: Path, length: int) -> None:
    folder = write_series(tmp_path / "s", axial_series(block()))
    file = folder / "IM0003.dcm"
    file.write_bytes(file.read_bytes()[:length])
    with pytest.raises(DataError) as caught:
        read_dicom(folder, "s")
    assert "\n" not in str(caught.value)


def test_rtstruct_needs_a_series(tmp_path: Path) -> None:
    slices = axial_series(block())
    for image in slices:
        del image.FrameOfReferenceUID
    scan = read_dicom(write_series(tmp_path / "s", slices), "s")
    masks = np.zeros((3, *scan.images.shape), dtype=bool)
    with pytest.raises(DataError, match="FrameOfReferenceUID"):
        write_rtstruct(scan, masks, tmp_path, organs=CONTEST)
    with pytest.raises(DataError, match="pass --format nifti"):
        write_rtstruct(Scan("s", scan.images, scan.placing), masks, tmp_path, organs=CONTEST)
