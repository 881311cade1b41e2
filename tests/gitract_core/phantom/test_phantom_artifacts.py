"""One slice alone is sometimes ambiguous, and its neighbors are not."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from gitract_core.phantom import PhantomSpec, make_plan
from gitract_core.phantom.anatomy.tissue import Tissue, signal_table
from gitract_core.phantom.phantom_spec import generator
from gitract_core.phantom.scan import Scan

SLICES = 48


@pytest.fixture(scope="module")
def scans() -> list[Scan]:
    """Nine scans in slices of 9 mm."""
    plan = make_plan(PhantomSpec.small(6, 3, SLICES)).train
    return [Scan.drawn(scan, 3) for scan in plan if scan.n_slices == SLICES][:9]


def edge_contrast(image: np.ndarray, mask: np.ndarray) -> float:
    """Step across the outline of a mask, in units of the mean of the image around it.

    Gray values two pixels inside against those two pixels outside, point by point along the
    outline: the whole of what a single slice says about where the organ ends.
    """
    gray = cv2.GaussianBlur(image.astype(np.float32), (0, 0), 0.8)
    x_step, y_step = (cv2.Sobel(gray, cv2.CV_32F, *order, ksize=3) for order in ((1, 0), (0, 1)))
    ring = cv2.dilate(mask.astype(np.uint8), np.ones((3, 3), np.uint8)) > mask
    near = cv2.dilate(mask.astype(np.uint8), np.ones((15, 15), np.uint8)) > 0
    return float(np.hypot(x_step, y_step)[ring].mean() / gray[near].mean())


def contrasts(scan: Scan, organs: tuple[int, ...] = (0, 1, 2)) -> np.ndarray:
    """Edge contrast of all organs of each slice, nan without any, float (slices,)."""
    values = []
    for image, masks in scan.slices():
        held = masks[list(organs)].any(axis=0)
        values.append(edge_contrast(image, held) if held.sum() > 200 else np.nan)
    return np.array(values)


def against_neighbors(scan: Scan, positions: list[int]) -> list[float]:
    """Contrast of slices as shares of the mean contrast of the two slices beside each."""
    values = contrasts(scan)
    inner = [p for p in positions if 0 < p < len(values) - 1]
    shares = [2 * values[p] / (values[p - 1] + values[p + 1]) for p in inner]
    return [s for s in shares if np.isfinite(s)]


def test_spoiled_slices_lose_contrast_that_their_neighbors_keep(scans: list[Scan]) -> None:
    spoiled, same_slices_unspoiled = [], []
    for scan in scans:
        positions = list(scan.scanner.spoiled)
        clean = replace(scan, scanner=replace(scan.scanner, spoiled={}))
        spoiled += against_neighbors(scan, positions)
        same_slices_unspoiled += against_neighbors(clean, positions)
    assert len(spoiled) > 25
    assert np.median(same_slices_unspoiled) == pytest.approx(1, abs=0.1)
    assert np.median(spoiled) < 0.8
    assert np.quantile(spoiled, 0.25) < 0.7  # a quarter of them lose a third and more


def test_spoiled_slices_are_a_fifth_and_never_neighbors(scans: list[Scan]) -> None:
    shares = []
    for scan in scans:
        positions = sorted(scan.scanner.spoiled)
        assert (np.diff(positions) > 1).all()
        shares.append(len(positions) / scan.plan.n_slices)
    assert np.mean(shares) == pytest.approx(0.2, abs=0.06)


def test_masks_do_not_know_of_spoiled_slices(scans: list[Scan]) -> None:
    scan = scans[0]
    clean = replace(scan, scanner=replace(scan.scanner, spoiled={}))
    for position, ((image, masks), (plain, others)) in enumerate(
        zip(scan.slices(), clean.slices(), strict=True)
    ):
        np.testing.assert_array_equal(masks, others)
        assert (image == plain).all() == (position not in scan.scanner.spoiled)


def test_spoiling_stays_inside_the_belly() -> None:
    plan = make_plan(PhantomSpec.small(2, 3, SLICES)).train[0]
    scan = Scan.drawn(plan, 3)
    for position, fault in scan.scanner.spoiled.items():
        plain = replace(fault, gain=1.0, ghost=0.0)
        flat = np.random.default_rng(position).random((plan.height, plan.width), np.float32)
        changed = np.abs(plain.apply(flat) - flat) > 0
        assert changed.any()
        assert not changed[fault.inside == 0].any()


def test_in_half_of_the_scans_both_bowels_hold_the_same() -> None:
    """Then gray values do not tell large from small bowel; where they lead does."""
    ratios = []
    for number in range(200):
        means = signal_table(generator(number, "table"))[:, 0]
        ratios.append(means[Tissue.LARGE_CONTENT] / means[Tissue.SMALL_CONTENT])
    alike = np.abs(np.log(ratios)) < 0.2
    assert 0.45 < alike.mean() < 0.75


def test_content_is_darker_and_brighter_than_what_surrounds_it() -> None:
    tables = [signal_table(generator(number, "table"))[:, 0] for number in range(100)]
    for content in (Tissue.LARGE_CONTENT, Tissue.SMALL_CONTENT, Tissue.STOMACH_CONTENT):
        brighter_than_liver = np.mean([t[content] > t[Tissue.LIVER] for t in tables])
        brighter_than_fat = np.mean([t[content] > t[Tissue.FAT] for t in tables])
        assert 0.2 < brighter_than_liver < 0.8
        assert 0 < brighter_than_fat < 0.3
