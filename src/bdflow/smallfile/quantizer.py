"""How coarsely a file was coded, from the file itself: what a network that restores it is told.

AVIF, WebP and JPEG each write their quantiser near the start. It is given on the scale of the encoders'
quality, 0 to 100, as libavif, libwebp and libjpeg map one to the other; of another encoder's file it says
about as much. libjpeg cuts its coarsest steps off at 255: below 20 this is a little more than its quality.
Nothing is decoded, and however a file is damaged, little of it is read.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

__all__ = ["quality"]

_MOST_BOXES = 4096  # beside each other; a picture has a dozen
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


class _Bits:
    """Whole numbers of a stream of bits, the highest bit first (AV1's f(n))."""

    def __init__(self, data: bytes) -> None:
        self._data, self._position = data, 0

    def read(self, count: int) -> int:
        value = 0
        for _ in range(count):
            byte = self._data[self._position >> 3]
            value = value << 1 | byte >> 7 - (self._position & 7) & 1
            self._position += 1
        return value


def _of_avif(data: bytes) -> float | None:
    """By the base quantiser index of the primary picture (AV1, 5.9.12)."""
    index = _base_q_idx(_primary_item(data))
    return None if index is None else 100 * (1 - index / 255)


def _boxes(data: bytes, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Type, and the content's start and end, of each box of ISO 14496-12."""
    for _ in range(_MOST_BOXES):
        if start + 8 > end:
            return
        size, kind = struct.unpack_from(">I4s", data, start)
        content = start + 8
        if size == 1:
            size = struct.unpack_from(">Q", data, content)[0]
            content += 8
        elif size == 0:
            size = end - start
        if size < content - start or start + size > end:
            raise ValueError("a box of a wrong size")
        yield kind, content, start + size
        start += size


def _primary_item(data: bytes) -> bytes:
    """The beginning of the coded primary picture (ISO 14496-12, 8.11.3)."""
    meta = next((a + 4, b) for kind, a, b in _boxes(data, 0, len(data)) if kind == b"meta")
    inside = {kind: (a, b) for kind, a, b in _boxes(data, *meta)}
    start, _ = inside[b"pitm"]
    wanted = struct.unpack_from(">H" if data[start] == 0 else ">I", data, start + 4)[0]
    start, _ = inside[b"iloc"]
    version, sizes = data[start], struct.unpack_from(">H", data, start + 4)[0]
    offset_size, length_size, base_size = sizes >> 12, sizes >> 8 & 15, sizes >> 4 & 15
    index_size = sizes & 15 if version in (1, 2) else 0
    place = start + 6

    def take(count: int) -> int:
        nonlocal place
        if place + count > len(data):
            raise IndexError("the data end")
        value, place = int.from_bytes(data[place : place + count]), place + count
        return value

    for _ in range(take(2 if version < 2 else 4)):
        item = take(2 if version < 2 else 4)
        method = take(2) & 15 if version in (1, 2) else 0
        take(2)  # the data are in this file
        offset, extents = take(base_size), take(2)
        if item == wanted and method == 0 and extents:
            take(index_size)
            offset += take(offset_size)
            return data[offset : offset + min(take(length_size), _BEGINNING)]
        place += extents * (index_size + offset_size + length_size)
    raise ValueError("no primary item in the file itself")


def _units(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Type and content of the open bitstream units of AV1."""
    place = 0
    while place < len(data):
        header = data[place]
        place += 1 + (header >> 2 & 1)
        size = len(data) - place
        if header & 2:
            size = 0
            for shift in range(0, 56, 7):  # leb128: 8 bytes at most
                byte = data[place]
                place += 1
                size |= (byte & 127) << shift
                if byte < 128:
                    break
        yield header >> 3 & 15, data[place : place + size]
        place += size


def _base_q_idx(data: bytes) -> int | None:
    sequence = None
    for kind, content in _units(data):
        if kind == 1:
            sequence = _sequence(_Bits(content))
        elif kind in (3, 6) and sequence:
            return _frame(_Bits(content), sequence)
    return None


def _sequence(bits: _Bits) -> dict[str, int]:
    """What the frame header's reading depends on (AV1, 5.5.1); of still pictures alone."""
    bits.read(3)
    still, reduced = bits.read(1), bits.read(1)
    if not still:
        raise ValueError("a film")
    if reduced:
        bits.read(5)
    else:
        if bits.read(1):
            raise ValueError("timing")
        delay = bits.read(1)
        for _ in range(bits.read(5) + 1):
            bits.read(12)
            if bits.read(5) > 7:
                bits.read(1)
            if delay and bits.read(1):
                bits.read(4)
    lengths = bits.read(4) + 1, bits.read(4) + 1
    width, height = (bits.read(length) + 1 for length in lengths)
    if not reduced and bits.read(1):
        raise ValueError("frame numbers")
    large_blocks = bits.read(1)
    bits.read(2)
    screen, integer, order = 2, 2, 0
    if not reduced:
        bits.read(4)
        ordered = bits.read(1)
        if ordered:
            bits.read(2)
        screen = 2 if bits.read(1) else bits.read(1)
        if screen:
            integer = 2 if bits.read(1) else bits.read(1)
        if ordered:
            order = bits.read(3) + 1
    superres = bits.read(1)
    return {
        "reduced": reduced,
        "width": width,
        "height": height,
        "large": large_blocks,
        "screen": screen,
        "integer": integer,
        "order": order,
        "superres": superres,
    }


def _frame(bits: _Bits, sequence: dict[str, int]) -> int:
    reduced = sequence["reduced"]
    if not reduced and (bits.read(1) or bits.read(2) or not bits.read(1)):
        raise ValueError("not one key frame that is shown")
    frozen = bits.read(1)
    screen = bits.read(1) if sequence["screen"] == 2 else sequence["screen"]
    if screen and sequence["integer"] == 2:
        bits.read(1)
    if not reduced and bits.read(1):
        raise ValueError("a size of its own")
    bits.read(sequence["order"])
    scaled = sequence["superres"] and bits.read(1)
    if scaled:
        bits.read(3)
    if bits.read(1):
        bits.read(32)
    if screen and not scaled:
        bits.read(1)
    if not (reduced or frozen):
        bits.read(1)
    _skip_tiles(bits, sequence)
    return bits.read(8)


def _skip_tiles(bits: _Bits, sequence: dict[str, int]) -> None:
    """AV1, 5.9.15."""
    shift = 5 if sequence["large"] else 4
    columns, rows = (
        2 * (sequence[side] + 7 >> 3) + (1 << shift) - 1 >> shift for side in ("width", "height")
    )
    least = _log2(4096 >> shift + 2, columns)
    most = _log2(1, min(columns, 64)), _log2(1, min(rows, 64))
    least_all = max(least, _log2(4096 * 2304 >> 2 * (shift + 2), rows * columns))
    if not bits.read(1):
        raise ValueError("tiles of unequal size")
    across = least
    while across < most[0] and bits.read(1):
        across += 1
    down = max(least_all - across, 0)
    while down < most[1] and bits.read(1):
        down += 1
    if across or down:
        bits.read(across + down + 2)


def _log2(block: int, target: int) -> int:
    power = 0
    while block << power < target:
        power += 1
    return power


def _of_webp(data: bytes) -> float | None:
    """By the quantiser indices of a lossy frame (RFC 6386, 9.3 and 9.6), at libwebp's default settings."""
    start = _vp8(data)
    if data[start + 3 : start + 6] != b"\x9d\x01\x2a":
        return None
    index = _vp8_index(_Booleans(data[start + 10 :]))
    cubed = (1 - index / 127) ** 3
    return 100 * (cubed * 1.5 if cubed < 0.5 else (cubed + 1) / 2)


def _vp8(data: bytes) -> int:
    """Where the content of the chunk ``VP8`` begins; IndexError if there is none."""
    if data[:4] != b"RIFF" or data[8:12] != b"WEBP":
        raise IndexError
    place = 12
    while data[place : place + 4] != b"VP8 ":
        place += 8 + struct.unpack_from("<I", data, place + 4)[0]
        place += place & 1
    return place + 8


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
        mapped, told = booleans.read(1), booleans.read(1)
        if told:
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
    place = 2
    while data[place] == 0xFF and data[place + 1] != 0xDA:
        if data[place + 1] == 0xFF:  # a fill byte
            place += 1
            continue
        end = place + 2 + int.from_bytes(data[place + 2 : place + 4])
        at = place + 4
        while data[place + 1] == 0xDB and at < end:
            size = 2 if data[at] >> 4 else 1
            table = data[at + 1 : at + 1 + 64 * size]
            if not data[at] & 15 and len(table) == 64 * size:
                steps = sum(int.from_bytes(table[i : i + size]) for i in range(0, 64 * size, size))
                scale = 100 * steps / _STANDARD_LUMA_SUM
                return (200 - scale) / 2 if scale <= 100 else 5000 / scale
            at += 1 + 64 * size
        place = end
    return None
