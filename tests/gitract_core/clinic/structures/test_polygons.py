"""Outlines to pixels: against our own tracing, matplotlib and OpenCV."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.path import Path as Outline
from scipy.ndimage import binary_dilation

from gitract_core.clinic.contours import outlines
from gitract_core.clinic.structures.polygons import filled


def noise(seed: int, share: float, shape: tuple[int, int]) -> np.ndarray:
    return np.random.default_rng(seed).random(shape) < share


@given(
    st.integers(0, 10**6),
    st.floats(0.05, 0.95),
    st.tuples(st.integers(1, 20), st.integers(1, 20)),
)
@settings(max_examples=200, deadline=None)
def test_traced_masks_come_back_pixel_by_pixel(
    seed: int, share: float, shape: tuple[int, int]
) -> None:
    mask = noise(seed, share, shape)  # parts, holes, parts in holes, borders
    assert (filled(outlines(mask), shape) == mask).all()


def test_channel_through_pixel_centers_leaves_no_trace() -> None:
    mask = np.ones((15, 15), np.bool_)
    mask[6:9, 6:9] = False
    mask[7, 7] = True
    traced = outlines(mask)
    assert len(traced) == 2  # the ring with its keyhole, and the part in the hole
    assert (filled(traced, mask.shape) == mask).all()


def test_outlines_one_in_another_are_holes() -> None:
    square = np.array([[0.5, 0.5], [0.5, 9.5], [9.5, 9.5], [9.5, 0.5]])
    inner = np.array([[3.5, 3.5], [3.5, 6.5], [6.5, 6.5], [6.5, 3.5]])
    made = filled([square, inner], (12, 12))
    assert made.sum() == 81 - 9
    assert not made[4:7, 4:7].any()


def test_what_is_outside_of_the_image_is_cut_off() -> None:
    around = np.array([[-5.0, -5], [-5, 20], [20, 20], [20, -5]])
    assert filled([around], (4, 6)).all()
    assert not filled([around + 100], (4, 6)).any()


@pytest.mark.parametrize("ring", [np.zeros((0, 2)), np.ones((1, 2)), np.array([[1, 1], [5, 5]])])
def test_outlines_without_an_area_hold_nothing(ring: np.ndarray) -> None:
    assert not filled([ring], (8, 8)).any()


@pytest.mark.parametrize("seed", range(20))
def test_independent_rasterizers_agree_within_a_border_pixel(seed: int) -> None:
    random = np.random.default_rng(seed)
    angles = np.sort(random.uniform(0, 2 * np.pi, 40))
    radii = random.uniform(8, 25, 40)
    ring = 30.3 + radii[:, None] * np.stack([np.sin(angles), np.cos(angles)], axis=1)
    made = filled([ring], (61, 61))
    centers = np.stack(np.mgrid[:61, :61], axis=-1).reshape(-1, 2)
    exact = Outline(ring).contains_points(centers).reshape(61, 61)
    assert (made == exact).all()  # no center is on the outline
    points = [np.rint(ring[:, ::-1]).astype(np.int32)]
    drawn, border = np.zeros((2, 61, 61), np.uint8)  # as rt-utils does it: whole pixels
    cv2.fillPoly(drawn, points, 1)
    cv2.polylines(border, points, True, 1)
    assert not ((made != (drawn > 0)) & ~binary_dilation(border, np.ones((3, 3)))).any()
