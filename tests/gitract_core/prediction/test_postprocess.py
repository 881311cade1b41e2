from __future__ import annotations

from collections import deque
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gitract_core.data.slices import SliceIndex
from gitract_core.data.volumes import scan_spacing_mm
from gitract_core.errors import DataError, SpaceError
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

GRID = NativeGrid(20, 24, 6.75)


def _volume(seed: int, density: float = 0.3) -> np.ndarray:
    return np.random.default_rng(seed).random((6, 7, 8)) < density


def _parts(mask: np.ndarray) -> list[list[tuple[int, ...]]]:
    """26-connected parts by a flood fill."""
    left = {tuple(p) for p in np.argwhere(mask).tolist()}
    parts = []
    while left:
        queue, part = deque([left.pop()]), []
        while queue:
            here = queue.popleft()
            part.append(here)
            box = np.ndindex(3, 3, 3)
            near = {tuple(h + s - 1 for h, s in zip(here, step, strict=True)) for step in box}
            queue.extend(near & left)
            left -= near
        parts.append(part)
    return parts


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.02, 0.4), st.integers(1, 9), st.booleans())
def test_small_parts_go_and_others_stay_as_a_flood_fill_says(
    seed: int, density: float, smallest: int, largest: bool
) -> None:
    mask = _volume(seed, density)
    parts = [p for p in _parts(mask) if len(p) >= smallest]
    most = max(map(len, parts), default=0)
    drop_parts(mask, smallest, largest=largest)
    if not largest:
        assert {tuple(p) for p in np.argwhere(mask).tolist()} == {v for p in parts for v in p}
        return
    assert mask.sum() == most
    assert len(_parts(mask)) == (1 if parts else 0)


def test_a_gap_is_filled_by_the_shape_between_and_longer_ones_are_left() -> None:
    y, x = np.mgrid[:40, :40]
    mask = np.zeros((12, 40, 40), bool)
    mask[1] = np.hypot(y - 20, x - 14) < 10
    mask[3] = np.hypot(y - 20, x - 20) < 6
    mask[9] = mask[3]
    before = mask.copy()
    fill_gaps(mask, 4)
    assert np.array_equal(mask[[1, 3, 9]], before[[1, 3, 9]])
    assert not mask[4:9].any()  # five slices: longer than four
    between = np.hypot(y - 20, x - 17) < 8
    dice = 2 * (mask[2] & between).sum() / (mask[2].sum() + between.sum())
    assert dice > 0.95
    assert not mask[[0, 10, 11]].any()  # nothing is added beyond the ends


def test_smoothing_keeps_a_constant_and_spreads_a_slice_symmetrically() -> None:
    flat = np.full((5, 4, 4), 200, np.uint8)
    assert np.allclose(smoothed(flat, 1.5), 200, atol=1e-3)
    one = np.zeros((9, 2, 2), np.uint8)
    one[4] = 255
    spread = smoothed(one, 1.0)[:, 0, 0]
    assert spread.sum() == pytest.approx(255, rel=1e-3)
    assert np.allclose(spread, spread[::-1], atol=1e-3)
    gauss = np.exp(-0.5 * (np.arange(9) - 4.0) ** 2)
    assert np.allclose(spread, 255 * gauss / gauss.sum(), atol=0.1)


def test_thresholds_hold_on_the_enlarged_probability() -> None:
    plane = np.random.default_rng(0).integers(0, 256, (3, 10, 12), dtype=np.uint8)
    for threshold in (0.2, 0.5, 0.8):
        masks = enlarged(plane, GRID, threshold)
        for got, given_plane in zip(masks, plane, strict=True):
            large = cv2.resize(given_plane.astype(np.float64), (24, 20))
            assert np.array_equal(got, large.astype(np.float32) >= np.float32(threshold * 255))


def test_rules_are_per_organ_and_the_default_is_a_plain_threshold() -> None:
    values = np.random.default_rng(1).integers(0, 256, (3, 5, 10, 12), dtype=np.uint8)
    rules = [PostprocessKnobs(threshold=t) for t in (0.3, 0.5, 0.7)]
    masks = native_masks(values, GRID, rules)
    for organ, rule in enumerate(rules):
        assert np.array_equal(masks[organ], enlarged(values[organ], GRID, rule.threshold))
    plain = native_masks(values, GRID, PostprocessKnobs())
    assert np.array_equal(plain[0], enlarged(values[0], GRID, 0.5))
    with pytest.raises(DataError, match="one an organ"):
        native_masks(values, GRID, rules[:2])


def test_volumes_are_counted_in_cubic_millimeters() -> None:
    values = np.zeros((3, 20, 24), np.uint8)
    values[1, 5:8, 5:8] = 255  # 9 voxels of 6.75 cubic millimeters: 60.75
    for limit, kept in ((60.0, 9), (61.0, 0)):
        mask = organ_mask(values, GRID, PostprocessKnobs(smallest_mm3=limit))
        assert mask.sum() == kept


def test_the_grid_of_a_scan(tiny: Path) -> None:
    rows = SliceIndex.from_directory(tiny).rows_of_scan("case1_day0")
    assert NativeGrid.of_scan(rows) == NativeGrid(40, 48, 1.5 * 1.5 * 3, (1.5, 1.5))
    thick = rows.assign(spacing_z_mm=5.0)  # as other data sets say it
    assert scan_spacing_mm(thick) == (5.0, 1.5, 1.5)
    assert NativeGrid.of_scan(thick) == NativeGrid(40, 48, 1.5 * 1.5 * 5, (1.5, 1.5))


@pytest.mark.parametrize(
    ("name", "value"),
    [("threshold", 0.0), ("threshold", 1.0), ("z_sigma", -1.0), ("fill_gaps", -1), ("parts", "no")],
)
def test_rules_check_themselves(name: str, value: object) -> None:
    with pytest.raises(SpaceError, match=f"postprocess.{name}"):
        PostprocessKnobs(**{name: value})  # type: ignore[arg-type]
