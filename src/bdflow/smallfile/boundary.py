"""Boundary map to bytes and back, without loss.

A boundary map is sparse, and its lines are thin and connected, so a bit is best guessed from the bits around
it. The main method codes bit planes, coarse to fine, with an adaptive binary arithmetic coder in the manner
of JBIG: each guess comes from counts, kept for every pattern of the five nearest coded neighbours and of the
coarser planes at and beside the bit. Edge maps come out a fifth (3 bits) to a third (1 bit) smaller than as
lossless WebP. All arithmetic is on integers, so every machine writes and reads the same bytes.
"""

import zlib
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from bdflow.errors import BDFlowError

MAX_BITS = 3

# The first byte of the code.
_EMPTY = 0  # every level is 0; no bytes follow
_RAW = 1  # bit planes, packed
_DEFLATE = 2  # the packed bit planes, deflated
_CONTEXT = 3  # the arithmetic coder below

# The coder takes about 0.4 microseconds a bit; larger maps are deflated, lest they take seconds.
_MAX_CONTEXT_CODED = 1 << 22

# The coder's interval is at most _TOP wide and is widened below _BOTTOM, a byte at a time.
_TOP = 1 << 32
_BOTTOM = 1 << 24
_CONTEXTS = 1 << 9  # 2 bits of coarser planes, 2 of how much lies beside them, 5 of coded neighbours
_COUNT_LIMIT = 1 << 10  # counts are halved here, so that the guess follows changes down the picture

Levels = npt.NDArray[np.uint8]


def encode(levels: Levels, bits: int) -> bytes:
    """Code a boundary map in as few bytes as the methods at hand allow.

    Args:
        levels: uint8 (height, width), values 0..2**bits - 1.
        bits: 1..3.

    Returns:
        At least one byte; the size of the map and its bits are not stored, `decode` must be told.

    Raises:
        BDFlowError: the array is not such a map.
    """
    _check_bits(bits)
    if levels.dtype != np.uint8 or levels.ndim != 2 or levels.size == 0:
        raise BDFlowError(
            f"a boundary map must be uint8 of shape (height, width), not {levels.dtype} {levels.shape}"
        )
    if levels.max() >= 1 << bits:
        raise BDFlowError(f"a boundary map of {bits} bits holds 0..{(1 << bits) - 1}, not {levels.max()}")
    if not levels.any():
        return bytes([_EMPTY])
    packed = np.packbits(_planes(levels, bits)).tobytes()
    candidates = [
        bytes([_RAW]) + packed,
        bytes([_DEFLATE]) + zlib.compress(packed, level=9, wbits=-zlib.MAX_WBITS),
    ]
    if levels.size * bits <= _MAX_CONTEXT_CODED:
        candidates.append(bytes([_CONTEXT]) + _encode_planes(levels, bits))
    return min(candidates, key=len)


def decode(data: bytes, height: int, width: int, bits: int) -> Levels:
    """Read what `encode` wrote.

    Args:
        data: the code, whole and with nothing behind it.
        height, width, bits: as in the map that was coded.

    Returns:
        uint8 (height, width), values 0..2**bits - 1. A damaged code can pass for another map; keep a
        checksum.

    Raises:
        BDFlowError: the bytes cannot be the code of a map of this size.
    """
    _check_bits(bits)
    if height < 1 or width < 1:
        raise BDFlowError(f"a boundary map cannot be {width}x{height}")
    if not data:
        raise BDFlowError("the boundary map is damaged: it has no bytes")
    method, body = data[0], data[1:]
    if method == _EMPTY:
        _check_length(body, 0)
        return np.zeros((height, width), np.uint8)
    if method in (_RAW, _DEFLATE):
        packed_size = (height * width * bits + 7) // 8
        packed = body if method == _RAW else _inflate(body, packed_size)
        _check_length(packed, packed_size)
        flat = np.unpackbits(np.frombuffer(packed, np.uint8))
        if flat[height * width * bits :].any():
            raise BDFlowError("the boundary map is damaged: its last byte is overfull")
        return _join(flat[: height * width * bits].reshape(bits, height, width))
    if method == _CONTEXT:
        if height * width * bits > _MAX_CONTEXT_CODED:
            raise BDFlowError(f"the boundary map is damaged: {width}x{height} is too large for its method")
        return _decode_planes(body, height, width, bits)
    raise BDFlowError(f"the boundary map has the unknown coding method {method}: upgrade bdflow")


def _check_bits(bits: int) -> None:
    if not 1 <= bits <= MAX_BITS:
        raise BDFlowError(f"a boundary map has 1..{MAX_BITS} bits, not {bits}")


def _check_length(data: bytes, expected: int) -> None:
    if len(data) != expected:
        raise BDFlowError(f"the boundary map is damaged: {len(data)} bytes where {expected} belong")


def _inflate(body: bytes, size: int) -> bytes:
    """Inflate to at most one byte more than `size`, whatever the stream claims."""
    inflater = zlib.decompressobj(wbits=-zlib.MAX_WBITS)
    try:
        data = inflater.decompress(body, size + 1)
    except zlib.error as error:
        raise BDFlowError("the boundary map is damaged: it cannot be inflated") from error
    if not inflater.eof or inflater.unused_data:
        raise BDFlowError("the boundary map is damaged: its deflated length is wrong")
    return data


