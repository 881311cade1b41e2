"""Run-length text of masks, as the contest writes it.

A mask of shape (height, width) is read row by row (C order), pixels are counted from 1, and the
text is ``start length start length ...``, one pair a run. An empty text is an empty mask. (The
contest's page speaks of columns; its data is by rows: every real mask comes back as the same text.)

Inside, a mask is its *stretches*: the lengths of off, on, off, ..., off pixels, which add up to the
size. A text between two fences (the pair ``1 0`` before, ``size+1 0`` after) is parsed in one go,
and the differences of neighboring run borders are the stretches; none of them being
negative is the proof that the text is sound. Whatever is not plainly sound goes to the slow and
talkative ``_examined``.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from gitract_core.errors import RleError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    RleText = str | float | None
    Mask = NDArray[np.bool_]
    Counts = NDArray[np.int64]

__all__ = ["area", "decode", "decode_into", "encode", "encode_many", "runs"]

REMEDY = "write 'start length' pairs row by row, counting pixels from 1"
_ALLOWED = b"0123456789 "
_MISSING = frozenset({"None", "nan", "<NA>"})
_MOST_DIGITS = 18
_UNBOUNDED_SIZE = 2**60
_TABLE_SIZE = 2**17  # numbers written as 8 bytes: enough for 360 x 360, 1 MiB


def encode(mask: Mask) -> str:
    """The text of a mask.

    Args:
        mask: boolean, shape (height, width), any memory order.

    Returns:
        ``start length`` pairs in row-major order, counted from 1; ``""`` for an empty mask.

    Raises:
        RleError: not a boolean array of two dimensions.

    >>> encode(np.array([[False, True], [True, False]]))
    '2 2'
    """
    if mask.ndim != 2 or mask.dtype != np.bool_:
        got = f"{mask.dtype} of shape {mask.shape}"
        raise RleError(
            "mask", "a boolean array (height, width)", got, "compare it with a threshold"
        )
    raw = mask.tobytes()  # row-major whatever the memory order is
    first = raw.find(1)
    if first < 0:
        return ""
    stop = raw.rfind(1) + 1
    used = np.frombuffer(raw, np.bool_, stop - first, first)
    changes = np.flatnonzero(used[1:] != used[:-1])
    borders = np.empty(changes.size + 2, np.int64)
    borders[0] = first + 1
    np.add(changes, first + 2, out=borders[1:-1])
    borders[-1] = stop + 1
    borders[1::2] -= borders[::2]  # ends become lengths
    return _written(borders)


def encode_many(masks: Iterable[Mask]) -> list[str]:
    """The texts of several masks, each boolean (height, width); see ``encode``."""
    return [encode(mask) for mask in masks]


def decode(text: RleText, height: int, width: int) -> Mask:
    """The mask of a text.

    Args:
        text: ``start length`` pairs; ``""``, None and NaN are an empty mask.
        height: rows, pixels.
        width: columns, pixels.

    Returns:
        A new boolean array of shape (height, width).

    Raises:
        RleError: an odd count of numbers, something that is not a whole number, a start or length
            below 1, a run past the end, runs that overlap or are out of order; the message names
            the pair and the size.

    >>> decode("2 2", 2, 2).astype(int).tolist()
    [[0, 1], [1, 0]]
    """
    return _filled(_stretches(text, _size(height, width))).reshape(height, width)


def decode_into(text: RleText, out: Mask) -> None:
    """Overwrite ``out``, boolean (height, width), with the mask of a text; see ``decode``."""
    out[...] = decode(text, *out.shape)


def runs(text: RleText, height: int, width: int) -> tuple[Counts, Counts]:
    """The runs of a text, without making the mask.

    Args:
        text: as for ``decode``.
        height: rows, pixels.
        width: columns, pixels.

    Returns:
        ``(starts, lengths)``, int64 arrays of shape (runs,), in pixels; starts count from 0 in
        row-major order, so that ``mask.ravel()[start : start + length]`` is True.

    Raises:
        RleError: as ``decode``.

    >>> starts, lengths = runs("2 2", 2, 2)
    >>> starts.tolist(), lengths.tolist()
    ([1], [2])
    """
    stretches = _stretches(text, _size(height, width))
    lengths = stretches[1::2].copy()
    return stretches.cumsum()[:-1:2], lengths


def area(text: RleText) -> int:
    """Pixels of a text's mask, whatever its size is: 0 when empty.

    Raises:
        RleError: as ``decode``, save for runs past an end that is not known here.

    >>> area("2 2 7 1")
    3
    """
    return int(_stretches(text, _UNBOUNDED_SIZE)[1::2].sum())


def _size(height: int, width: int) -> int:
    if height < 1 or width < 1:
        raise RleError("size", "1 pixel or more", f"{height} x {width}", "pass (height, width)")
    return height * width


def _plain(text: RleText) -> str:
    """The text as ``str``: None, NaN and pandas' NA are an empty mask."""
    if isinstance(text, str):
        return text
    if str(text) in _MISSING:
        return ""
    raise RleError("RLE", "text", f"{text!r} ({type(text).__name__})", REMEDY)


