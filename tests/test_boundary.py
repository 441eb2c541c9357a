"""Boundary maps: lossless at any size, small, the same bytes on every machine, and deaf to damaged codes."""

import tracemalloc
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from bdflow.errors import BDFlowError
from bdflow.smallfile import boundary

EMPTY, RAW, DEFLATE, CONTEXT = range(4)


def edges(height: int, width: int, bits: int = 1) -> np.ndarray:
    """Thin connected lines, as edge maps have them: rings, stronger to the right."""
    y, x = np.mgrid[:height, :width]
    distance = np.hypot(y - height / 2, x - width / 3) % 11
    strength = 1 + x * (2**bits - 1) // width
    return np.where(distance < 1, np.minimum(strength, 2**bits - 1), 0).astype(np.uint8)


def random_map(seed: int, height: int, width: int, bits: int, density: float) -> np.ndarray:
    random = np.random.default_rng(seed)
    levels = random.integers(0, 2**bits, (height, width), np.uint8)
    return levels * (random.random((height, width)) < density).astype(np.uint8)


@st.composite
def maps(draw: st.DrawFn) -> tuple[np.ndarray, int]:
    bits = draw(st.integers(1, 3))
    shape = draw(hnp.array_shapes(min_dims=2, max_dims=2, max_side=24))
    return draw(hnp.arrays(np.uint8, shape, elements=st.integers(0, 2**bits - 1))), bits


@settings(deadline=None)
@given(maps())
def test_round_trip_of_any_map(drawn):
    levels, bits = drawn
    decoded = boundary.decode(boundary.encode(levels, bits), *levels.shape, bits)
    assert decoded.dtype == np.uint8
    np.testing.assert_array_equal(decoded, levels)


@pytest.mark.parametrize("bits", [1, 2, 3])
@pytest.mark.parametrize("density", [0.003, 0.05, 0.3, 1.0])
@pytest.mark.parametrize("shape", [(1, 1), (1, 700), (700, 1), (64, 64), (93, 61)])
def test_context_coder_round_trip(shape, density, bits):
    # Called directly: `encode` would turn to another method on dense maps.
    for seed in range(3):
        levels = random_map(seed, *shape, bits, density)
        code = boundary._encode_planes(levels, bits)
        np.testing.assert_array_equal(boundary._decode_planes(code, *shape, bits), levels)


def test_carry_runs_through_bytes_of_255():
    encoder = boundary._Encoder()
    encoder.out += b"\x07\xff\xff"
    encoder.low = boundary._TOP + (5 << 24)
    encoder.shift()
    assert encoder.out == b"\x08\x00\x00\x05"
    assert encoder.low == 0


@pytest.mark.parametrize(
    ("levels", "bits", "method"),
    [
        (np.zeros((50, 70), np.uint8), 3, EMPTY),
        (random_map(0, 64, 64, 2, 1.0), 2, RAW),
        (np.tile(random_map(1, 16, 16, 1, 1.0), (6, 6)), 1, DEFLATE),
        (edges(64, 64), 1, CONTEXT),
        (edges(64, 64, 3), 3, CONTEXT),
    ],
)
def test_smallest_method_is_taken(levels, bits, method):
    code = boundary.encode(levels, bits)
    assert code[0] == method
    assert len(code) <= 1 + (levels.size * bits + 7) // 8
    np.testing.assert_array_equal(boundary.decode(code, *levels.shape, bits), levels)


@pytest.mark.parametrize("bits", [1, 2, 3])
def test_lines_cost_far_less_than_deflated(bits):
    levels = edges(128, 128, bits)
    deflated = len(zlib.compress(np.packbits(boundary._planes(levels, bits)).tobytes(), 9))
    assert len(boundary.encode(levels, bits)) < 0.8 * deflated


def test_empty_map_is_one_byte():
    assert boundary.encode(np.zeros((300, 200), np.uint8), 1) == b"\x00"


def test_large_map_is_deflated(monkeypatch):
    levels = edges(40, 40, 2)
    monkeypatch.setattr(boundary, "_MAX_CONTEXT_CODED", 40 * 40 * 2)
    code = boundary.encode(levels, 2)
    assert code[0] == CONTEXT
    monkeypatch.setattr(boundary, "_MAX_CONTEXT_CODED", 40 * 40 * 2 - 1)
    assert boundary.encode(levels, 2)[0] == DEFLATE
    with pytest.raises(BDFlowError, match="too large for its method"):
        boundary.decode(code, 40, 40, 2)