def _planes(levels: Levels, bits: int) -> Levels:
    """(height, width) levels to (bits, height, width) planes of 0 and 1, most significant first."""
    shifts = np.arange(bits - 1, -1, -1, dtype=np.uint8)[:, None, None]
    return (levels >> shifts) & np.uint8(1)


def _join(planes: Levels) -> Levels:
    """The inverse of `_planes`."""
    levels = np.zeros(planes.shape[1:], np.uint8)
    for plane in planes:
        levels = _refine(levels, plane)
    return levels


def _refine(levels: Levels, plane: Levels) -> Levels:
    return levels << np.uint8(1) | plane


def _encode_planes(levels: Levels, bits: int) -> bytes:
    encoder = _Encoder()
    coarse = np.zeros_like(levels)
    for plane in _planes(levels, bits):
        encoder.forget()
        _code_plane(encoder.code, _coarse_contexts(coarse), plane.tolist())
        coarse = _refine(coarse, plane)
    return encoder.finish()


def _decode_planes(data: bytes, height: int, width: int, bits: int) -> Levels:
    decoder = _Decoder(data)
    coarse = np.zeros((height, width), np.uint8)
    for _ in range(bits):
        plane = [[0] * width for _ in range(height)]
        decoder.forget()
        _code_plane(decoder.code, _coarse_contexts(coarse), plane)
        coarse = _refine(coarse, np.array(plane, np.uint8))
    decoder.finish()
    return coarse


def _coarse_contexts(coarse: Levels) -> list[list[int]]:
    """What the coarser planes add to each bit's context: their value there, and how much lies beside it."""
    padded = np.pad(coarse, 1)
    beside = padded[:-2, 1:-1] + padded[2:, 1:-1] + padded[1:-1, :-2] + padded[1:-1, 2:]
    contexts = (coarse << 2 | np.minimum(beside, 3)).astype(np.uint16) << 5
    return contexts.tolist()  # type: ignore[no-any-return]


def _code_plane(code: Callable[[int, int], int], contexts: list[list[int]], plane: list[list[int]]) -> None:
    """Pass a plane's bits through the coder, row by row. The decoder ignores the bits and fills the plane."""
    width = len(plane[0])
    north = north2 = [0] * (width + 2)  # the two rows above, one 0 before and one behind
    for row, row_contexts in zip(plane, contexts, strict=True):
        west, three = 0, north[1]  # three: the bits to the north-west, north and north-east
        for x, context in enumerate(row_contexts):
            three = (three << 1 | north[x + 2]) & 7
            row[x] = west = code(context | three << 2 | north2[x + 1] << 1 | west, row[x])
        north, north2 = [0, *row, 0], north


class _Coder:
    """What encoder and decoder share: the interval's width and the counts.

    A bit's chance of being 1 is the estimate of Krichevsky and Trofimov, (ones + 1/2) / (total + 1).
    """

    def __init__(self) -> None:
        self.range = _TOP
        self.forget()

    def forget(self) -> None:
        self.ones = [1] * _CONTEXTS  # twice the count, plus 1
        self.total = [2] * _CONTEXTS  # twice the count, plus 2

    def learn(self, context: int, bit: int) -> None:
        self.ones[context] += 2 * bit
        self.total[context] += 2
        if self.total[context] == _COUNT_LIMIT:
            self.ones[context] = self.ones[context] >> 1 | 1
            self.total[context] >>= 1


class _Encoder(_Coder):
    def __init__(self) -> None:
        super().__init__()
        self.low = 0
        self.out = bytearray()

    def code(self, context: int, bit: int) -> int:
        split = self.range // self.total[context] * self.ones[context]
        if bit:
            self.range = split
        else:
            self.low += split
            self.range -= split
        while self.range < _BOTTOM:
            self.range <<= 8
            self.shift()
        self.learn(context, bit)
        return bit

    def shift(self) -> None:
        """Send the top byte of `low`, carrying into the bytes before it."""
        if self.low >= _TOP:
            last = len(self.out) - 1
            while self.out[last] == 255:
                self.out[last] = 0
                last -= 1
            self.out[last] += 1
        self.out.append(self.low >> 24 & 255)
        self.low = (self.low & (_BOTTOM - 1)) << 8

    def finish(self) -> bytes:
        self.low += -self.low % _BOTTOM  # still in the interval, and one byte says it
        self.shift()
        return bytes(self.out)


class _Decoder(_Coder):
    def __init__(self, data: bytes) -> None:
        super().__init__()
        self.data = data
        self.position = 4
        self.value = int.from_bytes(data[:4].ljust(4, b"\0"))  # the code, less the encoder's `low`

    def code(self, context: int, _: int) -> int:
        split = self.range // self.total[context] * self.ones[context]
        bit = int(self.value < split)
        if bit:
            self.range = split
        else:
            self.value -= split
            self.range -= split
        while self.range < _BOTTOM:
            self.range <<= 8
            self.value = self.value << 8 | (self.data[self.position] if self.position < len(self.data) else 0)
            self.position += 1
        self.learn(context, bit)
        return bit

    def finish(self) -> None:
        """Refuse any bytes but the ones that the encoder would have written."""
        last = int.from_bytes(self.data[self.position - 4 :].ljust(4, b"\0"))
        low = last - self.value
        if len(self.data) != self.position - 3 or self.value != -low % _BOTTOM:
            raise BDFlowError("the boundary map is damaged: its code does not end where it should")
