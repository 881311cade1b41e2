"""What the HTML page is made of, on its own: places, pairs, costs, choice of slices, pictures."""

from __future__ import annotations

import base64
import re

import cv2
import numpy as np
import pandas as pd
import pytest

from orchestrator.report.page.cases import complement
from orchestrator.report.page.contact_sheets import MOST_PX, ScanSheet, outline_paths, sheet_uris
from orchestrator.report.page.gallery import choose_scans, choose_slices
from orchestrator.report.page.ranking import pareto_front
from orchestrator.report.page.slice_positions import scan_tenths


def test_tenths_of_long_and_short_scans() -> None:
    ids = [f"case1_day0_slice_{n:04d}" for n in range(1, 21)] + ["case2_day0_slice_0007"]
    tenths = scan_tenths(pd.Series(ids + ids[:3]))
    assert tenths[:20].tolist() == [n // 2 for n in range(20)]
    assert tenths[20] == 5  # the only slice of its scan is its middle
    assert tenths[21:].tolist() == [0, 0, 1]


def test_complement_agrees_with_loops() -> None:
    scores = np.random.default_rng(0).random((4, 12))
    scores[:, 5] = [np.nan, 1, 1, 1]
    kept = np.delete(scores, 5, axis=1)
    found = complement(scores)
    gains = {}
    for a in range(4):
        for b in range(4):
            if a == b:
                assert np.isnan(found.gain[a, b])
                assert np.isnan(found.correlation[a, b])
                continue
            better = np.mean([max(x, y) for x, y in zip(kept[a], kept[b], strict=True)])
            gains[a, b] = better - max(row.mean() for row in kept)
            assert found.gain[a, b] == pytest.approx(gains[a, b])
            assert found.correlation[a, b] == pytest.approx(np.corrcoef(kept[a], kept[b])[0, 1])
    assert gains[found.best or (0, 0)] == pytest.approx(max(gains.values()))
    assert complement(kept[:1]).best is None
    assert complement(np.full((2, 3), np.nan)).best is None
    assert np.isnan(complement(np.ones((2, 5))).correlation).all()  # no spread, no correlation


def test_pareto_front_is_what_nobody_beats() -> None:
    random = np.random.default_rng(1)
    for _ in range(50):
        costs, scores = random.integers(1, 6, 9).tolist(), random.integers(0, 6, 9).tolist()
        points = list(zip(costs, scores, strict=True))
        unbeaten = {
            (c, s)
            for c, s in points
            if not any((d <= c and t >= s) and (d, t) != (c, s) for d, t in points)
        }
        front = pareto_front(costs, scores)
        assert [points[i] for i in front] == sorted(unbeaten)
        assert all(points.index(points[i]) == i for i in front)


def test_slices_cover_what_is_held_and_the_worst() -> None:
    held = np.zeros(144, bool)
    held[20:100] = True
    wrong = np.zeros(144)
    wrong[53] = 9
    places = choose_slices(held, wrong)
    assert len(places) <= 24
    assert (places[0], places[-1]) == (19, 100)
    assert 53 in places
    assert np.diff(places).max() <= 4
    assert choose_slices(held[95:110], wrong[95:110]).tolist() == [0, 1, 2, 3, 4, 5]
    assert len(choose_slices(np.zeros(7, bool), np.zeros(7))) == 7


def drawn(path: str, shape: tuple[int, int]) -> np.ndarray:
    """A path as a browser fills it: even-odd, and its outline one pixel wide."""
    rings = [
        np.array([[int(v) for v in corner.split()] for corner in ring.strip("Mz").split("L")])
        for ring in re.findall(r"M[^z]*z", path)
    ]
    canvas = np.zeros(shape, np.uint8)
    cv2.fillPoly(canvas, rings, 1)  # all rings in one call: even-odd
    cv2.polylines(canvas, rings, True, 1)
    return canvas > 0


def test_outlines_follow_masks_within_a_pixel() -> None:
    y, x = np.mgrid[:90, :120]
    ring = (np.hypot(y - 45, x - 60) < 30) & (np.hypot(y - 45, x - 60) > 14)
    noise = np.random.default_rng(2).random((90, 120))
    blobs = cv2.GaussianBlur(noise, (0, 0), 4) > 0.5
    point = np.zeros_like(ring)
    point[3, 4] = True
    for mask in (ring, blobs, point):
        (path,) = outline_paths(mask[None])
        shown = drawn(path, mask.shape)
        square = np.ones((3, 3), np.uint8)
        assert not (shown & ~(cv2.dilate(mask.astype(np.uint8), square) > 0)).any()
        assert not ((cv2.erode(mask.astype(np.uint8), square) > 0) & ~shown).any()
    assert not drawn(outline_paths(ring[None])[0], ring.shape)[45, 60]  # the hole is open
    assert outline_paths(np.zeros((3, 5, 5), bool)) == ["", "", ""]
    crumbs = noise > 0.5
    assert 500 < len(outline_paths(crumbs[None])[0]) <= 3_000  # coarse, but small


def test_sheets_hold_the_slices_in_order() -> None:
    slices = np.stack([np.full((300, 200), 10 * i, np.uint8) for i in range(7)])
    sheet = ScanSheet.of_slices(slices)
    assert (sheet.height, sheet.width) == (MOST_PX, 107)
    content = base64.b64decode(sheet_uris([sheet])[0].partition(",")[2])
    picture = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_GRAYSCALE)
    assert picture is not None
    assert picture.shape == (sheet.layout["height"], sheet.layout["width"])
    for place in range(7):
        row, column = divmod(place, sheet.columns)
        tile = picture[row * MOST_PX :, column * sheet.width :][:MOST_PX, : sheet.width]
        assert abs(float(tile.mean()) - 10 * place) < 3


def test_scans_are_chosen_from_worst_to_best() -> None:
    many = pd.Series(np.linspace(0, 1, 11), index=[f"case{i}_day0" for i in range(11)])
    chosen = choose_scans(many)
    assert [c.kind for c in chosen] == ["worst"] * 2 + ["typical"] * 2 + ["best"] * 2
    assert [c.rank for c in chosen] == [1, 2, 5, 6, 10, 11]
    for n in range(1, 6):
        assert len({c.scan for c in choose_scans(many[:n])}) == n
    assert choose_scans(many[:0]) == []
