"""How coarsely a file was coded, from the file itself: the network that restores it uses that.

AVIF, WebP and JPEG each write their quantiser near the start. It is given on the scale of the encoders'
quality, 0 to 100, as libavif, libwebp and libjpeg map one to the other; of another encoder's file it says
about as much. libjpeg cuts its coarsest steps off at 255: below 20 this is a little more than its quality.
Nothing is decoded, and however a file is damaged, little of it is read.
"""

from __future__ import annotations

import struct

from bdflow.smallfile import av1
from bdflow.smallfile.isobmff import boxes, items

__all__ = ["quality"]

_BEGINNING = 4096  # bytes of the primary picture in which its quantiser stands


def quality(data: bytes) -> float | None:
    """The quality that a lossy file was coded at, 0 to 100.

    Args:
        data: an AVIF, WebP or JPEG file.

    Returns:
        None where the file is none, is lossless or unusual.
    """
    try:
        if data[:4] == b"RIFF":
            return _of_webp(data)
        if data[:2] == b"\xff\xd8":
            return _of_jpeg(data)
        return _of_avif(data)
    except (IndexError, KeyError, StopIteration, ValueError, struct.error):
        return None


def _of_avif(data: bytes) -> float | None:
    """By the base quantiser index of the primary picture (AV1, 5.9.12)."""
    index = av1.base_q_idx(_primary_item(data))
    return None if index is None else 100 * (1 - index / 255)


def _primary_item(data: bytes) -> bytes:
    """The beginning of the coded primary picture (ISO 14496-12, 8.11.3)."""
    meta = next((a + 4, b) for kind, a, b in boxes(data, 0, len(data)) if kind == b"meta")
    starts = {kind: a for kind, a, _ in boxes(data, *meta)}
    start = starts[b"pitm"]
    primary = struct.unpack_from(">H" if data[start] == 0 else ">I", data, start + 4)[0]
    listed = items(data, starts[b"iloc"])
    item = next(item for item in listed if item.number == primary and item.extents)
    return data[item.offset : item.offset + min(item.length, _BEGINNING)]


def _of_webp(data: bytes) -> float | None:
    """By the quantiser indices of a lossy frame (RFC 6386, 9.3 and 9.6), at libwebp's default settings."""
    start = _vp8(data)
    if data[start + 3 : start + 6] != b"\x9d\x01\x2a":
        return None
    index = _vp8_index(_Booleans(data[start + 10 :]))
    cubed = (1 - index / 127) ** 3
    return 100 * (cubed * 1.5 if cubed < 0.5 else (cubed + 1) / 2)


def _vp8(data: bytes) -> int:
    """Where the content of the chunk `VP8` begins; IndexError if there is none."""
    if data[:4] != b"RIFF" or data[8:12] != b"WEBP":
        raise IndexError
    position = 12
    while data[position : position + 4] != b"VP8 ":
        position += 8 + struct.unpack_from("<I", data, position + 4)[0]
        position += position & 1
    return position + 8


class _Booleans:
    """The boolean decoder of VP8 (RFC 6386, 7.3), for what has even odds."""

    def __init__(self, data: bytes) -> None:
        self._data, self._place = data, 2
        self._value, self._range, self._shifted = data[0] << 8 | data[1], 255, 0

    def read(self, count: int) -> int:
        """A number of so many bits, the highest first."""
        number = 0
        for _ in range(count):
            split = 1 + ((self._range - 1) * 128 >> 8)
            bit = self._value >= split << 8
            if bit:
                self._range -= split
                self._value -= split << 8
            else:
                self._range = split
            while self._range < 128:
                self._value <<= 1
                self._range <<= 1
                self._shifted += 1
                if self._shifted == 8:
                    self._shifted = 0
                    self._value |= self._data[self._place]
                    self._place += 1
            number = number << 1 | bit
        return number

    def optional(self, count: int, *, signed: bool) -> int:
        """A number behind a bit that says whether it is there; else 0."""
        if not self.read(1):
            return 0
        number = self.read(count)
        return -number if signed and self.read(1) else number


def _vp8_index(booleans: _Booleans) -> float:
    """The quantiser index, 0 to 127; where there are segments, their mean."""
    booleans.read(2)
    segments, absolute = [0], False
    if booleans.read(1):
        mapped, updated = booleans.read(1), booleans.read(1)
        if updated:
            absolute = bool(booleans.read(1))
            segments = [booleans.optional(7, signed=True) for _ in range(4)]
            for _ in range(4):
                booleans.optional(6, signed=True)
        if mapped:
            for _ in range(3):
                booleans.optional(8, signed=False)
    booleans.read(10)
    if booleans.read(1) and booleans.read(1):
        for _ in range(8):
            booleans.optional(6, signed=True)
    booleans.read(2)
    base = booleans.read(7)
    mean = sum(segments) / len(segments)
    return min(127.0, max(0.0, mean if absolute else base + mean))


_STANDARD_LUMA_SUM = 3688  # of the steps of table K.1 of the JPEG standard


def _of_jpeg(data: bytes) -> float | None:
    """By the luma table (ITU-T T.81, B.2.4.1), as libjpeg scales it."""
    position = 2
    while data[position] == 0xFF and data[position + 1] != 0xDA:
        if data[position + 1] == 0xFF:  # a fill byte
            position += 1
            continue
        end = position + 2 + int.from_bytes(data[position + 2 : position + 4])
        table_start = position + 4
        while data[position + 1] == 0xDB and table_start < end:
            size = 2 if data[table_start] >> 4 else 1
            table = data[table_start + 1 : table_start + 1 + 64 * size]
            if not data[table_start] & 15 and len(table) == 64 * size:
                steps = sum(int.from_bytes(table[i : i + size]) for i in range(0, 64 * size, size))
                scale = 100 * steps / _STANDARD_LUMA_SUM
                return (200 - scale) / 2 if scale <= 100 else 5000 / scale
            table_start += 1 + 64 * size
        position = end
    return None
