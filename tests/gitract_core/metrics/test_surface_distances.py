"""Distances between surfaces in millimeters, against surface-distance, MONAI and a short loop."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
from scipy import ndimage

from gitract_core.metrics.scan_score import score_scan
from gitract_core.metrics.scan_truth import ScanTruth
from gitract_core.metrics.surfaces.distances import (
    InMillimeters,
    SurfaceDistances,
    SurfaceMeasure,
)
from gitract_core.metrics.surfaces.elements import Surface

Masks = tuple[np.ndarray, np.ndarray]
Spacing = tuple[float, float, float]
SEEDS = range(24)


def random_pair(seed: int) -> tuple[Masks, Spacing]:
    """Noise or blobs, also of a single slice, with a spacing that differs along every axis."""
    random = np.random.default_rng(seed)
    z, y, x = random.uniform(0.4, 5, 3).tolist()
    shape = (1 if seed % 6 == 5 else int(random.integers(2, 9)), *random.integers(3, 15, 2))
    sides = []
    for _ in range(2):
        field = random.random(shape)
        if seed % 2:
            field = ndimage.gaussian_filter(random.random(shape), 1.0)
        sides.append(field > np.quantile(field, random.uniform(0.2, 0.9)))
    return (sides[0], sides[1]), (z, y, x)


@pytest.mark.parametrize("seed", SEEDS)
def test_values_are_those_of_surface_distance(seed: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of SciPy, about names that the package uses
        from surface_distance import metrics as peer

        (first, second), spacing = random_pair(seed)
        found = peer.compute_surface_distances(first, second, spacing)
    ours = SurfaceDistances.between(first, second, spacing)
    for percent in (50, 95, 100):
        expected = peer.compute_robust_hausdorff(found, percent)
        assert ours.hausdorff_mm(percent) == pytest.approx(expected, abs=1e-9)
    for tolerance in (0.1, 1.0, 2.0, 6.0):
        expected = peer.compute_surface_dice_at_tolerance(found, tolerance)
        assert ours.surface_dice(tolerance) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("seed", SEEDS)
def test_surface_dice_is_that_of_monai_with_areas(seed: int) -> None:
    """MONAI's 95 % Hausdorff distance leaves areas out: it is another figure."""
    torch = pytest.importorskip("torch")
    from monai.metrics import compute_surface_dice

    (first, second), spacing = random_pair(seed)
    sides = [torch.from_numpy(np.pad(side, 1))[None, None].float() for side in (first, second)]
    for tolerance in (0.1, 1.0, 2.0, 6.0):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of MONAI, about an argument that it passes itself
            expected = compute_surface_dice(
                sides[0],
                sides[1],
                class_thresholds=[tolerance],
                include_background=True,
                spacing=spacing,
                use_subvoxels=True,
            )
        ours = SurfaceDistances.between(first, second, spacing).surface_dice(tolerance)
        assert ours == pytest.approx(float(expected), abs=1e-5)


@pytest.mark.parametrize("seed", SEEDS[:8])
def test_the_largest_distance_is_that_of_a_short_loop(seed: int) -> None:
    (first, second), spacing = random_pair(seed)
    corners = []
    for mask in (first, second):
        near = np.lib.stride_tricks.sliding_window_view(np.pad(mask, 1), (2, 2, 2))
        inside = near.sum(axis=(3, 4, 5))
        corners.append(np.argwhere((inside > 0) & (inside < 8)) * spacing)
    apart = np.linalg.norm(corners[0][:, None] - corners[1][None], axis=2)
    expected = max(apart.min(axis=0).max(), apart.min(axis=1).max())
    found = SurfaceDistances.between(first, second, spacing)
    assert found.hausdorff_mm(100) == pytest.approx(expected)


def test_a_moved_cube_is_as_far_as_it_was_moved_along_each_axis() -> None:
    cube = np.zeros((12, 12, 12), bool)
    cube[3:7, 3:7, 3:7] = True
    for axis, step_mm in enumerate((3.0, 1.5, 0.75)):
        moved = np.roll(cube, 2, axis=axis)
        found = SurfaceDistances.between(cube, moved, (3.0, 1.5, 0.75))
        assert found.hausdorff_mm(100) == 2 * step_mm
        assert found.surface_dice(2 * step_mm) == 1.0  # the tolerance itself is within
        assert found.surface_dice(2 * step_mm - 0.01) < 1.0


def test_the_tolerance_itself_is_within_whatever_the_rounding() -> None:
    line = np.zeros((1, 1, 20), bool)
    line[..., 2:6] = True
    assert 3 * 0.1 > 0.3  # the distance, as floating-point numbers have it
    found = SurfaceDistances.between(line, np.roll(line, 3, axis=2), (1.0, 1.0, 0.1))
    assert found.hausdorff_mm(100) == pytest.approx(0.3)
    assert found.surface_dice(0.3) == 1.0


def test_areas_are_those_of_a_box_but_for_its_edges() -> None:
    box = np.zeros((42, 62, 82), bool)
    box[1:41, 1:61, 1:81] = True
    area = 2 * (120 * 90 + 120 * 40 + 90 * 40)  # mm2, 40 x 3 by 60 x 1.5 by 80 x 0.5
    assert Surface.of(box, (3.0, 1.5, 0.5)).areas_mm2.sum() == pytest.approx(area, rel=0.02)


def test_one_side_empty_and_both() -> None:
    empty, full = np.zeros((3, 4, 5), bool), np.ones((3, 4, 5), bool)
    missed = [SurfaceDistances.between(*p, (1, 1, 1)) for p in ((empty, full), (full, empty))]
    assert [one.hausdorff_mm() for one in missed] == [math.inf, math.inf]
    assert [one.surface_dice(99.0) for one in missed] == [0.0, 0.0]
    neither = SurfaceDistances.between(empty, empty, (1, 1, 1))
    assert math.isnan(neither.hausdorff_mm())
    assert math.isnan(neither.surface_dice(1.0))


def test_a_kept_truth_measures_what_two_volumes_measure() -> None:
    random = np.random.default_rng(5)
    prediction, truth = random.random((2, 3, 6, 9, 8)) > 0.7
    truth[1] = False
    known = np.ones((3, 6), bool)
    known[2, 4] = False
    asked = InMillimeters(
        (3.0, 1.5, 1.2), [SurfaceMeasure("far"), SurfaceMeasure("near", tolerance_mm=2.0)]
    )
    expected = score_scan(prediction, truth, known=known, in_mm=asked).in_mm
    found = ScanTruth.of(truth, known).score(list(prediction), asked).in_mm
    assert expected is not None
    assert found is not None
    assert expected.diagonal == found.diagonal == pytest.approx(math.hypot(18, 13.5, 9.6))
    assert np.isfinite(expected.values["far"]).tolist() == [True, False, False]
    assert np.isinf(expected.values["far"][1])  # found where nothing is
    assert np.isnan(expected.values["near"][2])  # not known throughout
    for key in ("far", "near"):
        np.testing.assert_array_equal(found.values[key], expected.values[key])


def test_nothing_is_measured_unasked(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise AssertionError("measured")

    monkeypatch.setattr(SurfaceDistances, "between", fail)
    masks = np.ones((3, 2, 4, 4), bool)
    assert score_scan(masks, masks).in_mm is None
    assert ScanTruth.of(masks).score(list(masks)).in_mm is None
    with pytest.raises(AssertionError, match="measured"):
        score_scan(masks, masks, in_mm=InMillimeters((1, 1, 1), [SurfaceMeasure("far")]))
