"""RTSTRUCT and segmentations to voxels: round trips, other writers, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, dcmread

from gitract_core.clinic.dicom import read_dicom
from gitract_core.clinic.rtstruct import write_rtstruct
from gitract_core.clinic.series import read_series
from gitract_core.clinic.structures.planes import Planes
from gitract_core.clinic.structures.reading import draw, read_structure_set
from gitract_core.clinic.structures.structure_set import Covered, Form
from gitract_core.errors import DataError
from gitract_core.organs import Organs
from tests.support.clinic_files import axial_series, block, dicom_slice, write_series
from tests.support.structure_files import box, contour, rtstruct, segmentation

ORGANS = Organs(("large_bowel", "small_bowel", "stomach"))
OBLIQUE = (0.8, 0.6, 0.0, -0.36, 0.48, -0.8)


def drawn(file: Path, series: Path, form: Form = "RTSTRUCT") -> dict[str, Covered]:
    found = read_structure_set(file, form)
    covered = draw(found, found.regions, Planes.of(read_series(series)))
    return dict(zip([region.name for region in found.regions], covered, strict=True))


def holed(shape: tuple[int, ...], seed: int) -> np.ndarray:
    """Random parts with holes, parts in holes, and parts at the borders of the image."""
    random = np.random.default_rng(seed)
    masks = random.random(shape) < 0.6
    masks[:, 1] = False
    masks[0, :, 1:8, 1:8] = True
    masks[0, :, 3:6, 3:6] = False
    masks[0, :, 4, 4] = True
    masks[2] = False
    return masks


@pytest.fixture
def axial(tmp_path: Path) -> Path:
    return write_series(tmp_path / "axial", axial_series(block()))


@pytest.fixture
def oblique(tmp_path: Path) -> Path:
    normal = np.cross(OBLIQUE[:3], OBLIQUE[3:])
    places = [tuple((-40, 10, 7) + 3.1 * n * normal) for n in range(5)]
    rows = np.random.default_rng(0).integers(0, 900, (5, 14, 11))
    slices = [dicom_slice(p, place, OBLIQUE) for p, place in zip(rows, places, strict=True)]
    return write_series(tmp_path / "oblique", slices)


@pytest.mark.parametrize("kind", ["axial", "oblique"])
@pytest.mark.parametrize("seed", range(3))
def test_our_own_rtstruct_comes_back_voxel_by_voxel(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str, seed: int
) -> None:
    folder = request.getfixturevalue(kind)
    scan = read_dicom(folder, "a")
    masks = holed((3, *scan.images.shape), seed)
    (file,) = write_rtstruct(scan, masks, tmp_path, organs=ORGANS)
    found = drawn(file, folder)
    assert list(found) == list(ORGANS)
    for organ, mask in zip(ORGANS, masks, strict=True):
        assert found[organ].looked
        assert found[organ].notes == ()
        assert (scan.placing.turned(found[organ].mask) == mask).all()


def images_of(folder: Path) -> list[Dataset]:
    return sorted((dcmread(f) for f in folder.iterdir()), key=lambda i: i.ImagePositionPatient[2])


def saved(made: Dataset, folder: Path) -> Path:
    made.save_as(folder / "set.dcm", enforce_file_format=True)
    return folder / "set.dcm"


def test_contours_that_name_no_image_go_to_the_nearest_plane(axial: Path, tmp_path: Path) -> None:
    images = images_of(axial)
    points = [box(images[n], (1.5, 5.5), (2.5, 6.5)) for n in (1, 2)]
    points[1] = points[1] + (0, 0, 1.4)  # of 3 mm
    file = saved(rtstruct(images[0], {"a": [contour(p) for p in points]}), tmp_path)
    mask = drawn(file, axial)["a"].mask
    assert mask.sum(axis=(1, 2)).tolist() == [0, 16, 16, 0, 0, 0]
    assert mask[1, 2:6, 3:7].all()


def test_a_contour_names_the_image_of_another_series(axial: Path, tmp_path: Path) -> None:
    images = images_of(axial)
    other = Dataset()
    other.SOPClassUID, other.SOPInstanceUID = images[0].SOPClassUID, "1.9.9"
    made = rtstruct(images[0], {"a": [contour(box(images[3], (1.5, 3.5), (1.5, 3.5)), other)]})
    mask = drawn(saved(made, tmp_path), axial)["a"].mask
    assert mask.sum(axis=(1, 2)).tolist() == [0, 0, 0, 4, 0, 0]


def test_contours_closer_than_images_are_not_mixed(axial: Path, tmp_path: Path) -> None:
    images = images_of(axial)
    whole = box(images[2], (1.5, 5.5), (2.5, 6.5))
    points = [whole + np.array([0, 0, off]) for off in (-1, 0, 1)]
    made = rtstruct(images[0], {"a": [contour(p) for p in points]})
    covered = drawn(saved(made, tmp_path), axial)["a"]
    assert covered.mask.sum(axis=(1, 2)).tolist() == [0, 0, 16, 0, 0, 0]
    assert covered.notes == ("2 contours left aside (between images)",)


def test_nested_contours_are_a_hole_and_a_part_in_it(axial: Path, tmp_path: Path) -> None:
    image = images_of(axial)[2]
    boxes = [box(image, (0.5, 8.5), (0.5, 8.5)), box(image, (2.5, 6.5), (2.5, 6.5))]
    boxes.append(box(image, (3.5, 5.5), (3.5, 5.5)))
    made = rtstruct(image, {"a": [contour(points, image) for points in boxes]})
    mask = drawn(saved(made, tmp_path), axial)["a"].mask
    assert mask.sum() == 64 - 16 + 4


def test_points_and_lines_say_nothing_of_voxels(axial: Path, tmp_path: Path) -> None:
    image = images_of(axial)[2]
    square = box(image, (1.5, 4.5), (1.5, 4.5))
    line = contour(square[:2], image, "OPEN_PLANAR")
    regions = {
        "marker": [contour(square[:1], image, "POINT")],
        "both": [contour(square, image), line, contour(square[:2], image)],
        "nothing": [],
    }
    found = drawn(saved(rtstruct(image, regions), tmp_path), axial)
    assert not found["marker"].looked
    assert found["marker"].notes == ("1 contours left aside (POINT)",)
    assert found["both"].looked
    assert found["both"].mask.sum() == 9
    assert found["both"].notes == (
        "1 contours left aside (OPEN_PLANAR)",
        "1 contours left aside (less than three points)",
    )
    assert found["nothing"].looked  # somebody looked, and it is not there
    assert not found["nothing"].mask.any()


@pytest.mark.parametrize(
    ("shift", "named", "line"),
    [
        (
            (0, 0, 40),
            False,
            "contours in the planes of the images, got one 35.0 mm off the nearest",
        ),
        ((0, 0, 4), True, "one 4.0 mm off the image that it names"),
    ],
)
def test_contours_in_no_image(
    axial: Path, tmp_path: Path, shift: tuple[int, ...], named: bool, line: str
) -> None:
    image = images_of(axial)[2]
    points = box(image, (1.5, 4.5), (1.5, 4.5)) + shift
    if not named:
        points[:, 2] = 5 + 15 + 35
    made = rtstruct(image, {"a": [contour(points, image if named else None)]})
    with pytest.raises(DataError, match=line):
        drawn(saved(made, tmp_path), axial)


def test_an_upright_contour_is_no_contour_of_axial_images(axial: Path, tmp_path: Path) -> None:
    image = images_of(axial)[2]
    upright = box(image, (1.5, 4.5), (1.5, 4.5))[:, [0, 2, 1]]
    made = rtstruct(image, {"a": [contour(upright)]})
    with pytest.raises(DataError, match="region a: expected contours in the planes"):
        drawn(saved(made, tmp_path), axial)


def test_an_rtstruct_that_is_cut_short_anywhere(axial: Path, tmp_path: Path) -> None:
    scan = read_dicom(axial, "a")
    (file,) = write_rtstruct(scan, holed((3, *scan.images.shape), 0), tmp_path, organs=ORGANS)
    whole = file.read_bytes()
    masks = {name: covered.mask for name, covered in drawn(file, axial).items()}
    ends = np.random.default_rng(0).integers(150, len(whole), 60)
    refused = 0
    for end in [*ends.tolist(), len(whole) - 10]:
        file.write_bytes(whole[:end])
        try:
            found = drawn(file, axial)
        except DataError:
            refused += 1
            continue
        assert {n: c.mask.sum() for n, c in found.items()} == {n: m.sum() for n, m in masks.items()}
    assert refused >= 50


@pytest.mark.parametrize("kind", ["BINARY", "FRACTIONAL", "LABELMAP"])
def test_a_segmentation_by_highdicom(axial: Path, tmp_path: Path, kind: str) -> None:
    random = np.random.default_rng(0)
    shape = (6, 10, 12)
    a, b = random.random(shape) < 0.3, random.random(shape) < 0.3
    a[2] = False  # frames without a voxel are left out of the file
    if kind == "LABELMAP":
        b &= ~a  # knows no overlaps
    b[:, :5] = False
    masks = {"Stomach": a, "Bowel 1": b, "Nothing": np.zeros(shape, np.bool_)}
    stored = {n: m.astype(float) * 0.8 if kind == "FRACTIONAL" else m for n, m in masks.items()}
    if kind == "FRACTIONAL":
        stored["Stomach"][~a] = 0.4
    file = saved(segmentation(axial, stored, kind), tmp_path)
    assert read_structure_set(file, "SEG").fractional == (kind == "FRACTIONAL")
    found = drawn(file, axial, "SEG")
    assert list(found) == list(masks)
    for name, mask in masks.items():
        assert found[name].looked
        assert (found[name].mask == mask).all()


def test_a_segmentation_without_places_goes_by_its_source_images(
    axial: Path, tmp_path: Path
) -> None:
    mask = np.zeros((6, 10, 12), np.bool_)
    mask[[1, 4], 2:5, 3:9] = True
    made = segmentation(axial, {"a": mask})
    for group in made.PerFrameFunctionalGroupsSequence:
        del group.PlanePositionSequence
    assert (drawn(saved(made, tmp_path), axial, "SEG")["a"].mask == mask).all()


def test_a_segmentation_of_a_part_of_the_images(axial: Path, tmp_path: Path) -> None:
    part = tmp_path / "part"
    images = images_of(axial)
    for image in images[:4]:
        image.PixelData = np.ascontiguousarray(image.pixel_array[2:8, 3:]).tobytes()
        image.Rows, image.Columns = 6, 9
        x, y, z = map(float, image.ImagePositionPatient)
        image.ImagePositionPatient = [x + 3 * 1.5, y + 2 * 2.0, z]
    write_series(part, images[:4])
    mask = np.random.default_rng(0).random((4, 6, 9)) < 0.5
    file = saved(segmentation(part, {"a": mask}), tmp_path)
    found = drawn(file, axial, "SEG")["a"].mask
    assert (found[:4, 2:8, 3:] == mask).all()
    assert found.sum() == mask.sum()


def test_a_segmentation_of_another_grid_is_refused(axial: Path, tmp_path: Path) -> None:
    mask = np.ones((6, 10, 12), np.bool_)
    made = segmentation(axial, {"a": mask})
    made.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing = [2.0, 1.6]
    with pytest.raises(
        DataError, match=r"the pixel grid of its series.*; resample the segmentation"
    ):
        drawn(saved(made, tmp_path), axial, "SEG")


def test_a_segmentation_shifted_by_half_a_pixel_is_refused(axial: Path, tmp_path: Path) -> None:
    made = segmentation(axial, {"a": np.ones((6, 10, 12), np.bool_)})
    for group in made.PerFrameFunctionalGroupsSequence:
        place = group.PlanePositionSequence[0]
        x, y, z = map(float, place.ImagePositionPatient)
        place.ImagePositionPatient = [x + 0.75, y, z]
    with pytest.raises(DataError, match=r"10 x 12 pixels from row 0\.00, column 0\.50"):
        drawn(saved(made, tmp_path), axial, "SEG")


def test_a_segmentation_that_is_cut_short(axial: Path, tmp_path: Path) -> None:
    file = saved(segmentation(axial, {"a": np.ones((6, 10, 12), np.bool_)}), tmp_path)
    file.write_bytes(file.read_bytes()[:-40])
    with pytest.raises(DataError, match="a whole DICOM segmentation"):
        drawn(file, axial, "SEG")


def test_contours_that_name_frames_of_one_file(axial: Path, tmp_path: Path) -> None:
    series = read_series(axial)
    for number, header in enumerate(series.headers, 1):
        header.SOPInstanceUID, header.ReferencedFrameNumber = "1.5", number
    image = series.headers[3]
    drawn_there = contour(box(image, (1.5, 3.5), (1.5, 3.5)) + np.array([0, 0, 1.4]), image)
    drawn_there.ContourImageSequence[0].ReferencedFrameNumber = 3
    file = saved(rtstruct(image, {"a": [drawn_there]}), tmp_path)
    found = read_structure_set(file, "RTSTRUCT")
    with pytest.raises(DataError, match=r"one 4\.4 mm off the image that it names"):
        list(draw(found, found.regions, Planes.of(series)))
    drawn_there.ContourImageSequence[0].ReferencedFrameNumber = 4
    saved(rtstruct(image, {"a": [drawn_there]}), tmp_path)
    (covered,) = draw(found, found.regions, Planes.of(series))
    assert covered.mask.sum(axis=(1, 2)).tolist() == [0, 0, 0, 4, 0, 0]
