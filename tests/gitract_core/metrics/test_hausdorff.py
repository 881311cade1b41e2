"""Compared with SciPy: its directed Hausdorff distance on coordinates, and its distance map."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from scipy.spatial.distance import directed_hausdorff

from gitract_core.errors import DataError
from gitract_core.metrics import farthest, hausdorff, hausdorff_distance, normalized_hausdorff
from gitract_core.metrics.farthest import Grid


def scipy_directed(a, b, scale=1.0):
    return directed_hausdorff(np.argwhere(a) * scale, np.argwhere(b) * scale)[0]


def map_directed(a, b):
    """By a full distance map: as exact, and fast on large volumes."""
    return ndimage.distance_transform_edt(~b)[a].max()


def scipy_distance(a, b, scale=1.0):
    return max(scipy_directed(a, b, scale), scipy_directed(b, a, scale))


def noise(rng, shape, share):
    return rng.random(shape) < share


def blobs(rng, shape, share):
    field = ndimage.gaussian_filter(rng.standard_normal(shape), 2)
    return field > np.quantile(field, 1 - share)


def cuboid(rng, shape, share):
    mask = np.zeros(shape, bool)
    low = [rng.integers(0, n) for n in shape]
    mask[tuple(slice(a, a + 1 + rng.integers(0, n)) for a, n in zip(low, shape, strict=True))] = (
        True
    )
    return mask


def shell(rng, shape, share):
    place = np.array([rng.uniform(0, n) for n in shape]).reshape(3, 1, 1, 1)
    distance = np.sqrt(((np.indices(shape) - place) ** 2).sum(axis=0))
    return np.abs(distance - rng.uniform(0, max(shape) / 2)) < 1


KINDS = {f.__name__: f for f in (noise, blobs, cuboid, shell)}
shapes = st.tuples(st.integers(1, 9), st.integers(1, 28), st.integers(1, 28))
pairs = st.tuples(
    shapes,
    st.sampled_from(sorted(KINDS)),
    st.sampled_from(sorted(KINDS)),
    st.sampled_from([0.004, 0.05, 0.3, 0.7]),
    st.integers(0, 2**32 - 1),
)


def build(pair):
    shape, kind_a, kind_b, share, seed = pair
    rng = np.random.default_rng(seed)
    return KINDS[kind_a](rng, shape, share), KINDS[kind_b](rng, shape, share)


@pytest.fixture(params=[4, 8], ids=["small cells", "large cells"])
def side(request, monkeypatch):
    largest = 0 if request.param == 8 else 10**9
    monkeypatch.setattr(farthest, "_LARGE_VOLUME_VOXELS", largest)
    return request.param


def assert_agrees(a, b):
    if not (a.any() and b.any()):
        return
    assert hausdorff_distance(a, b) == scipy_distance(a, b)
    assert hausdorff_distance(a, b, directed=True) == scipy_directed(a, b)
    assert hausdorff_distance(b, a, directed=True) == scipy_directed(b, a)


@pytest.mark.usefixtures("side")
def test_equals_scipy_on_every_kind_of_pair():
    @given(pairs)
    @settings(max_examples=200, deadline=None)
    def check(pair):
        assert_agrees(*build(pair))

    check()


@given(pairs)
@settings(max_examples=60, deadline=None)
def test_equals_scipy_on_small_changes_of_one_mask(pair):
    """Predictions are mostly like the truth: distances of 1 to 3 voxels have their own path."""
    a, b = build(pair)
    assert_agrees(a, a | b)
    assert_agrees(a, ndimage.binary_dilation(a))
    assert_agrees(a ^ (b & noise(np.random.default_rng(pair[-1]), a.shape, 0.02)), a)


@pytest.mark.usefixtures("side")
def test_equals_scipy_in_the_unit_cube():
    @given(pairs)
    @settings(max_examples=100, deadline=None)
    def check(pair):
        a, b = build(pair)
        if a.any() and b.any():
            expected = scipy_distance(a, b, 1 / np.array(a.shape)) / math.sqrt(3)
            assert normalized_hausdorff(a, b, "unit_cube") == pytest.approx(expected, rel=1e-12)

    check()


def organ_like(seed, shape=(30, 90, 100)):
    rng = np.random.default_rng(seed)
    field = ndimage.gaussian_filter(rng.standard_normal(shape), (3, 6, 6))
    z, y, x = np.ogrid[: shape[0], : shape[1], : shape[2]]
    inside = ((z - 16) / 11) ** 2 + ((y - 45) / 30) ** 2 + ((x - 52) / 35) ** 2 < 1
    return (field > np.quantile(field[inside], 0.7)) & inside


@pytest.mark.usefixtures("side")
@pytest.mark.parametrize("change", ["other", "moved", "cut", "specks", "grown", "noise"])
@pytest.mark.parametrize("few_pairs", [True, False])
def test_equals_distance_map_on_volumes_of_many_cells(change, few_pairs, monkeypatch):
    if few_pairs:
        monkeypatch.setattr(farthest, "_MOST_PAIRS", 100)
    truth, rng = organ_like(1), np.random.default_rng(2)
    prediction = {
        "other": organ_like(2),
        "moved": np.roll(truth, (1, 5, -7), (0, 1, 2)),
        "cut": truth & (np.arange(len(truth)) < 14)[:, None, None],
        "specks": truth | noise(rng, truth.shape, 1e-4),
        "grown": ndimage.binary_dilation(truth, iterations=4),
        "noise": noise(rng, truth.shape, 0.3),
    }[change]
    forth, back = map_directed(prediction, truth), map_directed(truth, prediction)
    assert hausdorff_distance(prediction, truth) == max(forth, back)
    assert hausdorff_distance(prediction, truth, directed=True) == forth
    assert hausdorff_distance(truth, prediction, directed=True) == back


def ball(radius, side):
    return ((np.indices((side,) * 3) - side // 2) ** 2).sum(axis=0) <= radius**2


def test_a_hole_in_a_ball_is_near():
    """Tools that look at surfaces alone say 7.874."""
    holed = ball(10, 25) & ~ball(1, 25)
    assert hausdorff_distance(ball(10, 25), holed) == math.sqrt(2)


def test_the_inside_of_a_ball_within_a_hollow_shell_counts():
    hollow = ball(15, 41) & ~ball(14, 41)
    inner = ball(9, 41)
    expected = scipy_distance(inner, hollow)
    assert hausdorff_distance(inner, hollow) == expected > 13


def test_what_a_prediction_misses_counts_one_way_only():
    truth = np.zeros((3, 20, 20), bool)
    truth[1, 3:6, 3:6] = truth[1, 5, 16] = True
    prediction = truth.copy()
    prediction[1, 5, 16] = False
    assert hausdorff_distance(prediction, truth) == 11.0
    assert hausdorff_distance(prediction, truth, directed=True) == 0.0
    assert hausdorff_distance(truth, prediction, directed=True) == 11.0


@pytest.fixture
def worked():
    truth = np.zeros((4, 5, 6), bool)
    truth[1:3, 1:3, 1:3] = True
    prediction = np.zeros_like(truth)
    for row, column in ((1, 2), (2, 1), (2, 2), (4, 5)):
        prediction[1, row, column] = True
    return prediction, truth


def test_worked_example(worked):
    prediction, truth = worked
    assert hausdorff_distance(truth, prediction, directed=True) == math.sqrt(2)
    assert hausdorff_distance(prediction, truth, directed=True) == math.sqrt(13)
    assert hausdorff_distance(prediction, truth) == math.sqrt(13)


@pytest.mark.parametrize(
    ("norm", "value"),
    [("diagonal", 0.410891), ("diagonal_minus_one", 0.509902), ("unit_cube", 0.369685)],
)
def test_norms_of_the_worked_example(worked, norm, value):
    assert normalized_hausdorff(*worked, norm) == pytest.approx(value, abs=5e-7)


@pytest.mark.parametrize("norm", ["diagonal", "diagonal_minus_one", "unit_cube"])
def test_empty_masks(norm):
    empty, full = np.zeros((2, 3, 4), bool), np.ones((2, 3, 4), bool)
    assert hausdorff_distance(empty, full) == hausdorff_distance(full, empty) == math.inf
    assert hausdorff_distance(empty, full, directed=True) == math.inf
    assert math.isnan(hausdorff_distance(empty, empty))
    assert normalized_hausdorff(empty, full, norm) == normalized_hausdorff(full, empty, norm) == 1.0
    assert math.isnan(normalized_hausdorff(empty, empty, norm))
    assert math.isnan(hausdorff_distance(empty[:0], empty[:0]))
    assert normalized_hausdorff(full, full, norm) == hausdorff_distance(full, full) == 0.0


@pytest.mark.parametrize(
    ("norm", "value"),
    [("diagonal", math.sqrt(14 / 29)), ("diagonal_minus_one", 1.0), ("unit_cube", None)],
)
def test_opposite_corners(norm, value):
    a = np.zeros((2, 3, 4), bool)
    a[0, 0, 0] = True
    expected = math.sqrt((1 / 4 + 4 / 9 + 9 / 16) / 3) if value is None else value
    assert normalized_hausdorff(a, a[::-1, ::-1, ::-1], norm) == pytest.approx(expected, rel=1e-12)


def test_a_volume_of_one_voxel_has_no_diagonal_but_a_distance():
    one = np.ones((1, 1, 1), bool)
    assert normalized_hausdorff(one, one, "diagonal_minus_one") == 0.0
    assert normalized_hausdorff(one, ~one, "diagonal_minus_one") == 1.0


def test_fewer_dimensions_and_other_memory_orders():
    rng = np.random.default_rng(0)
    a, b = noise(rng, (20, 30), 0.1), noise(rng, (20, 30), 0.1)
    assert hausdorff_distance(a, b) == scipy_distance(a, b)
    assert hausdorff_distance(a[3], b[3]) == scipy_distance(a[3], b[3])
    c, d = noise(rng, (7, 9, 11), 0.1), noise(rng, (7, 9, 11), 0.1)
    c, d = np.asfortranarray(c), d[::-1]
    assert hausdorff_distance(c, d) == scipy_distance(c, d)
    assert hausdorff_distance(c.astype(np.uint8) * 255, d) == hausdorff_distance(c, d)


def test_arguments_are_left_alone():
    a, b = organ_like(1), organ_like(2)
    a.setflags(write=False)
    b.setflags(write=False)
    assert hausdorff_distance(a, b) > 0


def test_wrong_arguments():
    with pytest.raises(DataError, match=r"expected the truth's shape \(2, 3\), got \(3, 2\)"):
        hausdorff_distance(np.ones((3, 2), bool), np.ones((2, 3), bool))
    with pytest.raises(DataError, match=r"expected \(slices, height, width\), got \(1, 1, 1, 1\)"):
        hausdorff_distance(np.ones((1, 1, 1, 1), bool), np.ones((1, 1, 1, 1), bool))
    with pytest.raises(DataError, match="did you mean 'diagonal'"):
        normalized_hausdorff(np.ones((1, 1, 1), bool), np.ones((1, 1, 1), bool), "diagonl")


@pytest.mark.usefixtures("side")
def test_voxels_that_a_floor_bounds_are_never_measured(monkeypatch):
    """The second direction costs next to nothing: its cells all lie within the floor."""
    surfaces = []
    surface = farthest._surface
    monkeypatch.setattr(farthest, "_surface", lambda v: surfaces.append(1) or surface(v))
    truth = organ_like(1)
    prediction = np.roll(truth, 2, 1)
    prediction[0, 0, 0] = True
    assert hausdorff_distance(prediction, truth) == scipy_distance(prediction, truth) > 20
    assert len(surfaces) == 1


@pytest.mark.parametrize("side", [4, 8])
@pytest.mark.parametrize("spacing", [(1, 1, 1), (0.5, 0.2, 0.3)])
@pytest.mark.parametrize("change", ["moved", "inside", "noise"])
def test_a_floor_replaces_what_is_nearer_and_nothing_else(side, spacing, change):
    """Floors below and above ``slack``, where whole cells are dropped, and up to the distance."""
    truth, rng = organ_like(1, (20, 60, 70)), np.random.default_rng(3)
    source = {
        "moved": np.roll(truth, (2, 9, -7), (0, 1, 2)),
        "inside": truth & noise(rng, truth.shape, 0.1),
        "noise": noise(rng, truth.shape, 0.05),
    }[change]
    grid = Grid(side, np.array(spacing, float))
    expected = ndimage.distance_transform_edt(~truth, sampling=spacing)[source].max()
    for share in (0, 0.2, 0.5, 0.9, 0.999, 1.001, 2):
        floor = share * max(expected, grid.slack)
        found = farthest.farthest(grid.cut(source), grid.cut(truth), grid, floor)
        assert found == pytest.approx(max(expected, floor), rel=1e-12)


@given(pairs)
@settings(max_examples=100, deadline=None)
def test_a_box_never_protrudes_further_than_its_mask_is_away(pair):
    a, b = build(pair)
    if a.any() and b.any():
        spacing = (1.0, 1.0, 1.0)
        floor = hausdorff._protrusion(hausdorff._span(a), hausdorff._span(b), spacing)
        assert floor <= scipy_directed(a, b)


def test_grid_gives_voxels_and_their_cells():
    grid = Grid(4, np.array([1.0, 2.0, 3.0]))
    volume = grid.cut(noise(np.random.default_rng(0), (6, 7, 13), 0.2))
    assert volume.shape == (8, 12, 16)
    cells = np.argwhere(grid.cells(volume))
    places, number = grid.voxels(volume, cells)
    found = places / grid.spacing
    np.testing.assert_array_equal(np.unique(found, axis=0), np.argwhere(volume))
    np.testing.assert_array_equal(found // 4, cells[number])
