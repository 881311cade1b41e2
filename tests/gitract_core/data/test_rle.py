from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from gitract_core.data import rle
from gitract_core.errors import DataError, RleError

masks = arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, max_side=12))


def plain_text(mask):
    """Run by run, the slow way."""
    pairs, pixels = [], [*mask.ravel().tolist(), False]
    start = None
    for place, on in enumerate(pixels, 1):
        if on and start is None:
            start = place
        elif not on and start is not None:
            pairs += [start, place - start]
            start = None
    return " ".join(map(str, pairs))


def plain_mask(text, height, width):
    flat = np.zeros(height * width, bool)
    numbers = [int(word) for word in text.split()]
    for start, length in zip(numbers[::2], numbers[1::2], strict=True):
        flat[start - 1 : start - 1 + length] = True
    return flat.reshape(height, width)


@given(masks)
@settings(max_examples=150, deadline=None)
def test_text_is_that_of_the_slow_loop_and_comes_back(mask):
    text = rle.encode(mask)
    assert text == plain_text(mask)
    np.testing.assert_array_equal(rle.decode(text, *mask.shape), mask)
    np.testing.assert_array_equal(plain_mask(text, *mask.shape), mask)


@given(masks)
@settings(max_examples=50, deadline=None)
def test_memory_order_does_not_matter(mask):
    assert rle.encode(np.asfortranarray(mask)) == rle.encode(mask)
    assert rle.encode(mask[::-1]) == plain_text(mask[::-1])


@given(st.lists(arrays(np.bool_, (4, 5)), max_size=7))
@settings(max_examples=80, deadline=None)
def test_many_are_as_one_by_one(stack):
    texts = rle.encode_many(stack)
    assert texts == [plain_text(mask) for mask in stack]


@given(masks)
@settings(max_examples=80, deadline=None)
def test_runs_and_area_without_a_mask(mask):
    text = rle.encode(mask)
    starts, lengths = rle.runs(text, *mask.shape)
    expected = np.array(text.split(), int).reshape(-1, 2)
    np.testing.assert_array_equal(starts, expected[:, 0] - 1)
    np.testing.assert_array_equal(lengths, expected[:, 1])
    assert rle.area(text) == mask.sum()


@pytest.mark.parametrize("missing", ["", "   ", None, np.nan, pd.NA])
def test_missing_text_is_an_empty_mask(missing):
    assert rle.decode(missing, 3, 4).shape == (3, 4)
    assert not rle.decode(missing, 3, 4).any()
    assert rle.area(missing) == 0
    assert [len(part) for part in rle.runs(missing, 3, 4)] == [0, 0]


def test_pandas_text_columns():
    for dtype in ("object", "str", "string"):
        column = pd.Series(["2 2", None], dtype=dtype)
        assert [int(rle.decode(text, 2, 2).sum()) for text in column] == [2, 0]


def test_decode_into_overwrites_what_was_there():
    out = np.ones((2, 3), bool)
    rle.decode_into("2 1", out)
    assert out.tolist() == [[False, True, False], [False, False, False]]


def test_full_mask_and_extra_spaces():
    assert rle.encode(np.ones((5, 4), bool)) == "1 20"
    assert rle.decode("1 20", 5, 4).all()
    assert rle.decode(" 1  2   19 2 ", 5, 4).sum() == 4


def test_touching_runs_are_sound():
    assert rle.decode("1 2 3 1", 2, 2).tolist() == [[True, True], [True, False]]


def test_leading_zeros_do_not_change_a_number():
    assert rle.decode("02 01", 2, 2).tolist() == [[False, True], [False, False]]


def test_numbers_above_the_table():
    mask = np.zeros((400, 400), bool)
    mask[399, 390:395] = mask[3, 3] = True
    assert rle.encode(mask) == plain_text(mask)
    full = np.ones((1, 2**17), bool)
    for side in (full, full[:, 1:], full[:, :-1]):
        assert rle.encode(side) == f"1 {side.size}"
    last = np.zeros((1, 2**17), bool)
    last[0, -1] = True
    assert rle.encode(last) == "131072 1"


