"""Small files that were stripped, changed or damaged: noticed, and said in one line."""

import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_files import (
    SRGB,
    WEIGHTS,
    assert_same,
    chunks,
    join,
    payload_of,
    repainted,
    saved_again,
    sealed,
    small,
    with_payload,
)

from bdflow.errors import BDFlowError
from bdflow.pictures.reader import Picture
from bdflow.smallfile.container import NoChunkError, read
from bdflow.smallfile.downscaled import Downscaled
from bdflow.smallfile.payload import varint

# Files that lost something


@pytest.mark.parametrize("format", ["PNG", "TIFF", "BMP"])
def test_saved_again_by_another_program(format, tmp_path):
    path = tmp_path / "stripped.img"
    path.write_bytes(saved_again(small().to_bytes(), format))
    with pytest.raises(NoChunkError, match=r"stripped\.img: no bdflow chunk in this file") as caught:
        read(path)
    np.testing.assert_array_equal(caught.value.picture.rgb, small().image.rgb)


def test_converted_to_jpeg():
    with pytest.raises(NoChunkError) as caught:
        read(saved_again(small().to_bytes(), "JPEG"))
    assert caught.value.picture.rgb.shape == (12, 10, 3)


def test_chunk_taken_out():
    made = small(gray=True, alpha=True, icc=SRGB)
    data = join([part for part in chunks(made.to_bytes()) if part[0] != b"bdFW"])
    with pytest.raises(NoChunkError) as caught:
        read(data)
    assert caught.value.picture.gray
    assert caught.value.picture.icc == SRGB
    np.testing.assert_array_equal(caught.value.picture.alpha, made.image.alpha)


def test_pixels_without_a_file():
    made = small()
    for source in (made.image.rgb, made.image.to_pil()):
        with pytest.raises(NoChunkError) as caught:
            read(source)
        np.testing.assert_array_equal(caught.value.picture.rgb, made.image.rgb)


@pytest.mark.parametrize("content", [b"plain text", b"", b"\x89PNG\r\n\x1a\n", b"\x89PN"])
def test_what_is_no_picture(tmp_path, content):
    path = tmp_path / "junk.png"
    path.write_bytes(content)
    with pytest.raises(BDFlowError, match=r"junk\.png: ") as caught:
        read(path)
    assert not isinstance(caught.value, NoChunkError)
    assert "\n" not in str(caught.value)


def test_missing_file(tmp_path):
    with pytest.raises(BDFlowError, match=r"none\.png: no such file"):
        read(tmp_path / "none.png")


# Files that were changed


def test_changed_pixels_are_noticed():
    made = small(bits=2)
    found = read(repainted(made.to_bytes()))
    assert found.pixels_changed
    np.testing.assert_array_equal(found.boundary, made.boundary)
    np.testing.assert_array_equal(found.image.rgb, 255 - made.image.rgb)


