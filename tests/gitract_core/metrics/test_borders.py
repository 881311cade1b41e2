from __future__ import annotations

import numpy as np
import pytest

from gitract_core.errors import GitractError
from gitract_core.metrics.borders import BorderCounts, border_counts

SPACING = (3.0, 1.5, 1.5)


def disc(radius: float, y: float = 30, x: float = 30) -> np.ndarray:
    rows, columns = np.mgrid[:60, :60]
    return np.hypot(rows - y, columns - x) <= radius


@pytest.mark.parametrize("grown", [-6, -3, 0, 4])
def test_a_grown_or_shrunk_disc_shifts_its_border_by_as_much(grown: int) -> None:
    truth = np.stack([disc(15)] * 4)
    counts = border_counts(np.stack([disc(15 + grown)] * 4), truth, SPACING)
    assert counts.shift_mm == pytest.approx(1.5 * grown, abs=0.7)  # half a pixel
    expected = ((15 + grown) / 15) ** 2 - 1
    assert counts.volume_error == pytest.approx(expected, abs=0.03)
    assert (counts.missed, counts.spurious) == (0, 0)


def test_a_moved_disc_has_no_shift_on_the_whole() -> None:
    counts = border_counts(disc(12, x=33)[None], disc(12)[None], SPACING)
    assert abs(counts.shift_mm) < 0.4
    assert counts.volume_error == 0


def test_missed_and_spurious_parts_are_counted_in_three_dimensions() -> None:
    truth, prediction = (np.zeros((5, 60, 60), bool) for _ in range(2))
    truth[0:3] |= disc(5, 10, 10)
    truth[2] |= disc(5, 40, 40)
    truth[4] |= disc(5, 10, 50)
    prediction[1] = disc(3, 10, 10)  # touches the first part only
    prediction[3] |= disc(3, 50, 12)
    counts = border_counts(prediction, truth, SPACING)
    assert (counts.missed, counts.truth_parts) == (2, 3)
    assert (counts.spurious, counts.prediction_parts) == (1, 2)
    assert counts.truth_mm3 == truth.sum() * 6.75


def test_scans_pool_by_sums_and_empty_ones_add_nothing() -> None:
    one = border_counts(disc(12)[None], disc(15)[None], SPACING)
    empty = border_counts(np.zeros((1, 60, 60), bool), np.zeros((1, 60, 60), bool), SPACING)
    assert one + empty == one
    assert np.isnan(empty.shift_mm)
    assert np.isnan(empty.volume_error)
    assert (one + one).shift_mm == pytest.approx(one.shift_mm)
    assert BorderCounts() + one == one


def test_the_shift_is_the_mean_over_border_pixels_of_a_plain_search() -> None:
    random = np.random.default_rng(3)
    for _ in range(5):
        truth, prediction = random.random((2, 1, 14, 14)) < 0.6
        border = [p for p in np.argwhere(prediction[0]) if _on_border(prediction[0], p)]
        truth_border = [q for q in np.argwhere(truth[0]) if _on_edge(truth[0], q)]
        total = 0.0
        for p in border:
            far = min(float(np.hypot(*(p - q))) for q in truth_border)
            total += -_depth(truth[0], p) if truth[0][tuple(p)] else far
        counts = border_counts(prediction, truth, (3.0, 1.0, 1.0))
        assert counts.border_px == len(border)
        assert counts.shift_sum_mm == pytest.approx(total, abs=1e-3)


def _on_border(mask: np.ndarray, p: np.ndarray) -> bool:
    around = np.pad(mask, 1)[p[0] : p[0] + 3, p[1] : p[1] + 3]
    return not around.all()


def _on_edge(mask: np.ndarray, p: np.ndarray) -> bool:
    """A pixel that could be the nearest one from outside: any pixel of the mask."""
    return bool(mask[tuple(p)])


def _depth(mask: np.ndarray, p: np.ndarray) -> float:
    """Distance to the nearest pixel outside, less one: 0 on the mask's own border."""
    wide = np.pad(mask, 1)
    return min(float(np.hypot(*(p + 1 - q))) for q in np.argwhere(~wide)) - 1


def test_volumes_of_several_shapes_are_refused() -> None:
    with pytest.raises(GitractError):
        border_counts(np.zeros((1, 2, 2), bool), np.zeros((1, 2, 3), bool), SPACING)
