"""What a network sees at a spacing of its own: windows of slices, and the caches of them."""

from __future__ import annotations

import dataclasses
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from gitract_core.data.cache import build_cache, cache_directory, network_images, open_cache
from gitract_core.data.images import resize_mask
from gitract_core.data.native import native_scan
from gitract_core.data.slice_cache import SliceCache, organs_in_bits
from gitract_core.data.slices import SliceIndex
from gitract_core.data.volumes import scan_masks, scan_size
from gitract_core.data.windows import annotated_outside, resized_to, seen_through, window_of_scan
from gitract_core.errors import DataError, RunError, SpaceError
from gitract_core.knobs import InputKnobs
from gitract_core.spec import Candidate
from gitract_core.view import View, Window


@pytest.mark.parametrize(
    ("view", "shape", "pixel_mm", "window"),
    [
        (View(16, 2.0), (40, 48), (1.0, 1.0), Window(4, 8, 32, 32)),
        (View(16, 2.0), (41, 47), (1.0, 1.0), Window(4, 7, 32, 32)),
        (View(16, 2.0), (20, 24), (2.0, 1.0), Window(2, -4, 16, 32)),
        (View(16, 3.0), (21, 30), (1.5, 1.5), Window(-6, -1, 32, 32)),
        (View(17, 1.0), (10, 10), (3.0, 4.0), Window(2, 3, 6, 4)),
    ],
)
def test_a_window_lies_around_the_middle_and_has_the_field_s_size(
    view: View, shape: tuple[int, int], pixel_mm: tuple[float, float], window: Window
) -> None:
    assert view.window(*shape, pixel_mm) == window
    for start, length, side, mm in zip(
        (window.top, window.left), (window.height, window.width), shape, pixel_mm, strict=True
    ):
        assert abs(start + length / 2 - side / 2) <= 0.5
        assert abs(length * mm - view.size * view.spacing_mm) <= mm / 2
    assert View(view.size).window(*shape, pixel_mm) is None


def test_pixels_without_a_size_have_no_window() -> None:
    with pytest.raises(DataError, match=re.escape("got 0 x 1.5; use input.spacing_mm 0")):
        View(16, 1.0).window(20, 20, (0.0, 1.5))


@pytest.mark.parametrize(
    "window", [Window(2, 3, 6, 4), Window(-3, 5, 16, 12), Window(-1, -2, 9, 9)]
)
def test_a_window_is_cut_out_and_padded(window: Window) -> None:
    image = np.random.default_rng(0).integers(9, 200, (11, 13), dtype=np.uint8)
    found = seen_through(image, window, (window.height, window.width), dark=7)
    for y in range(window.height):
        for x in range(window.width):
            place = (window.top + y, window.left + x)
            there = 0 <= place[0] < 11 and 0 <= place[1] < 13
            assert found[y, x] == (image[place] if there else 7)


def test_each_side_is_averaged_or_interpolated_by_itself() -> None:
    """Rows shrink to a third, columns grow: neither is aliased."""
    image = np.random.default_rng(0).random((12, 4)).astype(np.float32)
    means = image.reshape(4, 3, 4).mean(axis=1)
    share = np.clip((np.arange(8) + 0.5) / 2 - 0.5, 0, 3)
    left, part = np.minimum(share.astype(int), 2), share - np.minimum(share.astype(int), 2)
    expected = means[:, left] * (1 - part) + means[:, left + 1] * part
    assert np.allclose(resized_to(image, (4, 8)), expected, atol=1e-5)


@pytest.mark.parametrize("view", [View(16, 1.5), View(16, 3.0), View(32, 3.0), View(16, 9.0)])
def test_a_cache_shows_images_and_masks_through_the_same_window(tiny: Path, view: View) -> None:
    index = SliceIndex.from_directory(tiny)
    cache = build_cache(index, view)
    assert cache.view == view
    for scan in index.scans:
        rows = index.rows_of_scan(scan)
        window = window_of_scan(rows, view)
        assert window is not None
        native = native_scan(tiny, rows)
        bright = np.percentile(native, 99.5)
        gray = np.minimum(native * (255 / bright), 255)
        reach = max(0, *(-side for side in (window.top, window.left)))
        around = ((0, 0), (reach + 1, reach + 1), (reach + 1, reach + 1))
        top, left = window.top + reach + 1, window.left + reach + 1
        part = np.s_[:, top : top + window.height, left : left + window.width]
        seen = np.pad(gray, around, constant_values=gray.min())[part]
        expected = np.stack([resized_to(p.astype(np.float32), (view.size,) * 2) for p in seen])
        found = cache.images[rows.index.to_numpy(), 0]
        assert np.abs(found - expected).max() <= 3  # the percentile is that of counted levels
        assert np.abs(found - expected).mean() < 1
        masks = scan_masks(rows, organs=index.organs)
        bits = organs_in_bits(cache.masks[rows.index.to_numpy()], index.organs)
        for organ in range(len(index.organs)):
            cut = np.pad(masks[organ], around)[part]
            wanted = np.stack([resized_to(255 * m.astype(np.uint8), (view.size,) * 2) for m in cut])
            assert np.array_equal(bits[:, organ], wanted > 127)


