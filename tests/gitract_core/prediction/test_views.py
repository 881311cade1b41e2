"""Probabilities of a window return to their place; those of several views meet in the body."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor, nn

from gitract_core.clinic.nifti import read_nifti
from gitract_core.data.sources import find_sources
from gitract_core.data.windows import mask_through
from gitract_core.errors import DataError
from gitract_core.knobs import PostprocessKnobs
from gitract_core.metrics.overlap import dice
from gitract_core.organs import Organs
from gitract_core.prediction.clinical import doubts_about, predict_sources
from gitract_core.prediction.common_view import CommonView, Said, at_size
from gitract_core.prediction.members import Member, Members, Predictor
from gitract_core.prediction.postprocess import NativeGrid, enlarged, native_masks
from gitract_core.spec import Candidate
from gitract_core.view import View
from tests.support.tiny_training import KNOBS

RULE = PostprocessKnobs()


def grid_of(height: int, width: int, pixel_mm: tuple[float, float]) -> NativeGrid:
    return NativeGrid(height, width, 3 * pixel_mm[0] * pixel_mm[1], pixel_mm)


@pytest.mark.parametrize(
    ("shape", "pixel_mm", "spacing"),
    [
        ((40, 48), (1.0, 1.0), 2.0),  # within the slice
        ((41, 47), (1.0, 1.0), 2.0),  # half a pixel off the middle
        ((20, 70), (1.0, 1.0), 2.0),  # beyond it above and below
        ((20, 21), (1.0, 1.0), 2.0),  # beyond it on all sides
        ((40, 30), (0.5, 2.0), 2.0),  # pixels that are not square
    ],
)
def test_blocks_return_as_they_went_in(
    shape: tuple[int, int], pixel_mm: tuple[float, float], spacing: float
) -> None:
    view = View(16, spacing)
    grid = grid_of(*shape, pixel_mm).seen_by(view)
    window = grid.seen
    blocks = np.random.default_rng(0).random((16, 16)) < 0.5
    by = window.height // 16, window.width // 16
    inside = window.within(*shape)
    large = np.kron(blocks, np.ones(by)).astype(bool)
    expected = np.zeros(shape, bool)
    expected[inside.top : inside.bottom, inside.left : inside.right] = large[
        inside.top - window.top : inside.bottom - window.top,
        inside.left - window.left : inside.right - window.left,
    ]
    found = enlarged(255 * blocks[None].astype(np.uint8), grid, 0.5)[0]
    assert np.array_equal(found, expected)
    if inside == window:
        assert np.array_equal(mask_through(expected, window, (16, 16)), blocks)


def test_outside_of_the_window_there_is_no_organ() -> None:
    grid = grid_of(30, 20, (1.0, 1.0)).seen_by(View(8, 2.0))
    everything = np.full((2, 3, 8, 8), 255, np.uint8)
    masks = native_masks(everything, grid, RULE)
    assert masks[:, :, 7:23, 2:18].all()
    assert masks.sum() == 2 * 3 * 16 * 16
    assert native_masks(everything, dataclasses.replace(grid, window=None), RULE).all()


def test_a_window_finer_than_the_slice_is_averaged() -> None:
    """Of 4 x 4 pixels a native one takes the mean, not its middle alone."""
    grid = grid_of(10, 10, (2.0, 2.0)).seen_by(View(16, 0.5))
    fine = np.zeros((1, 16, 16), np.uint8)
    fine[0, 1:3, 1:3] = 255  # the middle quarter of a native pixel
    fine[0, 4:8, 8:11] = 255  # three quarters of another
    found = enlarged(fine, grid, 0.5)
    assert np.argwhere(found[0]).tolist() == [[4, 5]]


def test_a_grid_must_know_its_pixels_where_they_matter() -> None:
    with pytest.raises(DataError, match=re.escape("expected their sizes in mm, got none")):
        NativeGrid(10, 10, 1.0).seen_by(View(16, 2.0))


def said(view: View, weight: float, seed: int) -> Said:
    random = np.random.default_rng(seed)
    smooth = ndimage.gaussian_filter(random.random((2, 3, view.size, view.size)), (0, 0, 2, 2))
    return Said(np.asarray(255 * smooth, np.float32), view, weight)


def test_members_of_one_view_are_averaged_pixel_by_pixel_to_the_bit() -> None:
    grid = grid_of(50, 60, (1.0, 1.0))
    for view in (View(16), View(16, 2.0)):
        two = [said(view, 0.3, 0), said(view, 0.7, 1)]
        common = CommonView.of((view, view), lambda: grid)
        expected = sum(np.float32(s.weight) * s.probabilities for s in two)
        assert np.array_equal(common.average(two), expected)
        assert common.window == grid.seen_by(view).window or not view.spacing_mm


def test_whole_slices_of_several_sizes_meet_as_before() -> None:
    def unasked() -> NativeGrid:
        raise AssertionError("whole slices need no pixels")

    two = [said(View(16), 0.25, 0), said(View(32), 0.75, 1)]
    common = CommonView.of([s.view for s in two], unasked)
    assert (common.height, common.width, common.window) == (32, 32, None)
    expected = np.float32(0.25) * at_size(two[0].probabilities, 32)
    expected = expected + np.float32(0.75) * two[1].probabilities
    assert np.array_equal(common.average(two), expected)


def at_native(member: Said, grid: NativeGrid) -> np.ndarray:
    """What a member says at the middle of each native pixel; NaN where it sees nothing."""
    window, size = grid.seen_by(member.view).seen, member.view.size
    found = np.full((2, 3, grid.height, grid.width), np.nan)
    for y in range(grid.height):
        for x in range(grid.width):
            down = (y + 0.5 - window.top) / window.height * size
            across = (x + 0.5 - window.left) / window.width * size
            if 0 <= down <= size and 0 <= across <= size:
                place = [np.clip(c - 0.5, 0, size - 1) for c in (down, across)]
                for organ, z in np.ndindex(2, 3):
                    plane = member.probabilities[organ, z]
                    value = ndimage.map_coordinates(plane, np.array(place)[:, None], order=1)
                    found[organ, z, y, x] = value[0]
    return found


@pytest.mark.parametrize(
    ("views", "pixel_mm"),
    [
        ((View(16, 1.0), View(16, 1.5)), (1.0, 1.0)),
        ((View(16), View(16, 1.0)), (1.0, 1.0)),
        ((View(16, 2.0), View(32, 1.5), View(16)), (1.5, 1.2)),
    ],
)
def test_members_of_several_views_meet_where_they_are_in_the_body(
    views: tuple[View, ...], pixel_mm: tuple[float, float]
) -> None:
    grid = grid_of(29, 36, pixel_mm)
    members = [said(view, 0.2 + 0.3 * n, n) for n, view in enumerate(views)]
    common = CommonView.of(views, lambda: grid)
    assert common.mixed
    found = common.average(members)
    assert found.dtype == np.float32
    each = np.stack([at_native(member, grid) for member in members])
    weights = np.array([m.weight for m in members])[:, None, None, None, None]
    heard = (weights * np.isfinite(each)).sum(axis=0)
    expected = np.nansum(weights * each, axis=0) / np.where(heard > 0, heard, 1)
    plane = common.window
    assert plane is not None
    inside = np.s_[:, :, plane.top : plane.bottom, plane.left : plane.right]
    assert expected.sum() == pytest.approx(expected[inside].sum()), "it covers all of them"
    if (common.height, common.width) == (plane.height, plane.width):
        assert np.allclose(found, expected[inside], atol=1e-2)
    level = float(np.median(expected[heard > 0])) / 255
    rule = PostprocessKnobs(threshold=level)
    masks = native_masks(found, dataclasses.replace(grid, window=plane), rule)
    clear = np.abs(expected - 255 * level) > 3
    assert clear.mean() > 0.5
    assert np.array_equal(masks[clear], (expected >= 255 * level)[clear])
    swapped = common.average([members[0], *reversed(members[1:])])
    assert np.allclose(swapped, found, atol=1e-3)


def test_who_does_not_see_a_pixel_has_no_say_there() -> None:
    grid = grid_of(32, 32, (1.0, 1.0))
    near, far = View(16, 1.0), View(32, 1.0)
    yes = Said(np.full((1, 1, 32, 32), 255, np.uint8), far, 0.1)
    no = Said(np.zeros((1, 1, 16, 16), np.uint8), near, 0.9)
    found = CommonView.of((near, far), lambda: grid).average([yes, no])[0, 0]
    assert np.allclose(found[8:24, 8:24], 25.5)
    outside = np.ones((32, 32), bool)
    outside[8:24, 8:24] = False
    assert np.allclose(found[outside], 255)


def test_what_is_finer_than_the_slice_is_averaged_where_views_meet() -> None:
    """Stripes of two pixels are gray where four of them make a native one."""
    grid = grid_of(12, 12, (4.0, 4.0))
    stripes = np.tile(np.array([0, 255, 255, 0], np.uint8), (1, 2, 32, 8))
    gray = Said(np.full((1, 2, 16, 16), 100, np.uint8), View(16, 2.0), 1e-6)
    common = CommonView.of((View(32, 1.0), View(16, 2.0)), lambda: grid)
    assert (common.height, common.width) == (8, 8)
    found = common.average([Said(stripes, View(32, 1.0), 1.0), gray])
    assert np.abs(found - 127.5).max() < 25


class LargeBright(nn.Module):
    """Says yes in the middle of what is bright over 9 x 9 pixels: it knows one scale alone."""

    def forward(self, images: Tensor) -> Tensor:
        mean = nn.functional.avg_pool2d(images[:, :1], 9, stride=1, padding=4)
        return 60 * (mean - 0.75 * images.amax(dim=(1, 2, 3), keepdim=True))


def write_scan(file: Path, pixel_mm: tuple[float, float], field_mm: tuple[float, float]) -> Path:
    """A large and a small bright disc in front of gray, the same in the body in every file."""
    shape = tuple(round(side / mm) for side, mm in zip(field_mm, pixel_mm, strict=True))
    y, x = ((np.arange(n) + 0.5 - n / 2) * mm for n, mm in zip(shape, pixel_mm, strict=True))
    made = np.full((4, *shape), 200.0)
    for radius, (down, across) in ((22, (-8, 10)), (8, (30, -24))):
        distance = np.hypot(y[:, None] - down, x[None] - across)
        made += 800 * np.clip((radius - distance) / 2 + 0.5, 0, 1)
    made += np.random.default_rng(0).integers(0, 40, made.shape)  # no plateau: that is padding
    affine = np.diag([pixel_mm[1], pixel_mm[0], 3.0, 1.0])
    nib.save(nib.Nifti1Image(made.transpose(2, 1, 0).astype(np.uint16), affine), file)
    return file


def predicted(folder: Path, files: Path, spacing: float) -> dict[str, np.ndarray]:
    """Masks by scan, on files of their own."""
    candidate = Candidate.from_knobs({**KNOBS, "input.size": 64, "input.spacing_mm": spacing})
    member = Member("trial", 0, candidate, "none.safetensors", "", 1.0)
    members = Members((member,), (RULE,), "0" * 16, "1" * 16, organs=Organs(("disc",)))
    predictor = object.__new__(Predictor)
    predictor.members, predictor.device = members, torch.device("cpu")
    predictor.networks, predictor.given = [LargeBright().eval()], []
    sources = find_sources(files, "nifti")
    made = predict_sources(predictor, sources, folder, "nifti")
    return {m.scan: np.asarray(nib.load(folder / m.files[0]).dataobj) > 0 for m in made}


def test_scans_of_other_pixels_are_seen_at_the_spacing_of_training(tmp_path: Path) -> None:
    files = tmp_path / "scans"
    files.mkdir()
    write_scan(files / "as_trained.nii.gz", (1.5, 1.5), (150, 150))
    others = {"coarse": ((3.0, 3.0), (150, 150)), "wide": ((1.5, 1.5), (270, 300))}
    others |= {"oblong": ((2.5, 1.0), (200, 120)), "fine": ((0.75, 0.75), (110, 110))}
    for name, (pixel_mm, field_mm) in others.items():
        write_scan(files / f"{name}.nii.gz", pixel_mm, field_mm)

    def agreement(spacing: float) -> dict[str, float]:
        found = predicted(tmp_path / f"out{spacing}", files, spacing)
        first = found.pop("as_trained")[..., 0].T
        assert first.any()
        agree = {}
        for name, mask in found.items():
            (mm_y, mm_x), plane = others[name][0], mask[..., 0].T
            places = np.indices(plane.shape) + 0.5
            for axis, mm in enumerate((mm_y, mm_x)):
                places[axis] = (places[axis] - plane.shape[axis] / 2) * mm / 1.5
                places[axis] += first.shape[axis] / 2 - 0.5
            there = ndimage.map_coordinates(first.astype(float), places, order=1) >= 0.5
            agree[name] = float(dice(plane, there))
        return agree

    spaced = agreement(2.0)
    assert min(spaced.values()) > 0.9, spaced
    whole = agreement(0.0)
    assert min(whole["wide"], whole["oblong"]) < 0.7, whole


def test_pixels_that_no_network_sees_are_no_doubt(tmp_path: Path) -> None:
    fine = read_nifti(write_scan(tmp_path / "fine.nii", (0.5, 0.5), (400, 400)))
    coarse = read_nifti(write_scan(tmp_path / "coarse.nii", (4.0, 4.0), (400, 400)))
    small = read_nifti(write_scan(tmp_path / "small.nii", (1.5, 1.5), (120, 120)))

    def about(scan: object, *views: View) -> str:
        return " ".join(doubts_about(scan, views=views))  # type: ignore[arg-type]

    view = View(128, 1.5)
    assert "pixels" in about(fine)
    assert "pixels" not in about(fine, view)
    assert "pixels" in about(fine, view, View(128))
    assert "pixels of 4.00" in about(coarse, view)
    assert "field of view" in about(small)
    assert "field of view" not in about(small, View(64, 1.5))
    assert "field of view" in about(small, View(128, 2.0))