def test_changed_alpha_is_noticed():
    made = small(alpha=True)
    other = Downscaled(**{**vars(made), "image": Picture(made.image.rgb, made.image.alpha // 2)})
    data = with_payload(other.to_bytes(), payload_of(made.to_bytes()))
    assert read(data).pixels_changed


def test_lossless_recompression_changes_nothing():
    made = small()
    data = with_payload(small(seed=0).to_bytes(), payload_of(made.to_bytes()))
    parts = [(k, zlib.compress(zlib.decompress(b), 1) if k == b"IDAT" else b) for k, b in chunks(data)]
    assert join(parts) != made.to_bytes()
    assert_same(read(join(parts)), made)


def test_cropped_file():
    made = small(12, 10)
    data = with_payload(small(11, 10).to_bytes(), payload_of(made.to_bytes()))
    with pytest.raises(BDFlowError, match=r"10x11 cannot restore 77x89 at scale 8: it was cropped"):
        read(data)


def test_bytes_behind_the_end_are_ignored():
    assert_same(read(small().to_bytes() + b"appended by some gallery"), small())


def test_chunk_may_stand_behind_the_pixels():
    parts = chunks(small().to_bytes())
    parts.insert(-1, parts.pop(1))
    assert [kind for kind, _ in parts] == [b"IHDR", b"IDAT", b"bdFW", b"IEND"]
    assert_same(read(join(parts)), small())


def test_two_chunks():
    parts = chunks(small().to_bytes())
    with pytest.raises(BDFlowError, match="holds 2 bdflow chunks where one belongs"):
        read(join([*parts[:2], *parts[1:]]))


def test_wrong_checksum_of_any_chunk():
    data = small(icc=SRGB).to_bytes()
    position = 8
    for kind, body in chunks(data):
        broken = bytearray(data)
        broken[position + 8 + len(body)] ^= 1
        with pytest.raises(BDFlowError, match="the data: the PNG is damaged"):
            read(bytes(broken))
        position += 12 + len(body)
        assert kind.isalpha()
    assert position == len(data)


HEADER = b"\x01" + bytes([3 | 1 << 3]) + b"\x02ab" + WEIGHTS + b"\x4d\x59" + b"\0\0\0\0"


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        (sealed(b"\x02" + HEADER[1:]), r"made by a newer bdflow \(format 2\): upgrade bdflow"),
        (b"\x02", r"made by a newer bdflow \(format 2\)"),
        (sealed(b"\0" + HEADER[1:]), "bdflow chunk is damaged"),
        (sealed(HEADER[:1] + b"\x8b" + HEADER[2:]), "made by a newer bdflow"),
        (sealed(HEADER[:1] + b"\x2b" + HEADER[2:]), "bdflow chunk is damaged"),
        (sealed(HEADER[:1] + b"\x2b" + HEADER[2:] + b"\x05abcd"), "bdflow chunk is damaged"),
        (sealed(HEADER[:1] + b"\x2b" + HEADER[2:] + b"\x04abcd"), "bdflow chunk is damaged"),
        (HEADER + b"\0\0\0\0", "bdflow chunk is damaged"),
        (b"", "bdflow chunk is damaged"),
        (sealed(b""), "bdflow chunk is damaged"),
        (sealed(HEADER[:-1]), "bdflow chunk is damaged"),
        (sealed(HEADER[:2] + b"\xff" + HEADER[3:]), "bdflow chunk is damaged"),
        (sealed(HEADER[:3] + b"\xff\xfe" + HEADER[5:]), "bdflow chunk is damaged"),
        (sealed(HEADER[:13] + b"\x80\x80\x80\x80\x80\x01" + HEADER[14:]), "bdflow chunk is damaged"),
        (sealed(HEADER[:13] + b"\x00" + HEADER[14:]), "cannot restore 0x89"),
        (sealed(HEADER[:1] + b"\x08" + HEADER[2:]), "scale must be one of 2, 4, 8, 16, 32, 64, not 1"),
        (sealed(HEADER[:1] + b"\x0f" + HEADER[2:]), "not 128"),
        (sealed(HEADER[:1] + b"\x0a" + HEADER[2:]), "at scale 4: it was cropped or resized"),
        (sealed(HEADER[:2] + b"\x02..HEAD"[:3] + HEADER[5:]), "no name for a model"),
        (sealed(HEADER[:2] + b"\x02/b" + HEADER[5:]), "no name for a model"),
        (sealed(HEADER[:2] + b"\x02\x1b[" + HEADER[5:]), "no name for a model"),
        (sealed(HEADER[:2] + b"\x00" + HEADER[5:]), r"1\.\.255 bytes"),
        (sealed(HEADER + b"\x09"), "coding method 9"),
        (sealed(HEADER + b"\x01\x00"), "boundary map is damaged"),
        (sealed(HEADER[:1] + b"\x03" + HEADER[2:] + b"\0"), r"1\.\.3 bits, not 0"),
    ],
)
def test_impossible_chunks(payload, message):
    assert read(with_payload(small().to_bytes(), sealed(HEADER))).model == "ab"  # but for the fault it reads
    with pytest.raises(BDFlowError, match=message) as caught:
        read(with_payload(small().to_bytes(), payload))
    assert str(caught.value).startswith("the data: ")
    assert "\n" not in str(caught.value)
    assert "\x1b" not in str(caught.value)


def test_lost_boundary_stays_lost():
    found = read(with_payload(small().to_bytes(), sealed(HEADER)))
    assert found.boundary is None
    assert found.bits == 1


def test_pixel_limit():
    made = small()
    assert_same(read(made.to_bytes(), max_pixels=77 * 89), made)
    with pytest.raises(BDFlowError, match="photograph's 77x89 is more than 6,852 pixels"):
        read(made.to_bytes(), max_pixels=77 * 89 - 1)


def test_absurd_size_is_refused_before_the_pixels_are_decoded():
    absurd = HEADER[:13] + varint(2**32) + varint(2**32) + HEADER[15:]
    parts = [(k, b"\xff" if k == b"IDAT" else b) for k, b in chunks(small().to_bytes())]
    with pytest.raises(BDFlowError, match="4294967296x4294967296 is more than 400,000,000 pixels"):
        read(with_payload(join(parts), sealed(absurd)))


FILES = [small(bits=bits, alpha=bits == 2, icc=SRGB if bits == 1 else None).to_bytes() for bits in range(4)]


def accept(data: bytes) -> None:
    """Read; a file, or one clear line."""
    try:
        found = read(data, max_pixels=1_000_000)
    except BDFlowError as error:
        message = str(error)
    else:
        assert found.image.rgb.dtype == np.uint8
        return
    assert message.startswith("the data: ")
    assert "\n" not in message


@settings(deadline=None, max_examples=200)
@given(st.sampled_from(FILES), st.data())
def test_flipped_bytes(data, draws):
    broken = bytearray(data)
    for position in draws.draw(st.lists(st.integers(0, len(data) - 1), min_size=1, max_size=3)):
        broken[position] ^= draws.draw(st.integers(1, 255))
    accept(bytes(broken))


@settings(deadline=None, max_examples=200)
@given(st.sampled_from(FILES), st.data())
def test_flipped_payload_bytes_under_right_checksums(data, draws):
    body = bytearray(payload_of(data)[:-4])
    for position in draws.draw(st.lists(st.integers(0, len(body) - 1), min_size=1, max_size=3)):
        body[position] ^= draws.draw(st.integers(1, 255))
    accept(with_payload(data, sealed(bytes(body))))


def test_every_single_flipped_byte_is_refused():
    # Each byte but those of the signature stands under a chunk's checksum or tells where the chunk ends.
    data = FILES[2]
    for position in range(len(data)):
        broken = bytearray(data)
        broken[position] ^= 0x20
        with pytest.raises(BDFlowError):
            read(bytes(broken))


def test_every_cut_is_refused():
    for data in FILES:
        for length in range(len(data)):
            with pytest.raises(BDFlowError) as caught:
                read(data[:length])
            assert not isinstance(caught.value, NoChunkError)
