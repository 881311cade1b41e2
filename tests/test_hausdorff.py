from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from scipy.spatial.distance import directed_hausdorff

from gitract_core.errors import DataError
from gitract_core.metrics import accuracy, dice, hausdorff_distance, iou, normalized_hausdorff


def _ball(radius: float, side: int = 25) -> np.ndarray:
    grid = np.indices((side,) * 3) - side // 2
    inside: np.ndarray = np.sqrt((grid**2).sum(0)) <= radius
    return inside


def _volume(seed: int, kind: str, shape: tuple[int, int, int]) -> np.ndarray:
    random = np.random.default_rng(seed)
    noise = random.random(shape)
    if kind == "sparse":
        return noise > 0.97
    if kind == "dense":
        return noise > 0.2
    smooth = ndimage.gaussian_filter(random.normal(size=shape), 2)
    return smooth > np.quantile(smooth, 0.8)


_KINDS = st.sampled_from(["sparse", "dense", "blobs"])


@given(seed=st.integers(0, 10**6), first=_KINDS, second=_KINDS, side=st.integers(3, 16))
@settings(max_examples=80, deadline=None)
def test_equals_scipy_on_all_voxels(seed: int, first: str, second: str, side: int) -> None:
    shape = (side, side + 3, 2 * side)
    a, b = _volume(seed, first, shape), _volume(seed + 1, second, shape)
    if not a.any() or not b.any():
        return
    forth = directed_hausdorff(np.argwhere(a), np.argwhere(b))[0]
    back = directed_hausdorff(np.argwhere(b), np.argwhere(a))[0]
    assert hausdorff_distance(a, b, directed=True) == pytest.approx(forth)
    assert hausdorff_distance(a, b) == pytest.approx(max(forth, back))
    scaled = [np.argwhere(v) / np.array(shape) for v in (a, b)]
    cube = max(directed_hausdorff(*scaled)[0], directed_hausdorff(*scaled[::-1])[0]) / np.sqrt(3)
    assert normalized_hausdorff(a, b, "unit_cube") == pytest.approx(cube)


def test_interior_voxels_count() -> None:
    holed = _ball(10)
    holed[12, 12, 12] = False
    assert hausdorff_distance(_ball(10), holed) == pytest.approx(1.0)
    assert hausdorff_distance(_ball(10), _ball(10) & ~_ball(1)) == pytest.approx(1.41421, abs=1e-5)
    shell = _ball(12) & ~_ball(11)
    expected = directed_hausdorff(np.argwhere(_ball(6)), np.argwhere(shell))[0]
    assert hausdorff_distance(_ball(6), shell, directed=True) == pytest.approx(expected)


def test_missed_remote_part_counts_in_both_directions() -> None:
    truth = np.zeros((3, 20, 20), bool)
    truth[1, 5, 3] = truth[1, 5, 14] = True
    prediction = truth.copy()
    prediction[1, 5, 14] = False
    assert hausdorff_distance(prediction, truth) == 11.0
    assert hausdorff_distance(prediction, truth, directed=True) == 0.0


def test_worked_directed_distances() -> None:
    truth, prediction = (np.zeros((4, 5, 6), bool) for _ in range(2))
    truth[1:3, 1:3, 1:3] = True
    for row, column in ((1, 2), (2, 1), (2, 2), (4, 5)):
        prediction[1, row, column] = True
    assert hausdorff_distance(truth, prediction, directed=True) == pytest.approx(1.41421, abs=1e-5)
    assert hausdorff_distance(prediction, truth, directed=True) == pytest.approx(3.60555, abs=1e-5)


def test_empty_sides() -> None:
    nothing, something = np.zeros((2, 3, 4), bool), np.ones((2, 3, 4), bool)
    assert hausdorff_distance(nothing, something) == hausdorff_distance(something, nothing)
    assert hausdorff_distance(nothing, something) == np.inf
    assert np.isnan(hausdorff_distance(nothing, nothing))
    assert normalized_hausdorff(nothing, something) == 1.0
    assert np.isnan(normalized_hausdorff(nothing, nothing))
    assert normalized_hausdorff(something, something) == 0.0


def test_shapes_and_norms_are_checked() -> None:
    with pytest.raises(DataError, match="shape"):
        hausdorff_distance(np.ones((2, 2, 2), bool), np.ones((2, 2, 3), bool))
    with pytest.raises(DataError, match="did you mean 'diagonal'"):
        normalized_hausdorff(*[np.ones((2, 2, 2), bool)] * 2, norm="diagonl")  # type: ignore[arg-type]


@given(seed=st.integers(0, 10**6), share=st.floats(0, 1))
@settings(max_examples=50, deadline=None)
def test_overlap_equals_counting(seed: int, share: float) -> None:
    random = np.random.default_rng(seed)
    a, b = random.random((7, 9)) < share, random.random((7, 9)) < 0.4
    pairs = list(zip(a.ravel().tolist(), b.ravel().tolist(), strict=True))
    both, either = sum(p and t for p, t in pairs), sum(p or t for p, t in pairs)
    assert accuracy(a, b) == pytest.approx(sum(p == t for p, t in pairs) / 63)
    if either:
        assert iou(a, b) == pytest.approx(both / either)
        assert dice(a, b) == pytest.approx(2 * both / (both + either))
    else:
        assert np.isnan(dice(a, b))
        assert np.isnan(iou(a, b))