@pytest.mark.parametrize(
    ("bits", "code"),
    [
        (1, "03e180767cca445125de48e4023adde1c432f59e58"),
        (3, "03e5760e32179fc4b25cf7c75614e87113d55ab184497e0f18f4611734d4ebb71da437c096cd7dbf41163b3d"),
    ],
)
def test_format_is_frozen(bits, code):
    """Files out there must stay readable: these bytes may never change."""
    assert boundary.encode(edges(24, 20, bits), bits).hex() == code
    np.testing.assert_array_equal(boundary.decode(bytes.fromhex(code), 24, 20, bits), edges(24, 20, bits))


def test_format_is_frozen_where_counts_are_halved():
    y, x = np.mgrid[:96, :96]
    sparse = (x * 7919 + y * 104729) * (x + 3 * y + 1) % 1009
    levels = np.where(sparse < 100, sparse % 8, 0).astype(np.uint8)
    code = boundary.encode(levels, 3)
    assert (code[0], len(code), zlib.crc32(code)) == (CONTEXT, 797, 3209791348)


def test_noncontiguous_map():
    levels = edges(40, 60, 2)[::2, ::-3]
    np.testing.assert_array_equal(boundary.decode(boundary.encode(levels, 2), 20, 20, 2), levels)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=80), st.integers(1, 20), st.integers(1, 20), st.integers(1, 3))
def test_any_bytes_give_a_map_or_an_error(data, height, width, bits):
    for code in (data, bytes([CONTEXT]) + data, bytes([DEFLATE]) + data):
        try:
            levels = boundary.decode(code, height, width, bits)
        except BDFlowError:
            continue
        assert levels.shape == (height, width)
        assert levels.max() < 2**bits
        if code[0] == CONTEXT:  # one map, one code
            assert boundary._encode_planes(levels, bits) == code[1:]


CODES = [
    (boundary.encode(np.zeros((64, 64), np.uint8), 1), 1),
    (boundary.encode(random_map(0, 64, 64, 2, 1.0), 2), 2),
    (boundary.encode(np.tile(random_map(1, 8, 8, 1, 1.0), (8, 8)), 1), 1),
    (boundary.encode(edges(64, 64, 3), 3), 3),
]


def test_codes_cover_every_method():
    assert [code[0] for code, _ in CODES] == [EMPTY, RAW, DEFLATE, CONTEXT]


@pytest.mark.parametrize(("code", "bits"), CODES)
def test_cut_code_is_refused(code, bits):
    for length in range(len(code)):
        with pytest.raises(BDFlowError, match="boundary map"):
            boundary.decode(code[:length], 64, 64, bits)


@pytest.mark.parametrize(("code", "bits"), CODES)
@pytest.mark.parametrize("tail", [b"\0", b"\x01", b"\0\0\0\0\0", b"\xff\xff\xff\xff\xff"])
def test_trailing_bytes_are_refused(code, bits, tail):
    with pytest.raises(BDFlowError, match="damaged"):
        boundary.decode(code + tail, 64, 64, bits)


def test_set_bits_behind_the_last_are_refused():
    with pytest.raises(BDFlowError, match="overfull"):
        boundary.decode(bytes([RAW, 0b10100000 | 1]), 1, 7, 1)


def test_unknown_method():
    with pytest.raises(BDFlowError, match="coding method 9: upgrade"):
        boundary.decode(b"\x09abc", 8, 8, 1)


def test_deflate_bomb_is_not_inflated():
    bomb = bytes([DEFLATE]) + zlib.compress(bytes(50_000_000), 9, wbits=-15)
    tracemalloc.start()
    try:
        with pytest.raises(BDFlowError, match="deflated length"):
            boundary.decode(bomb, 64, 64, 1)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("levels", "bits", "message"),
    [
        (np.zeros((4, 4), np.uint8), 0, "1..3 bits, not 0"),
        (np.zeros((4, 4), np.uint8), 4, "1..3 bits, not 4"),
        (np.zeros((4, 4), np.int64), 1, "uint8"),
        (np.zeros((4, 4, 1), np.uint8), 1, "shape"),
        (np.zeros((0, 4), np.uint8), 1, "shape"),
        (np.full((4, 4), 2, np.uint8), 1, "holds 0..1, not 2"),
    ],
)
def test_what_is_no_map_is_refused(levels, bits, message):
    with pytest.raises(BDFlowError, match=message):
        boundary.encode(levels, bits)


@pytest.mark.parametrize(("height", "width", "bits"), [(0, 4, 1), (4, -1, 1), (4, 4, 0), (4, 4, 4)])
def test_sizes_out_of_range_are_refused(height, width, bits):
    with pytest.raises(BDFlowError, match="boundary map"):
        boundary.decode(b"\0", height, width, bits)
