from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from sklearn.metrics import accuracy_score, f1_score, jaccard_score

from gitract_core.errors import GitractError
from gitract_core.metrics import accuracy, dice, iou

pairs = array_shapes(max_dims=4, max_side=6).flatmap(
    lambda shape: st.tuples(arrays(np.bool_, shape), arrays(np.bool_, shape))
)


@given(pairs)
@settings(max_examples=80, deadline=None)
def test_equal_to_scikit_learn(pair):
    a, b = pair
    flat = b.ravel(), a.ravel()
    assert accuracy(a, b) == pytest.approx(accuracy_score(*flat))
    if not (a.any() or b.any()):
        assert math.isnan(dice(a, b))
        assert math.isnan(iou(a, b))
        return
    assert dice(a, b) == pytest.approx(f1_score(*flat, zero_division=0))
    assert iou(a, b) == pytest.approx(jaccard_score(*flat, zero_division=0))


@given(pairs)
@settings(max_examples=50, deadline=None)
def test_symmetric_and_tied_to_each_other(pair):
    a, b = pair
    for metric in (dice, iou, accuracy):
        assert metric(a, b) == pytest.approx(metric(b, a), nan_ok=True)
    assert dice(a, b) == pytest.approx(2 * iou(a, b) / (1 + iou(a, b)), nan_ok=True)


@pytest.mark.parametrize("metric", [dice, iou, accuracy])
def test_kinds(metric):
    a, b = np.array([True, True, False, True]), np.array([True, False, False, True])
    value = metric(a, b)
    assert type(value) is float
    assert metric(a.astype(np.uint8), 255 * b.astype(np.int64)) == value
    assert metric(a, ~a) == 0.0
    assert metric(a, a) == 1.0


@pytest.mark.parametrize("metric", [dice, iou, accuracy])
def test_shapes_must_agree(metric):
    with pytest.raises(GitractError, match=r"expected the truth's shape \(3,\), got \(2,\)"):
        metric(np.ones(2, bool), np.ones(3, bool))


def test_no_pixels():
    none = np.zeros((0, 4), bool)
    assert all(math.isnan(metric(none, none)) for metric in (dice, iou, accuracy))
