"""What is fuzzed: each parser as a function of bytes that must end in a value or in our own error.

Beyond that each checks what must hold of the value, so that a silent wrong answer is found too.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from gitract_core.data import rle
from gitract_core.data.contest.train_csv import read_annotations
from gitract_core.data.ids import SliceKey
from gitract_core.errors import DataError, RleError, SpaceError, SubmissionError
from gitract_core.losses.expression import parse
from gitract_core.prediction.submission import check_submission
from search_spaces import load_space

Parser = Callable[[bytes], None]

SIZES = pd.DataFrame(
    {
        "id": ["case1_day0_slice_0001", "case1_day0_slice_0002"],
        "height": [4, 4],
        "width": [6, 6],
    }
)


def fuzz_rle(content: bytes) -> None:
    """``rle``: text of a mask of 7 x 9 pixels; what is accepted comes back as the same pixels."""
    text = content.decode("utf-8", "replace")
    try:
        mask = rle.decode(text, 7, 9)
    except RleError:
        mask = None
    try:
        starts, lengths = rle.runs(text, 7, 9)
        assert mask is not None
        assert int(lengths.sum()) == int(mask.sum()) == rle.area(text)
        assert starts.size == lengths.size
        assert (rle.decode(rle.encode(mask), 7, 9) == mask).all()
    except RleError:
        assert mask is None


def fuzz_slice_id(content: bytes) -> None:
    """``slice-id``: what is accepted is written alike, up to leading zeros."""
    text = content.decode("utf-8", "replace")
    try:
        key = SliceKey.parse(text)
    except DataError:
        return
    assert SliceKey.parse(key.id) == key
    assert text.isascii()
    assert "/" not in text


def fuzz_train_csv(content: bytes) -> None:
    """``train-csv``: a text an id and class."""
    with _file(content, ".csv") as path:
        try:
            table = read_annotations(path).masks
        except DataError:
            return
    assert table.index.is_unique
    assert all(isinstance(text, str) for text in table.to_numpy().ravel())
    for name in table.index:
        SliceKey.parse(name)


def fuzz_submission(content: bytes) -> None:
    """``submission``: faults, each on one line that can be printed."""
    with _file(content, ".csv") as path:
        try:
            faults = check_submission(path, SIZES)
        except SubmissionError:
            return
    assert all(str(fault).isprintable() for fault in faults)


def fuzz_space(content: bytes) -> None:
    """``space``: candidates that differ, or one line of what is wrong."""
    with _file(content, ".yaml") as path:
        try:
            space = load_space(path)
        except SpaceError:
            return
    assert len(set(space.candidates)) == len(space.candidates) > 0
    assert space.folds >= 1


def fuzz_loss(content: bytes) -> None:
    """``loss``: terms that, written out, are parsed as the same terms."""
    text = content.decode("utf-8", "replace")
    try:
        terms = parse(text)
    except SpaceError:
        return
    again = parse(" + ".join(map(str, terms)))
    assert [(t.weight, t.name) for t in again] == [(t.weight, t.name) for t in terms]
    assert all(np.isfinite(t.weight) and t.weight > 0 for t in terms)


class _file:  # noqa: N801 (reads as a word)
    """A file in memory with a content; parsers take paths."""

    def __init__(self, content: bytes, suffix: str) -> None:
        self.path = Path(f"/dev/shm/gitract-fuzz-{os.getpid()}{suffix}")
        self.path.write_bytes(content)

    def __enter__(self) -> Path:
        return self.path

    def __exit__(self, *_: object) -> None:
        self.path.unlink(missing_ok=True)


PARSERS: dict[str, Parser] = {
    "rle": fuzz_rle,
    "slice-id": fuzz_slice_id,
    "train-csv": fuzz_train_csv,
    "submission": fuzz_submission,
    "space": fuzz_space,
    "loss": fuzz_loss,
}
