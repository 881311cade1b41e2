"""Which empty slices between two of an organ are filled, and by what."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from gitract_core.knobs import PostprocessKnobs
from gitract_core.prediction.postprocess import (
    NativeGrid,
    drop_parts,
    enlarged,
    fill_gaps,
    native_masks,
    organ_mask,
    smoothed,
)

SIDE = 24
GRID = NativeGrid(SIDE, SIDE, 6.75)


def held(slices: int, *places: int) -> np.ndarray:
    """A square in some slices, nothing in the others."""
    mask = np.zeros((slices, SIDE, SIDE), bool)
    mask[list(places), 6:16, 5:18] = True
    return mask


def places(mask: np.ndarray) -> list[int]:
    return np.flatnonzero(mask.any(axis=(1, 2))).tolist()


@pytest.mark.parametrize("longest", [1, 2, 3, 5])
def test_a_gap_of_exactly_the_longest_is_filled_and_one_more_is_not(longest: int) -> None:
    fits = held(longest + 4, 1, longest + 2)
    fill_gaps(fits, longest)
    assert places(fits) == list(range(1, longest + 3))
    assert all(np.array_equal(plane, fits[1]) for plane in fits[1 : longest + 3])
    wider = held(longest + 5, 1, longest + 3)
    before = wider.copy()
    fill_gaps(wider, longest)
    assert np.array_equal(wider, before)


def test_nothing_is_filled_before_the_first_and_after_the_last() -> None:
    mask = held(9, 3, 5)
    fill_gaps(mask, 50)
    assert places(mask) == [3, 4, 5]
    for alone in (held(5, 0), held(5, 4), held(5)):
        before = alone.copy()
        fill_gaps(alone, 50)
        assert np.array_equal(alone, before)


def test_each_gap_is_judged_alone() -> None:
    mask = held(14, 0, 2, 6, 7, 10, 13)
    fill_gaps(mask, 2)
    assert places(mask) == [0, 1, 2, 6, 7, 8, 9, 10, 11, 12, 13]


def test_what_fills_a_gap_is_nearer_to_its_nearer_neighbor() -> None:
    """The level of signed distances weighted by nearness, which for discs are their radii."""
    y, x = np.mgrid[:60, :60]
    radius = np.hypot(y - 29.5, x - 29.5)
    mask = np.zeros((6, 60, 60), bool)
    mask[0], mask[5] = radius < 25, radius < 10
    fill_gaps(mask, 4)
    found = np.sqrt(mask.sum(axis=(1, 2)) / np.pi)
    assert found == pytest.approx([25, 22, 19, 16, 13, 10], abs=0.15)


def test_a_rule_fills_by_its_own_length() -> None:
    values = 255 * held(8, 1, 4, 6).astype(np.uint8)
    for longest, expected in ((0, [1, 4, 6]), (1, [1, 4, 5, 6]), (2, [1, 2, 3, 4, 5, 6])):
        mask = organ_mask(values, GRID, PostprocessKnobs(fill_gaps=longest))
        assert places(mask) == expected


def test_steps_come_in_order_smoothing_threshold_gaps_parts() -> None:
    """A gap is filled before parts are counted, so that it joins what would be dropped."""
    values = 255 * held(8, 1, 3, 6).astype(np.uint8)
    one = 10 * 13 * GRID.voxel_mm3
    rule = PostprocessKnobs(fill_gaps=1, smallest_mm3=2 * one)
    assert places(organ_mask(values, GRID, rule)) == [1, 2, 3]
    largest = PostprocessKnobs(fill_gaps=1, parts="largest")
    assert places(organ_mask(values, GRID, largest)) == [1, 2, 3]
    assert places(organ_mask(values, GRID, PostprocessKnobs(parts="largest"))) == [1]
    smooth = PostprocessKnobs(z_sigma=0.8, threshold=0.3)
    expected = enlarged(smoothed(values, 0.8), GRID, 0.3)
    assert np.array_equal(organ_mask(values, GRID, smooth), expected)
    assert places(expected) != [1, 3, 6]


def test_beyond_a_scan_smoothing_repeats_its_outermost_slices() -> None:
    values = np.zeros((6, 2, 2), np.uint8)
    values[0] = 200
    padded = np.concatenate([np.full((9, 2, 2), 200, np.uint8), values, np.zeros((9, 2, 2))])
    found = smoothed(values, 1.0)
    assert np.allclose(found, ndimage.gaussian_filter1d(padded.astype(float), 1, 0)[9:-9], atol=0.1)
    assert found[0, 0, 0] > 130


def test_a_probability_at_the_threshold_is_in() -> None:
    values = np.array([127, 128, 129], np.uint8)[:, None, None].repeat(SIDE, 1).repeat(SIDE, 2)
    assert places(enlarged(values, GRID, 128 / 255)) == [1, 2]


def test_a_part_of_exactly_the_smallest_size_stays() -> None:
    mask = np.zeros((3, SIDE, SIDE), bool)
    mask[1, 2:4, 2:4] = True  # 4 voxels
    for smallest, kept in ((4.0, 4), (4.01, 0), (3.99, 4)):
        copy = mask.copy()
        drop_parts(copy, smallest)
        assert copy.sum() == kept


def test_parts_touch_at_corners_in_three_dimensions() -> None:
    mask = np.zeros((3, SIDE, SIDE), bool)
    mask[0, 2, 2] = mask[1, 3, 3] = mask[2, 4, 4] = True
    mask[0, 10, 10] = mask[0, 10, 12] = True
    drop_parts(mask, 3)
    assert np.argwhere(mask).tolist() == [[0, 2, 2], [1, 3, 3], [2, 4, 4]]


def test_the_largest_part_goes_too_if_it_is_too_small() -> None:
    mask = np.zeros((1, SIDE, SIDE), bool)
    mask[0, 2:5, 2] = mask[0, 10:12, 10] = True
    copy = mask.copy()
    drop_parts(copy, 0, largest=True)
    assert np.argwhere(copy).tolist() == [[0, 2, 2], [0, 3, 2], [0, 4, 2]]
    drop_parts(mask, 4, largest=True)
    assert not mask.any()


def test_each_organ_is_made_by_its_own_rule() -> None:
    values = np.stack([255 * held(8, 1, 3, 6).astype(np.uint8)] * 3)
    rules = (PostprocessKnobs(), PostprocessKnobs(fill_gaps=1), PostprocessKnobs(fill_gaps=2))
    masks = native_masks(values, GRID, rules)
    assert [places(organ) for organ in masks] == [[1, 3, 6], [1, 2, 3, 6], [1, 2, 3, 4, 5, 6]]
    assert [places(organ) for organ in native_masks(values, GRID, rules[1])] == [[1, 2, 3, 6]] * 3