def test_beyond_the_slice_lies_the_scan_s_darkest_level() -> None:
    scan = np.random.default_rng(0).integers(1000, 3000, (2, 8, 8)).astype(np.float32)
    scan[0, 0, 0] = 500
    for gray in ("percentile99.5-v1", "zscore-v1", "window_0_4000-v1"):
        seen = network_images(scan, 16, gray=gray, window=Window(-4, -4, 16, 16))
        dark = seen[0, 4, 4]
        assert dark == seen.min()
        outside = np.ones((16, 16), bool)
        outside[4:12, 4:12] = False
        assert (seen[:, outside] == dark).all()
    two = np.stack([scan, 2 * scan[::-1]], axis=1)
    both = network_images(two, 16, gray="zscore-v1", window=Window(-4, -4, 16, 16))
    assert both.shape == (2, 2, 16, 16)
    assert np.array_equal(
        both[:, 0], network_images(scan, 16, gray="zscore-v1", window=Window(-4, -4, 16, 16))
    )


def test_padding_does_not_change_gray_levels() -> None:
    scan = np.random.default_rng(0).integers(1, 3000, (3, 20, 20)).astype(np.uint16)
    narrow = network_images(scan, 20, window=Window(0, 0, 20, 20))
    wide = network_images(scan, 60, window=Window(-20, -20, 60, 60))
    assert np.array_equal(wide[:, 20:40, 20:40], narrow)


def test_caches_of_whole_slices_keep_their_names_and_others_say_their_spacing(
    own_tiny: Path,
) -> None:
    index = SliceIndex.from_directory(own_tiny)
    print_of = index.fingerprint
    assert cache_directory(print_of, 32).name == f"{print_of}-32-2"
    assert cache_directory(print_of, View(32)).name == f"{print_of}-32-2"
    assert cache_directory(print_of, View(32, 1.5)).name == f"{print_of}-32x1.5mm-2"
    whole, spaced = build_cache(index, 32), build_cache(index, View(32, 1.5))
    assert "spacing_mm" not in (whole.directory / "meta.json").read_text()
    assert '"spacing_mm": 1.5' in (spaced.directory / "meta.json").read_text()
    assert (
        open_cache(Path("/nowhere"), print_of, View(32, 1.5), checked=True).view.spacing_mm == 1.5
    )
    other = cache_directory(print_of, View(32, 2.0))
    shutil.copytree(spaced.directory, other)
    with pytest.raises(RunError, match=r"expected pixels of 2 mm, got pixels of 1\.5 mm"):
        _ = SliceCache.of(other, index.root, View(32, 2.0)).images
    shutil.rmtree(other)


def test_the_knob_is_part_of_the_key_where_it_is_used() -> None:
    plain = Candidate()
    assert plain.key == Candidate.from_knobs({"input.spacing_mm": 0}).key
    assert "input.spacing_mm" not in plain.recorded()
    spaced = Candidate.from_knobs({"input.spacing_mm": 2})
    assert spaced.recorded()["input.spacing_mm"] == 2.0
    assert spaced.key != plain.key
    assert spaced.trajectory != plain.trajectory
    assert spaced.input.view == View(128, 2.0)


@pytest.mark.parametrize("spacing", [-1.0, 0.1, 21.0])
def test_impossible_spacings_are_refused(spacing: float) -> None:
    with pytest.raises(SpaceError, match=r"input.spacing_mm: expected 0, or 0.2 to 20 mm"):
        InputKnobs(spacing_mm=spacing)
    with pytest.raises(SpaceError, match=r"at most 2000 mm of input\.size"):
        InputKnobs(size=512, spacing_mm=4.0)


def test_the_share_of_annotated_pixels_outside_is_counted(tiny: Path) -> None:
    index = SliceIndex.from_directory(tiny)
    views = (View(32), View(16, 1.5), View(128, 4.0))
    found = annotated_outside(index, views)
    inside = total = 0
    for scan in index.scans:
        rows = index.rows_of_scan(scan)
        masks, (height, width) = scan_masks(rows, organs=index.organs), scan_size(rows)
        top, left = (height - 16) // 2, (width - 16) // 2
        inside += masks[..., top : top + 16, left : left + 16].sum()
        total += masks.sum()
    assert 0 < inside < total
    assert found == {View(16, 1.5): pytest.approx(1 - inside / total), View(128, 4.0): 0.0}
    assert annotated_outside(index, (View(32),)) == {}


def test_a_window_of_the_whole_slice_shows_what_a_whole_slice_does(tiny: Path) -> None:
    index = SliceIndex.from_directory(tiny)
    rows = index.rows_of_scan(index.scans[0])
    height, width = scan_size(rows)
    masks = scan_masks(rows, organs=index.organs)
    for mask in masks[0]:
        seen = seen_through(255 * mask.view(np.uint8), Window(0, 0, height, width), (32, 32)) > 127
        assert np.array_equal(seen, resize_mask(mask, 32))
    assert dataclasses.astuple(View.of(32)) == (32, 0.0)