def _stretches(text: RleText, size: int) -> Counts:
    """Lengths of off, on, off, ..., off pixels: int64, odd count, adding up to ``size``."""
    plain = text if isinstance(text, str) else _plain(text)
    if not plain:
        return np.array([size], np.int64)
    stretches = _sound_stretches(plain, size)
    return _examined(plain, size) if stretches is None else stretches


def _sound_stretches(text: str, size: int) -> Counts | None:
    """The stretches of a text, or None if it is at fault in any way."""
    raw = text.encode("ascii", "replace")
    if raw.translate(None, _ALLOWED):
        return None
    numbers = np.fromstring(b"1 0 %b %d 0" % (raw, size + 1), np.int64, sep=" ")
    if numbers.size % 2:
        return None
    n_runs = np.count_nonzero(numbers[1::2])
    numbers[1::2] += numbers[::2]  # lengths become ends
    stretches = numbers[2:-1] - numbers[1:-2]
    sound = n_runs == numbers.size // 2 - 2  # the fences have length 0, runs do not
    # As unsigned numbers, negative ones become huge: one look finds every other fault, and numbers
    # so large that sums of them wrap around.
    return stretches if sound and stretches.view(np.uint64).max() <= size else None


def _filled(stretches: Counts) -> Mask:
    """The pixels of stretches, off first: boolean, shape (sum of stretches,)."""
    return _off_and_on(stretches.size.bit_length())[: stretches.size].repeat(stretches)


@cache
def _off_and_on(bits: int) -> Mask:
    pattern = np.zeros(2**bits, np.bool_)
    pattern[1::2] = True
    return pattern


def _written(numbers: Counts) -> str:
    """Numbers in decimal, a space between them."""
    if numbers[-2] + numbers[-1] > _TABLE_SIZE:  # the end of the last run bounds every number
        return " ".join(map(str, numbers.tolist()))
    return _decimals()[numbers].tobytes().translate(None, b"\0")[:-1].decode()


@cache
def _decimals() -> NDArray[np.uint64]:
    """Each number below the table's size as 8 bytes: its digits, a space, zeros."""
    digits = np.arange(_TABLE_SIZE).astype("S6")
    return np.char.add(digits, b" ").astype("S8").view(np.uint64)


def _examined(text: str, size: int) -> Counts:
    """Name the first fault of a text; its stretches if, for all the doubt, there is none."""
    words = [word for word in text.split(" ") if word]
    for index, word in enumerate(words):
        if not (word.isascii() and word.isdigit() and len(word) <= _MOST_DIGITS):
            raise _fault(index // 2, "whole numbers parted by spaces", repr(word[:40]))
    if len(words) % 2:
        raise RleError("RLE", "'start length' pairs", f"{len(words)} numbers", REMEDY)
    end = 0
    stretches = []
    for pair in range(len(words) // 2):
        start, length = int(words[2 * pair]), int(words[2 * pair + 1])
        if start < 1 or length < 1:
            raise _fault(pair, "a start and a length of 1 or more", f"'{start} {length}'")
        if start <= end:
            raise _fault(pair, f"a start after pixel {end}, where the run before ends", str(start))
        stretches += [start - end - 1, length]
        end = start + length - 1
        if end > size:
            got = f"'{start} {length}', past the end"
            raise _fault(pair, f"a run inside the {size} pixels", got)
    return np.array([*stretches, size - end], np.int64)


def _fault(pair: int, expected: str, got: str) -> RleError:
    return RleError(f"RLE, pair {pair + 1}", expected, got, REMEDY)
