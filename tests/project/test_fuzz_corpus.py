"""Parsers of text from outside: inputs that fuzzing kept, and their own words in any order."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.parsers import PARSERS

CORPUS = Path(__file__).resolve().parent.parent / "fuzz/corpus"
_ORGANS = ("large_bowel,", "small_bowel,", "stomach,")
_CSV = ("case1_day0_slice_0001,", *_ORGANS, "1 3", "24 1", "25 1", "\n", '"', ",", "\r", "\0", "é")
_YAML = ("{learning_rate: ", "uniform: ", "samples: 3", "&a", "*a", ".nan", "!!int ", "? ", "| ")
WORDS = {
    "rle": ["1", "2", " ", "  ", "63", "64", "0", "-1", "9" * 19, "+3", "1.0", "1e3", "\t", "٣"],
    "slice-id": ["case", "1", "0", "_day", "_slice_", "0001", "../", "\n", "٣", "9" * 10],
    "train-csv": ["id,class,segmentation\n", *_CSV],
    "submission": ["id,class,predicted\n", *_CSV],
    "space": [*"[]{},:\n", "loss: ", "bce", "folds: 2", "- ", "variants:", "optimizer: ", *_YAML],
    "loss": ["bce", "dice", "+", "*", " ", ".5", "1e400", "0", "2.", "-", "(", "\n", "٣"],
}


@pytest.mark.parametrize("parser", PARSERS)
def test_the_corpus(parser: str) -> None:
    files = sorted((CORPUS / parser).iterdir())
    assert len(files) >= 3
    for file in files:
        PARSERS[parser](file.read_bytes())


def test_the_corpus_is_small() -> None:
    assert sum(f.stat().st_size for f in CORPUS.rglob("*") if f.is_file()) < 300_000
    assert {folder.name for folder in CORPUS.iterdir()} == PARSERS.keys() == WORDS.keys()


@pytest.mark.parametrize("parser", PARSERS)
def test_their_own_words_in_any_order(parser: str) -> None:
    words = st.lists(st.sampled_from(WORDS[parser]) | st.text(max_size=2), max_size=30)

    @settings(max_examples=150, deadline=None, derandomize=True)
    @given(words)
    def holds(text: list[str]) -> None:
        PARSERS[parser]("".join(text).encode("utf-8", "surrogatepass"))

    holds()


def test_what_the_parsers_check_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """A decoder that drops the last pixel, and one that raises what is not ours."""
    from gitract_core.data import rle

    real = rle.decode
    monkeypatch.setattr(rle, "runs", lambda *_: real("1 2", 0, 0))
    with pytest.raises(rle.RleError):
        real("1 2", 0, 0)
    with pytest.raises(AssertionError):
        PARSERS["rle"](b"1 2")
    monkeypatch.setattr(rle, "decode", lambda *_: [][0])
    with pytest.raises(IndexError):
        PARSERS["rle"](b"1 2")
