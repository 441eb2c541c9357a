"""What the headers of a coded AV1 still picture say: its quantiser, and what its samples mean.

Numbers in comments are sections of the AV1 specification. Nothing is decoded.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

TEMPORAL_DELIMITER = b"\x12\0"  # 5.6: says that a picture begins, which a still picture's file says already
_SEQUENCE_HEADER, _FRAME_HEADER, _FRAME = 1, 3, 6


class Sequence(NamedTuple):
    """Of a sequence header (5.5) what is asked for here.

    Attributes:
        reduced: whether headers are those of a still picture.
        width, height: in pixels.
        large: whether superblocks are 128x128 pixels.
        screen, integer: `seq_force_screen_content_tools`, `seq_force_integer_mv`.
        order: bits of an order hint.
        superres: whether a frame may be coded narrower.
        colours: `color_primaries`, `transfer_characteristics`, `matrix_coefficients` (2: unspecified), and 1
            for the full range.
    """

    reduced: int
    width: int
    height: int
    large: int
    screen: int
    integer: int
    order: int
    superres: int
    colours: tuple[int, int, int, int]


def base_q_idx(data: bytes) -> int | None:
    """The base quantiser index of a picture's first frame, 0 to 255 (5.9.12).

    Args:
        data: the picture, or the beginning of it.

    Returns:
        None if there is no frame.

    Raises:
        IndexError: the data end before it.
        ValueError: no still picture, or one whose headers are unusual.
    """
    header = None
    for kind, content in _units(data):
        if kind == _SEQUENCE_HEADER:
            header = _sequence(_Bits(content))
        elif kind in (_FRAME_HEADER, _FRAME) and header:
            return _frame(_Bits(content), header)
    return None


def sequence(data: bytes) -> Sequence:
    """The first sequence header.

    Raises:
        IndexError, ValueError: as `base_q_idx`; there is none.
    """
    for kind, content in _units(data):
        if kind == _SEQUENCE_HEADER:
            return _sequence(_Bits(content))
    raise ValueError("no sequence header")


class _Bits:
    """Whole numbers of a stream of bits, the highest bit first (4.10.2)."""

    def __init__(self, data: bytes) -> None:
        self._data, self._position = data, 0

    def read(self, count: int) -> int:
        value = 0
        for _ in range(count):
            byte = self._data[self._position >> 3]
            value = value << 1 | byte >> 7 - (self._position & 7) & 1
            self._position += 1
        return value


def _units(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Type and content of the open bitstream units (5.3)."""
    position = 0
    while position < len(data):
        header = data[position]
        position += 1 + (header >> 2 & 1)
        size = len(data) - position
        if header & 2:
            size = 0
            for shift in range(0, 56, 7):  # leb128: 8 bytes at most
                byte = data[position]
                position += 1
                size |= (byte & 127) << shift
                if byte < 128:
                    break
        yield header >> 3 & 15, data[position : position + size]
        position += size


def _sequence(bits: _Bits) -> Sequence:
    """5.5.1; of still pictures alone."""
    profile = bits.read(3)
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
    large = bits.read(1)
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
    bits.read(2)
    colours = _colours(bits, profile)
    return Sequence(reduced, width, height, large, screen, integer, order, superres, colours)


def _colours(bits: _Bits, profile: int) -> tuple[int, int, int, int]:
    """5.5.2."""
    if bits.read(1) and profile == 2:
        bits.read(1)
    gray = profile != 1 and bits.read(1)
    primaries, transfer, matrix = (bits.read(8) for _ in range(3)) if bits.read(1) else (2, 2, 2)
    rgb = not gray and (primaries, transfer, matrix) == (1, 13, 0)
    return primaries, transfer, matrix, 1 if rgb else bits.read(1)


def _frame(bits: _Bits, sequence: Sequence) -> int:
    """5.9.2."""
    reduced = sequence.reduced
    if not reduced and (bits.read(1) or bits.read(2) or not bits.read(1)):
        raise ValueError("not one key frame that is shown")
    frozen = bits.read(1)
    screen = bits.read(1) if sequence.screen == 2 else sequence.screen
    if screen and sequence.integer == 2:
        bits.read(1)
    if not reduced and bits.read(1):
        raise ValueError("a size of its own")
    bits.read(sequence.order)
    scaled = sequence.superres and bits.read(1)
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


def _skip_tiles(bits: _Bits, sequence: Sequence) -> None:
    """5.9.15."""
    shift = 5 if sequence.large else 4
    columns, rows = (
        2 * (side + 7 >> 3) + (1 << shift) - 1 >> shift for side in (sequence.width, sequence.height)
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