HUGE = 2**63 - 1
FAULTS = {
    "1": "got 1 numbers",
    "1 2 3": "got 3 numbers",
    "1 x": r"pair 1: expected whole numbers.*got 'x'",
    "1 2 3.0 4": r"pair 2: .*got '3\.0'",
    "1 2\n": r"got '2\\n'",
    "1 -2": "got '-2'",
    "+1 2": r"got '\+1'",
    "1_0 2": "got '1_0'",
    "٣ 2": "got '٣'",
    "\ud800 2": "got '",
    "0 3": "pair 1: expected a start and a length of 1 or more, got '0 3'",
    "1 0": "pair 1: expected a start and a length of 1 or more, got '1 0'",
    "1 1 3 0 4 1": "pair 2: expected a start and a length of 1 or more, got '3 0'",
    "0 0": "pair 1",
    "13 1 0 0 1 0 2 2": "pair 1: expected a run inside the 12 pixels",
    "11 3": "inside the 12 pixels, got '11 3', past the end",
    "13 1": "inside the 12 pixels, got '13 1', past the end",
    "5 2 1 2": "pair 2: expected a start after pixel 6, where the run before ends, got 1",
    "1 3 3 2": "pair 2: expected a start after pixel 3, where the run before ends, got 3",
    "1 12 1 2": "pair 2: expected a start after pixel 12",
    f"1 {HUGE}": "pair 1",
    f"1 {'9' * 5000}": "pair 1: expected whole numbers.*got '9{40}'",
    f"{HUGE} {HUGE - 3} 3 2": "pair 1",
    f"{HUGE} 2 3 1": "pair 1",
    f"2 {HUGE} {HUGE} 9": "pair 1",
}


@pytest.mark.parametrize(
    ("text", "message"), FAULTS.items(), ids=[ascii(text)[:50] for text in FAULTS]
)
def test_faults_are_named(text, message):
    for call in (rle.decode, rle.runs):
        with pytest.raises(RleError, match=message):
            call(text, 3, 4)


@given(st.text("0123 ", max_size=12))
@settings(max_examples=300, deadline=None)
def test_only_sound_texts_are_decoded(text):
    numbers = [int(word) for word in text.split()]
    pairs = list(zip(numbers[::2], numbers[1::2], strict=False))
    ends = [start + length - 1 for start, length in pairs]
    sound = (
        len(numbers) % 2 == 0
        and all(start >= 1 and length >= 1 for start, length in pairs)
        and all(end < start for end, (start, _) in zip(ends, pairs[1:], strict=False))
        and max(ends, default=0) <= 20
    )
    if sound:
        np.testing.assert_array_equal(rle.decode(text, 4, 5), plain_mask(text, 4, 5))
    else:
        with pytest.raises(RleError):
            rle.decode(text, 4, 5)


@pytest.mark.parametrize("text", ["1 2 2 2", "0 1", "1 0", "x 1", "1", f"1 {HUGE} 1 2"])
def test_area_is_as_strict_as_can_be_without_a_size(text):
    with pytest.raises(RleError):
        rle.area(text)


def test_wrong_kinds():
    with pytest.raises(RleError, match=r"expected text, got 3 \(int\)"):
        rle.decode(3, 2, 2)
    with pytest.raises(RleError, match=r"boolean array \(height, width\), got uint8 of shape"):
        rle.encode(np.zeros((2, 2), np.uint8))
    with pytest.raises(RleError, match=r"got bool of shape \(2, 2, 2\)"):
        rle.encode(np.zeros((2, 2, 2), bool))
    with pytest.raises(RleError, match="got 0 x 4"):
        rle.decode("", 0, 4)
    assert issubclass(RleError, DataError)


@pytest.mark.real
def test_real_masks_come_back_as_the_same_text(real_data):
    table = pd.read_csv(real_data / "masks_10_scans.csv", keep_default_na=False)
    assert len(table) == 4320
    for (height, width), rows in table.groupby(["height", "width"]):
        texts = rows["segmentation"].tolist()
        decoded = [rle.decode(text, height, width) for text in texts]
        assert rle.encode_many(decoded) == texts
        for text, mask in zip(texts, decoded, strict=True):
            assert rle.area(text) == mask.sum()
