"""What a PNG file says of itself, read from its first 33 and last 20 bytes.

The header gives the true size and bit depth; the tail ends a complete file and holds the Adler-32
sum of every pixel, so that a content hash of a whole data set costs no decoding.
"""

from __future__ import annotations

import os
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

from gitract_core.errors import DataError, counted
from gitract_core.files.limits import MOST_PIXELS

_SIGNATURE = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"
_END = b"\x00\x00\x00\x00IEND\xaeB`\x82"
_HEADER_BYTES, _TAIL_BYTES = 33, 20  # signature + IHDR chunk; Adler-32 + CRC + IEND chunk
_GRAY = 0


@dataclass(frozen=True, slots=True)
class PngHeader:
    """Size in pixels, and a checksum of file size and pixels (hex)."""

    height: int
    width: int
    checksum: str


def read_png_header(path: Path | str) -> PngHeader:
    """Read what an 8- or 16-bit gray PNG says of itself, without decoding it.

    Raises:
        DataError: the file is missing, no PNG, cut short, or not 8- or 16-bit gray.
    """
    try:
        file = os.open(path, os.O_RDONLY)
        try:
            size = os.fstat(file).st_size
            head = os.pread(file, _HEADER_BYTES, 0)
            tail = os.pread(file, _TAIL_BYTES, max(0, size - _TAIL_BYTES))
        finally:
            os.close(file)
    except OSError as error:
        raise DataError(path, "a readable PNG", error.strerror, "restore the file") from None
    if len(head) < _HEADER_BYTES or not head.startswith(_SIGNATURE):
        got = (
            "an empty file"
            if not size
            else f"a file of {counted(size, 'byte')} that starts otherwise"
        )
        raise DataError(path, "a PNG", got, "restore the file from the data set's archive")
    if not tail.endswith(_END):
        got = f"a file of {counted(size, 'byte')} cut short"
        raise DataError(path, "a complete PNG", got, "restore the file from the archive")
    width, height, depth, color = struct.unpack(">IIBB", head[16:26])
    if not 0 < width * height <= MOST_PIXELS:
        expected = f"1 to {MOST_PIXELS} pixels"
        raise DataError(path, expected, f"{width} x {height}", "restore the file")
    if color != _GRAY or depth not in (8, 16):
        got = f"bit depth {depth}, color type {color}"
        raise DataError(path, "8- or 16-bit gray", got, "convert the image")
    return PngHeader(height, width, f"{size:x}-{tail[:8].hex()}")


def png_bits(path: Path | str) -> int:
    """Bits of a pixel of a PNG whose header was read before; 0 where the file is gone.

    Args:
        path: the file.
    """
    try:
        with open(path, "rb", buffering=0) as file:
            head = file.read(_HEADER_BYTES)
    except OSError:
        return 0
    return head[24] if len(head) == _HEADER_BYTES else 0


def is_intact_png(content: bytes) -> bool:
    """Whether every chunk of a PNG is whole and its check sum right (PNG specification, 5.3).

    Args:
        content: of the whole file; from a reader of headers it may be no PNG at all.

    >>> is_intact_png(b"")
    False
    """
    if not content.startswith(_SIGNATURE):
        return False
    view, place = memoryview(content), 8
    while place + 12 <= len(view):
        length, kind = struct.unpack_from(">I4s", view, place)
        end = place + 8 + length
        if end + 4 > len(view) or zlib.crc32(view[place + 4 : end]) != _number(view, end):
            return False
        if kind == b"IEND":
            return True
        place = end + 4
    return False


def _number(view: memoryview, place: int) -> int:
    return int(struct.unpack_from(">I", view, place)[0])
